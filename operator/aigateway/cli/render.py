"""``aigateway render``: what a policy file becomes, without a cluster, by the same core that runs in one."""

from __future__ import annotations

from typing import Any, TextIO

import click

from aigateway.api.administrator import Administrator, ScalingDefaults
from aigateway.api.problems import Rejection
from aigateway.api.resolve import load
from aigateway.cli.assumed import assume
from aigateway.cli.manifests import Document, read_policies
from aigateway.cli.options import allow_envoy_filter_option, file_options, output_option
from aigateway.cli.output import as_json, as_yaml
from aigateway.core.reconcile import decide
from aigateway.core.reconcile import render as render_objects

_PLACEHOLDER_GATEWAY = "istio-system/ai-gateway"
_PLACEHOLDER_PROMETHEUS = "http://prometheus.monitoring:9090"


@click.command(context_settings={"show_default": True})
@file_options(required=True)
@click.option("-n", "--namespace", default="default", help="Namespace of policies that name none.")
@output_option("yaml", "json")
@click.option("--default-gateway", default=_PLACEHOLDER_GATEWAY, help="Gateway of policies that name none.")
@click.option("--cluster-domain", default="cluster.local", help="DNS domain of the cluster.")
@click.option("--prometheus-address", default=_PLACEHOLDER_PROMETHEUS, help="Address that KEDA asks.")
@allow_envoy_filter_option()
def render(  # noqa: PLR0913, PLR0917  (one parameter an option)
    files: tuple[TextIO, ...],
    more: tuple[TextIO, ...],
    namespace: str,
    output: str,
    default_gateway: str,
    cluster_domain: str,
    prometheus_address: str,
    allow_envoy_filter: tuple[str, ...],
) -> None:
    """Print the objects that policies become, assuming that all they name exists.

    Exits 1 if a policy is invalid; what is wrong goes to stderr.
    """
    administrator = Administrator(
        default_gateway,
        cluster_domain,
        ScalingDefaults(prometheus_address),
        envoy_filter_namespaces=allow_envoy_filter,
    )
    objects: list[Any] = []
    rejected = False
    for document in read_policies((*files, *more), namespace):
        policy = load(document.value, administrator)
        if isinstance(policy, Rejection):
            rejected = True
            _complain(document, policy)
        else:
            objects += render_objects(policy, decide(policy, assume(policy), administrator, now=0.0), administrator)
    click.echo(as_json(objects) if output == "json" else as_yaml(objects), nl=False)
    if rejected:
        raise SystemExit(1)


def _complain(document: Document, rejection: Rejection) -> None:
    for problem in rejection.problems:
        click.echo(f"{document.key}: {problem}", err=True)
