"""The command line of the stack: ``python -m tests.stack build|up|down|shell|run``; the Makefile calls it."""

from __future__ import annotations

import sys

import click

from tests.stack import namespace, preflight
from tests.stack.binaries import PARTS
from tests.stack.build import ensure, missing, say_plainly
from tests.stack.golang import BuildError


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
    _require_machine(building=bool(missing(modules)))
    try:
        ensure(modules, say_plainly)
    except BuildError as error:
        raise click.ClickException(str(error)) from error


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...]) -> None:
    """Run COMMAND in a fresh network namespace without a way out."""
    _require_machine(building=False)
    namespace.enter(list(command))


@main.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def inside(command: tuple[str, ...]) -> None:
    """Set up the namespace this process was just put into, then become COMMAND."""
    namespace.become(list(command))


def _require_machine(*, building: bool) -> None:
    found = preflight.problems(building=building)
    for problem in found:
        click.echo(f"stack: {problem}", err=True)
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
