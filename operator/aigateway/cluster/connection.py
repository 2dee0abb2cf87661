"""Where the API server is and how to be let in: from a kubeconfig, or from the pod's ServiceAccount.

:mod:`aigateway.cluster.client` and the login of :mod:`aigateway.cluster.policies` use it.  It only reads configuration;
who talks to the server is not its business.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import (
    KUBE_CONFIG_DEFAULT_LOCATION,
    list_kube_config_contexts,
    load_kube_config,
)

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TOKEN = "BearerToken"  # noqa: S105 (the client library's name for the header, no secret)


class AccessError(Exception):
    """No usable configuration was found; the message names what was looked for."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which configuration: a kubeconfig (and a context in it), or both None: the pod's own, else the user's default."""

    kubeconfig: Path | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """A server and everything needed to be let in; file names stand for their content at the time of reading."""

    server: str
    token: str | None
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    verify: bool
    server_name: str | None
    proxy: str | None

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def tls(self) -> ssl.SSLContext:
        """Return a TLS context with the server's CA and the client's certificate."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file:
            context.load_cert_chain(self.certificate_file, self.key_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def read_access(source: Source) -> Access:
    """Read the configuration anew, so that a rotated token or certificate is picked up.

    Raises:
        AccessError: it is missing or makes no sense.
    """
    configuration = Configuration()
    file = source.kubeconfig or _default_file()
    try:
        await _load(source, str(file), configuration)
    except (ConfigException, OSError, ValueError) as error:
        raise AccessError(f"no access to a cluster: {error}") from error
    return Access(
        server=configuration.host.rstrip("/"),
        token=_bare_token(configuration.api_key.get(_TOKEN)),
        ca_file=configuration.ssl_ca_cert,
        certificate_file=configuration.cert_file,
        key_file=configuration.key_file,
        verify=bool(configuration.verify_ssl),
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
    )


def current_namespace(source: Source) -> str:
    """Return the namespace that is meant where none is named: the context's, or the pod's own.

    Raises:
        AccessError: there is no such configuration.
    """
    try:
        if _is_for_the_pod(source):
            return _POD_NAMESPACE.read_text(encoding="utf-8").strip()
        contexts, current = list_kube_config_contexts(str(source.kubeconfig or _default_file()))  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError) as error:
        raise AccessError(f"no access to a cluster: {error}") from error
    chosen = next((item for item in contexts if item["name"] == source.context), current)
    return str((chosen.get("context") or {}).get("namespace") or "default")


async def _load(source: Source, file: str, configuration: Configuration) -> None:
    if _is_for_the_pod(source):
        load_incluster_config(configuration, try_refresh_token=False)  # type: ignore[no-untyped-call]
        return
    # persist_config would write the user's kubeconfig back.
    await load_kube_config(file, source.context, configuration, persist_config=False)  # type: ignore[no-untyped-call]


def pod_namespace() -> str | None:
    """Return the namespace of the pod that this process runs in, None outside of a pod."""
    try:
        return _POD_NAMESPACE.read_text().strip() or None
    except OSError:
        return None


def _default_file() -> Path:
    return Path(KUBE_CONFIG_DEFAULT_LOCATION).expanduser()


def _is_for_the_pod(source: Source) -> bool:
    if source.kubeconfig is not None or source.context is not None:
        return False
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


def _bare_token(value: str | None) -> str | None:
    """Drop the scheme: the library writes ``Bearer`` for a kubeconfig and ``bearer`` in a pod."""
    return value.split(" ", 1)[-1].strip() if value else None
