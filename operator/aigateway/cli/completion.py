"""``aigateway completion``: the script that lets a shell complete commands, options and their values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_PROGRAM = "aigateway"
_VARIABLE = "_AIGATEWAY_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    r"""Print the completion script of a shell.

    \b
    bash: source <(aigateway completion bash)
    zsh:  source <(aigateway completion zsh)
    fish: aigateway completion fish | source
    """
    found = get_completion_class(shell)
    if found is None:
        message = f"this version of click cannot complete for {shell}"
        raise click.ClickException(message)
    # The script calls `aigateway` by name with this variable set; click answers it before any command runs.
    script = found(click.Command(_PROGRAM), {}, _PROGRAM, _VARIABLE)
    click.echo(script.source_template % script.source_vars())
