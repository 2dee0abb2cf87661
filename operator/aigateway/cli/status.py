"""``aigateway status``: the policies of a namespace or of the cluster at a glance, once or live.

Exit codes: 0, or with ``--exit-code`` 1 where a policy is not ready; 1 also without access, 2 for options that make no
sense.
"""

from __future__ import annotations

import time
from typing import Any

import click

from aigateway.cli.access import namespace_of, run_to_end, settings_of
from aigateway.cli.follow import Wanted, follow
from aigateway.cli.options import cluster_options, output_option
from aigateway.cli.output import print_view
from aigateway.cli.printers.status import renderables
from aigateway.cli.views.status import status_view
from aigateway.cluster.client import Client, JsonObject
from aigateway.cluster.resources import POLICIES
from aigateway.settings import Settings


@click.command()
@click.argument("name", required=False)
@click.option("-n", "--namespace", help="Namespace to look at.  [default: the context's]")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look at all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Go on until Ctrl-C: a live table, or a line for each change.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if a policy is not ready in its newest generation.")
@cluster_options()
@output_option("text", "yaml", "json")
def status(  # noqa: PLR0913 (one parameter an option)
    *,
    name: str | None,
    namespace: str | None,
    all_namespaces: bool,
    watch: bool,
    exit_code: bool,
    output: str,
    **options: Any,  # noqa: ANN401 (click hands over what the flags declare)
) -> None:
    """Show policies: whether they are ready, weights, replicas, scaling.

    Shows what the operator says in their status; ask `explain` for the reasons.  Each policy has a line for every
    backend below it.  Exits 0 whatever the policies say, or with --exit-code 1 if one is not ready; with --watch that
    is judged when it is ended.  To wait for a policy: kubectl wait --for=condition=Ready aigp/NAME
    """
    if all_namespaces and (name or namespace):
        message = "--all-namespaces goes with neither a name nor --namespace"
        raise click.UsageError(message)
    settings = settings_of(options)
    wanted = Wanted(None if all_namespaces else namespace_of(settings, namespace), name)
    view = status_view(run_to_end(_policies(settings, wanted)))
    if watch:
        view = follow(settings, wanted, output)
    elif output == "text" and not view.policies:
        click.echo(f"no policies in {wanted.namespace or 'any namespace'}", err=True)
    else:
        print_view(view, output, *renderables(view, time.time(), namespaces=all_namespaces))
    if exit_code and not view.all_ready:
        raise SystemExit(1)


async def _policies(settings: Settings, wanted: Wanted) -> list[JsonObject]:
    async with Client(settings.source) as client:
        if wanted.namespace is not None and wanted.name is not None:
            found = await client.get(POLICIES, wanted.namespace, wanted.name)
            if found is None:
                message = f"policy {wanted.namespace}/{wanted.name} does not exist"
                raise click.ClickException(message)
            return [found]
        return [raw async for page in client.pages(POLICIES, wanted.namespace, "") for raw in page.items]
