"""The ``aigateway`` command, which is also ``kubectl aigateway``: a group that each command is added to.

Commands are imported when they are called, so that ``render`` does not pay for what ``run`` needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from aigateway import __version__

COMMANDS = {
    "render": "aigateway.cli.render",
    "run": "aigateway.cli.run",
}
"""Each command and the module whose attribute of the same name it is."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: Any = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aigateway")
def main() -> None:
    """Routing and scaling of AI models from one policy object."""
