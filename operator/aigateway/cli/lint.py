"""``aigateway lint``: everything that is wrong with policies in files, without a cluster.

Exit codes: 0 nothing is wrong, 1 something is, 2 for options that make no sense.
"""

from __future__ import annotations

from typing import TextIO

import click

from aigateway.cli.manifests import Document, NotReadableError, documents, no_policies, policies_of
from aigateway.cli.options import default_gateway_option, file_options, output_option
from aigateway.cli.output import print_view
from aigateway.cli.printers.lint import lines, summary
from aigateway.cli.views.lint import check

_THE_OPERATORS = "(the operator's)/(default)"
"""Stands for the default gateway where it is not given: no gateway has this name."""


@click.command()
@file_options(required=False)
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of policies that name none.")
@default_gateway_option()
@output_option("text", "yaml", "json")
def lint(
    files: tuple[TextIO, ...], more: tuple[TextIO, ...], namespace: str, default_gateway: str | None, output: str
) -> None:
    """Print every mistake in policy files, with its line, field and remedy.

    Checked are the rules of each policy, and that no two of the files have the same name or claim the same host,
    Service or workload.  Exits 1 if anything is wrong.
    """
    found, unreadable = _read((*files, *more))
    policies = policies_of(found, namespace)
    if not policies and not unreadable:
        raise no_policies((*files, *more))
    view = check(policies, unreadable, default_gateway or _THE_OPERATORS)
    print_view(view, output, *lines(view))
    click.echo(summary(view), err=True)
    if view.findings:
        raise SystemExit(1)


def _read(files: tuple[TextIO, ...]) -> tuple[list[Document], list[NotReadableError]]:
    found: list[Document] = []
    unreadable: list[NotReadableError] = []
    for file in files:
        try:
            found += documents(file)
        except NotReadableError as error:
            unreadable.append(error)
    return found, unreadable
