"""The command line of the stack: ``python -m tests.stack build|up|down|shell|run``; the Makefile calls it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

import click

from tests.stack import external, namespace, preflight, standing
from tests.stack.binaries import PARTS
from tests.stack.build import ensure, missing, say_plainly
from tests.stack.errors import StackError
from tests.stack.golang import BuildError

_Result = TypeVar("_Result")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Build and run a real Kubernetes, Istio, Envoy, KEDA and Prometheus on this machine, without containers."""


def _parts(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    names = [name for name in value.split(",") if name]
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        msg = f"unknown part {', '.join(unknown)}; there are {', '.join(PARTS)}"
        raise click.BadParameter(msg)
    return names


_parts_option = click.option(
    "--parts", default=",".join(PARTS), show_default=True, callback=_parts, help="Comma-separated parts of the stack."
)


@main.command()
@_parts_option
def build(parts: list[str]) -> None:
    """Compile what is missing into the user's cache; a finished build is kept."""
    modules = [module for part in parts for module in PARTS[part]]
    _require_machine(building=bool(_told(lambda: missing(modules))))
    _told(lambda: ensure(modules, say_plainly))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...]) -> None:
    """Run COMMAND in a fresh network namespace without a way out, or as it is for a cluster of your own."""
    if external.is_chosen():
        os.execvp(command[0], command)  # noqa: S606 (no shell is wanted: the command is the user's own)
    _require_machine(building=False)
    namespace.enter(list(command))


@main.command()
@_parts_option
def up(parts: list[str]) -> None:
    """Keep a stack up in the foreground until Ctrl-C."""
    if standing.found():
        raise click.ClickException("a stack is up already; stop it with: python -m tests.stack down")
    _require_machine(building=False)
    namespace.enter(_again("serve", parts))


@main.command()
@_parts_option
def shell(parts: list[str]) -> None:
    """Open a shell with kubectl inside the stack that is up, or inside one that lives as long as the shell."""
    running = standing.found()
    if running:
        standing.join_shell(running)
    _require_machine(building=False)
    namespace.enter(_again("serve-shell", parts))


@main.command()
def down() -> None:
    """Stop the stack that `up` started."""
    running = standing.found()
    if running is None:
        raise click.ClickException("no stack is up")
    standing.stop(running)


@main.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def inside(command: tuple[str, ...]) -> None:
    """Set up the namespace this process was just put into, then become COMMAND."""
    namespace.become(list(command))


@main.command(hidden=True)
@_parts_option
def serve(parts: list[str]) -> None:
    """Be the stack that stays up; runs inside the namespace."""
    _told(lambda: standing.serve(parts))


@main.command(name="serve-shell", hidden=True)
@_parts_option
def serve_shell(parts: list[str]) -> None:
    """Be a stack with one shell; runs inside the namespace."""
    sys.exit(_told(lambda: standing.open_shell(parts)))


def _again(command: str, parts: list[str]) -> list[str]:
    return [sys.executable, "-m", "tests.stack", command, "--parts", ",".join(parts)]


def _told(action: Callable[[], _Result]) -> _Result:
    """Do it; an error of the stack is one message, not a traceback."""
    try:
        return action()
    except (BuildError, StackError) as error:
        raise click.ClickException(str(error)) from error


def _require_machine(*, building: bool) -> None:
    found = preflight.problems(building=building)
    for problem in found:
        click.echo(f"stack: {problem}", err=True)
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
