"""``aigateway plan``: what the operator would do with policy files, by the same core, on one look at the cluster.

Exit codes: 0 no difference, 2 a difference, 1 an error (an invalid policy, no access, options that make no sense).
"""

from __future__ import annotations

import time
from typing import Any, TextIO

import click

from aigateway.cli.access import hint_at_settings, namespace_of, opened, reasons_in, run_to_end, settings_of
from aigateway.cli.manifests import read_policies
from aigateway.cli.options import (
    administrator_options,
    cluster_options,
    file_options,
    namespace_option,
    observed_option,
    output_option,
)
from aigateway.cli.output import print_view
from aigateway.cli.printers.plan import renderables, summary
from aigateway.cli.prospect import look
from aigateway.cli.views.plan import plan_view

_DIFFERENCE = 2


class _OneForErrors(click.Command):
    """Ends with 1 where click would end with 2, which means a difference here."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401 (click's signature)
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            error.show()
            raise SystemExit(1) from error

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (click's signature)
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            error.show()
            raise SystemExit(1) from error


@click.command(cls=_OneForErrors)
@file_options(required=True)
@observed_option()
@namespace_option()
@cluster_options()
@administrator_options()
@output_option("text", "yaml", "json")
def plan(
    files: tuple[TextIO, ...],
    more: tuple[TextIO, ...],
    observed: tuple[TextIO, ...],
    namespace: str | None,
    output: str,
    **options: Any,  # noqa: ANN401 (click hands over what the flags declare)
) -> None:
    """Show what would change if policy files were applied.

    Prints each object that would be written as a difference to what is there, and the conditions that the policy would
    get.  Nothing is written.  The gateway, domain, Prometheus and scaling settings must be what the operator has: give
    the same flags, or set the same AIGATEWAY_… variables.

    Exits 0 if there is no difference, 2 if there is one, and 1 on errors, an invalid policy among them.  The status
    alone makes no difference.
    """
    settings = settings_of(options)
    place = namespace_of(settings, namespace, observed)
    policies = [document.value for document in read_policies((*files, *more), place)]
    prospects = run_to_end(look(opened(settings, observed, place), settings.administrator, policies, (), time.time()))
    view = plan_view(prospects)
    print_view(view, output, *renderables(view))
    click.echo(summary(view), err=True)
    hint_at_settings(settings, reasons_in(prospect.report.status for prospect in prospects))
    if any(policy.problems for policy in view.policies):
        raise SystemExit(1)
    if any(policy.differs for policy in view.policies):
        raise SystemExit(_DIFFERENCE)
