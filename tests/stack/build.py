"""Find the stack's programs, or compile them once into the user's cache.

Called by ``make stack``, ``make demo``, ``make test`` and by the test session itself.  A program is looked for in this
order: the environment variable ``AIGATEWAY_STACK_<NAME>`` (a binary's path), the cache, PATH (only where the
version is the pinned one), and last a build from the Go module proxy.  A build can be cut off and started again:
finished modules stay finished and Go's caches are kept until the last wanted module stands.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.stack.binaries import MODULES, TOOLS, Binary, ToolModule
from tests.stack.golang import BuildError, find_go
from tests.stack.namespace import is_inside
from tests.stack.paths import cache_root, module_folder

Say = Callable[[str], None]

_PROGRESS_SECONDS = 15


@dataclass(frozen=True)
class Tools:
    """The programs and files of a run: ``path("etcd")``, ``asset("istio", "crd-all.gen.yaml")``."""

    programs: dict[str, Path]
    assets: dict[str, Path]

    def path(self, name: str) -> Path:
        """Return the executable called ``name``."""
        return self.programs[name]

    def asset(self, module: str, name: str) -> Path:
        """Return one file that a module ships, by its base name."""
        return self.assets[module] / name

    def asset_files(self, module: str) -> list[Path]:
        """Return every file that a module ships, sorted by name."""
        return sorted(self.assets[module].iterdir())


def _from_environment(binary: Binary) -> Path | None:
    variable = "AIGATEWAY_STACK_" + binary.name.upper().replace("-", "_")
    value = os.environ.get(variable)
    if not value:
        return None
    path = Path(value)
    if not os.access(path, os.X_OK):
        msg = f"{variable} names {path}, which is not an executable file"
        raise BuildError(msg)
    return path


def _from_path(binary: Binary) -> Path | None:
    """Return the program on PATH if it says it is the pinned version: any other version would test something else."""
    found = shutil.which(binary.name) if binary.version_text else None
    if found is None:
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([found, *binary.version_args], capture_output=True, text=True, timeout=20, check=False)
        if binary.version_text in said.stdout + said.stderr:
            return Path(found)
    return None


def find(binary: Binary, module: ToolModule) -> Path | None:
    """Return where a program is now, or None if it has to be built."""
    cached = module_folder(module) / binary.name
    return _from_environment(binary) or (cached if cached.is_file() else None) or _from_path(binary)


def missing(names: Iterable[str]) -> list[ToolModule]:
    """Return the modules among ``names`` that still need a build."""
    wanted = set(names)
    return [module for module in MODULES if module.name in wanted and not _complete(module)]


def _complete(module: ToolModule) -> bool:
    has_assets = not module.assets or (module_folder(module) / "assets").is_dir()
    return has_assets and all(find(binary, module) for binary in module.binaries)


def ensure(names: Iterable[str], say: Say) -> Tools:
    """Return all programs of the named modules, building what is missing; one builder at a time on a machine.

    Inside the stack's namespace there is no network to build from: there it only waits for a builder that is at work.
    """
    wanted = list(names)
    if missing(wanted):
        with _lock(say):
            todo = missing(wanted)
            if todo and is_inside():
                absent = ", ".join(module.name for module in todo)
                msg = f"not built yet: {absent}. Remedy, outside of the stack: python -m tests.stack build"
                raise BuildError(msg)
            for number, module in enumerate(todo, 1):
                names = [binary.name for binary in module.binaries] or [f"files of {module.asset_module}"]
                say(f"build {number} of {len(todo)}: {', '.join(names)}")
                _build(module, say)
            _drop_go_caches()
    return _collect([module for module in MODULES if module.name in wanted])


def _collect(modules: list[ToolModule]) -> Tools:
    programs: dict[str, Path] = {}
    for module in modules:
        for binary in module.binaries:
            found = find(binary, module)
            if found is None:
                msg = f"{binary.name} is gone from {module_folder(module)}: another process empties the cache"
                raise BuildError(msg)
            programs[binary.name] = found
    return Tools(programs, {module.name: module_folder(module) / "assets" for module in modules if module.assets})


@contextlib.contextmanager
def _lock(say: Say) -> Iterator[None]:
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "build.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build of the stack is running on this machine: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _go_environment() -> dict[str, str]:
    go_home = cache_root() / "go"
    return os.environ | {
        "GOCACHE": str(go_home / "build"),
        "GOMODCACHE": str(go_home / "mod"),
        # The committed go.sum is complete: a build that would change it is an error, not a repair.
        "GOFLAGS": "-mod=readonly -buildvcs=false -modcacherw",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }


def _build(module: ToolModule, say: Say) -> None:
    final = module_folder(module)
    staging = final.with_name(final.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for binary in module.binaries:
        _compile(module, binary, staging, say)
    if module.assets:
        _copy_assets(module, staging / "assets")
    shutil.rmtree(final, ignore_errors=True)
    staging.rename(final)


def _compile(module: ToolModule, binary: Binary, into: Path, say: Say) -> None:
    command = [find_go(), "build", "-v", "-trimpath", "-ldflags", module.ldflags, "-o", str(into / binary.name)]
    command += ["-tags", module.tags] if module.tags else []
    log = cache_root() / "logs" / f"build-{binary.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    total = _package_count(module, binary)
    with log.open("w+") as out:
        started = time.monotonic()
        process = subprocess.Popen(
            [*command, binary.package], cwd=TOOLS / module.name, env=_go_environment(), stdout=out, stderr=out
        )
        done = threading.Event()
        reporter = threading.Thread(target=_report, args=(binary.name, log, total, done, say), daemon=True)
        reporter.start()
        try:
            code = process.wait()
        finally:
            done.set()
            if process.poll() is None:
                process.terminate()
    if code:
        tail = "\n".join(log.read_text().splitlines()[-15:])
        msg = f"go build of {binary.name} failed ({code}); log: {log}\n{tail}"
        raise BuildError(msg)
    say(f"  {binary.name} built in {time.monotonic() - started:.0f} s")


def _package_count(module: ToolModule, binary: Binary) -> int:
    """Download the module's sources and return how many packages the program is made of, for the progress line."""
    command = [find_go(), "list", "-deps", *(["-tags", module.tags] if module.tags else []), binary.package]
    listed = subprocess.run(
        command, cwd=TOOLS / module.name, env=_go_environment(), capture_output=True, text=True, check=False
    )
    if listed.returncode:
        msg = f"go could not resolve {binary.package}: {listed.stderr.strip()[-800:]}"
        raise BuildError(msg)
    return len(listed.stdout.splitlines())


def _report(name: str, log: Path, total: int, done: threading.Event, say: Say) -> None:
    started = time.monotonic()
    while not done.wait(_PROGRESS_SECONDS):
        compiled = log.read_bytes().count(b"\n")
        say(f"  {name}: {compiled} of at most {total} packages compiled, {time.monotonic() - started:.0f} s")


def _copy_assets(module: ToolModule, into: Path) -> None:
    described = subprocess.run(
        [find_go(), "mod", "download", "-json", module.asset_module],
        cwd=TOOLS / module.name,
        env=_go_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    source = Path(json.loads(described.stdout)["Dir"])
    into.mkdir()
    for pattern in module.assets:
        for file in sorted(source.glob(pattern)):
            target = into / file.name
            shutil.copyfile(file, target)
            target.chmod(0o644)


def _drop_go_caches() -> None:
    """Give back up to 18 GB once what was asked for stands; a later version bump pays for a cold build instead."""
    shutil.rmtree(cache_root() / "go", ignore_errors=True)


def say_plainly(line: str) -> None:
    """Print one progress line at once; the default ``say`` of the command line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
