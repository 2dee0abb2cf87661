"""The ``aigateway`` command, which is also ``kubectl aigateway``: a group that each command is added to.

A command's module is imported when the command is called: listing the commands, or completing their names, costs no
more than click itself, and ``lint`` does not pay for what ``run`` needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from aigateway import __version__

COMMANDS = {
    "completion": "Print the completion script of a shell.",
    "crd": "Print the CustomResourceDefinition of policies.",
    "explain": "Explain every decision about policies: weights, routes, retries, scaling, objects.",
    "lint": "Print every mistake in policy files, with its line, field and remedy.",
    "plan": "Show what would change if policy files were applied.",
    "render": "Print the objects that policies become, assuming that all they name exists.",
    "retries": "Tell from a gateway's log what the attempts of requests did, and how long retries waited.",
    "run": "Run the operator.",
    "status": "Show policies: whether they are ready, weights, replicas, scaling.",
}
"""Each command with its help in a line; it is the attribute of its own name in a module of its own name."""

_PLUGIN_PREFIX = "kubectl-"


class _LazyGroup(click.Group):
    """A group that knows the names of its commands without importing them."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 (click's signature)
    ) -> click.Context:
        """Show the name that the user typed in every usage text."""
        return super().make_context(_as_typed(info_name), args, parent, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        if cmd_name not in COMMANDS:
            return None
        command: Any = getattr(import_module(f"aigateway.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS[name]) for name in names), *options]


def _as_typed(program: str | None) -> str | None:
    """Return ``kubectl aigateway`` where kubectl called us as its plugin."""
    return program.replace("-", " ", 1) if program and program.startswith(_PLUGIN_PREFIX) else program


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aigateway")
def main() -> None:
    """Routing and scaling of AI models from one policy object."""
