"""``aigateway render``: what a policy file becomes, without a cluster, by the same core that runs in one."""

from __future__ import annotations

from typing import Any, TextIO

import click

from aigateway.api.administrator import Administrator, ScalingDefaults
from aigateway.api.problems import Rejection
from aigateway.api.resolve import load
from aigateway.cli.assumed import assume
from aigateway.cli.manifests import read_policies
from aigateway.cli.output import as_json, as_yaml
from aigateway.core.reconcile import decide
from aigateway.core.reconcile import render as render_objects

_PLACEHOLDER_GATEWAY = "istio-system/ai-gateway"
_PLACEHOLDER_PROMETHEUS = "http://prometheus.monitoring:9090"


@click.command(context_settings={"show_default": True})
@click.option(
    "-f", "--filename", "files", type=click.File(), multiple=True, required=True, help="Policy file, - for stdin."
)
@click.option("-n", "--namespace", default="default", help="Namespace of policies that name none.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="Format of the objects.")
@click.option("--default-gateway", default=_PLACEHOLDER_GATEWAY, help="Gateway of policies that name none.")
@click.option("--cluster-domain", default="cluster.local", help="DNS domain of the cluster.")
@click.option("--prometheus-address", default=_PLACEHOLDER_PROMETHEUS, help="Address that KEDA asks.")
def render(  # noqa: PLR0913, PLR0917  (one parameter an option)
    files: tuple[TextIO, ...],
    namespace: str,
    output: str,
    default_gateway: str,
    cluster_domain: str,
    prometheus_address: str,
) -> None:
    """Print the objects that policies become, assuming that all they name exists.

    Exits 1 if a policy is invalid; what is wrong goes to stderr.
    """
    administrator = Administrator(default_gateway, cluster_domain, ScalingDefaults(prometheus_address))
    objects: list[Any] = []
    rejected = False
    for raw in read_policies(files, namespace):
        policy = load(raw, administrator)
        if isinstance(policy, Rejection):
            rejected = True
            _complain(raw, policy)
        else:
            objects += render_objects(policy, decide(policy, assume(policy), administrator, now=0.0), administrator)
    click.echo(as_json(objects) if output == "json" else as_yaml(objects), nl=False)
    if rejected:
        raise SystemExit(1)


def _complain(raw: dict[str, Any], rejection: Rejection) -> None:
    metadata = raw["metadata"]
    for problem in rejection.problems:
        click.echo(f"{metadata['namespace']}/{metadata.get('name')}: {problem}", err=True)
