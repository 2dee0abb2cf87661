"""Options that several commands share, each declared once so that it has one name, variable and meaning everywhere.

The defaults come from :mod:`aigateway.api.administrator`, which costs nothing to import.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from aigateway.api.administrator import Administrator

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    """Adds options to the function of a command."""

    def __call__(self, function: F, /) -> F:
        """Return the function with the options."""


_DEFAULTS = Administrator()


def setting(name: str, text: str, default: object = None, **more: Any) -> Decorator:  # noqa: ANN401 (click's own keyword arguments)
    """Declare one flag with its environment variable ``AIGATEWAY_…``."""
    variable = f"AIGATEWAY_{name.replace('-', '_').upper()}"
    return click.option(
        f"--{name}", help=text, envvar=variable, show_envvar=True, default=default, show_default=True, **more
    )


def _stacked(*decorators: Decorator) -> Decorator:
    """Return one decorator that declares all options, in this order in the help."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def cluster_options() -> Decorator:
    """Declare where the cluster is: ``kubeconfig`` and ``context``."""
    return _stacked(
        setting(
            "kubeconfig",
            "Access to the cluster; without it, the pod's own or the default file.",
            type=click.Path(path_type=Path),
        ),
        setting("context", "Context of the kubeconfig."),
    )


def default_gateway_option() -> Decorator:
    """Declare ``default_gateway``."""
    text = "Istio Gateway of policies that have hosts and name none."
    return setting("default-gateway", text, metavar="NAMESPACE/NAME")


def allow_envoy_filter_option() -> Decorator:
    """Declare ``allow_envoy_filter``."""
    return setting(
        "allow-envoy-filter",
        "Namespace of gateways' proxies in which EnvoyFilters may be written; may be repeated.  [default: none, and "
        "status.skipped lists the fields that need one]",
        metavar="NAMESPACE",
        multiple=True,
        callback=lambda _context, _option, values: split(",".join(values)),
    )


def split(text: str | None) -> tuple[str, ...]:
    """Return the parts of a comma-separated list, empty ones left out."""
    return tuple(part for item in (text or "").split(",") if (part := item.strip()))


def administrator_options() -> Decorator:
    """Declare what the administrator decides for all policies; the names are those of ``aigateway run``."""
    scaling = _DEFAULTS.scaling
    return _stacked(
        default_gateway_option(),
        setting(
            "gateway-grants",
            "YAML list of {gateway, hosts, namespaces}: who may use which gateway; without it, all may use all.",
            type=click.Path(path_type=Path),
            metavar="FILE",
        ),
        setting("root-namespace", "Istio's root namespace.", _DEFAULTS.root_namespace),
        setting(
            "gateway-namespaces",
            "Namespaces in which the gateways' proxies run, separated by commas.",
            ",".join(_DEFAULTS.gateway_namespaces),
            metavar="A,B",
            callback=lambda _context, _option, value: split(value),
        ),
        allow_envoy_filter_option(),
        setting(
            "max-buffer-limit",
            "Most of each request body that a policy may let proxies keep for retries, in each proxy's memory.",
            "16Mi",
            metavar="SIZE",
        ),
        setting(
            "gateway-service",
            "Service whose endpoints are the gateways' proxies: status tells the total of each rate limit over them.  "
            "[default: none, and no total is told]",
            metavar="NAMESPACE/NAME",
        ),
        setting("cluster-domain", "DNS domain of the cluster.", _DEFAULTS.cluster_domain),
        setting("prometheus-address", "Prometheus as KEDA reaches it; without it, only CPU rules work.", metavar="URL"),
        setting(
            "scaling-window",
            "Range of rates that Prometheus is asked for, in seconds: at least four scrapes.",
            scaling.window_seconds,
            type=int,
        ),
        setting("scaling-polling", "How often KEDA looks, in seconds.", scaling.polling_interval_seconds, type=int),
        setting("sampling-address", "Prometheus as the operator reaches it.  [default: as KEDA does]", metavar="URL"),
        setting(
            "sampling-interval",
            "How often the operator asks it about backends, in seconds, where a policy needs that.",
            int(_DEFAULTS.sampling_interval_seconds),
            type=int,
        ),
    )


def file_option(*, required: bool) -> Decorator:
    """Declare ``files``: ``-f``, repeatable."""
    return click.option(
        "-f",
        "--filename",
        "files",
        type=click.File(encoding="utf-8"),
        multiple=True,
        required=required,
        help="Policy file, - for stdin; may be repeated.",
    )


def file_options(*, required: bool) -> Decorator:
    """Declare ``files`` and ``more``: the files behind the first of ``-f *.yaml``."""
    more = click.argument("more", nargs=-1, type=click.File(encoding="utf-8"), metavar="[FILE]...")
    return _stacked(file_option(required=required), more)


def output_option(*formats: str) -> Decorator:
    """Declare ``output``; the first format is the default."""
    choice = click.Choice(formats)
    return click.option("-o", "--output", type=choice, default=formats[0], show_default=True, help="Format of stdout.")


def namespace_option() -> Decorator:
    """Declare ``namespace``."""
    text = "Namespace of policies that name none.  [default: the context's]"
    return click.option("-n", "--namespace", help=text)


def observed_option() -> Decorator:
    """Declare ``observed``: files in place of a cluster."""
    return click.option(
        "--observed",
        type=click.File(encoding="utf-8"),
        multiple=True,
        help="Look at the objects in this file (kubectl get … -o yaml) in place of a cluster; may be repeated.",
    )
