"""``aigateway explain``: why a policy is as it is, decision by decision, from one look at the cluster.

Exit codes: 0 explained, 1 no such policy or no access, 2 for options that make no sense.
"""

from __future__ import annotations

import time
from typing import Any, TextIO

import click

from aigateway.api.resolved import PolicyKey
from aigateway.cli.access import hint_at_settings, namespace_of, opened, reasons_in, run_to_end, settings_of
from aigateway.cli.manifests import read_policies
from aigateway.cli.options import (
    administrator_options,
    cluster_options,
    file_option,
    namespace_option,
    observed_option,
    output_option,
)
from aigateway.cli.output import print_view
from aigateway.cli.printers.explain import renderables
from aigateway.cli.prospect import look
from aigateway.cli.views.explain import explain_view


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@file_option(required=False)
@observed_option()
@namespace_option()
@cluster_options()
@administrator_options()
@output_option("text", "yaml", "json")
def explain(
    names: tuple[str, ...],
    files: tuple[TextIO, ...],
    observed: tuple[TextIO, ...],
    namespace: str | None,
    output: str,
    **options: Any,  # noqa: ANN401 (click hands over what the flags declare)
) -> None:
    """Explain every decision about policies: weights, routes, retries, scaling, objects.

    Give names of policies in the cluster, or files, which are explained as if they were applied.  Readiness counts as
    settled: the operator waits for 3 s before it takes a backend out and for 10 s before it takes it back.  The
    gateway, domain, Prometheus and scaling settings must be what the operator has.
    """
    if not names and not files:
        message = "give the name of a policy, or a file with -f"
        raise click.UsageError(message)
    settings = settings_of(options)
    place = namespace_of(settings, namespace, observed)
    policies = [document.value for document in read_policies(files, place)] if files else []
    keys = [PolicyKey(place, name) for name in names]
    prospects = run_to_end(look(opened(settings, observed, place), settings.administrator, policies, keys, time.time()))
    view = explain_view(prospects, settings.administrator)
    print_view(view, output, *renderables(view))
    known = reasons_in((prospect.stored or {}).get("status") or {} for prospect in prospects)
    hint_at_settings(settings, reasons_in(prospect.report.status for prospect in prospects) - known)
