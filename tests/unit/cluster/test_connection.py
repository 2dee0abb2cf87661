"""Access to a cluster from a kubeconfig or from a pod's ServiceAccount."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
import yaml
from kubernetes.aio.config import incluster_config

from aigateway.cluster import connection
from aigateway.cluster.connection import AccessError, Source, current_namespace, read_access
from tests.unit.cluster.apiserver import write_kubeconfig


def test_a_kubeconfig(tmp_path: Path) -> None:
    """Server and token come from the kubeconfig; without a trailing slash, and without the scheme."""
    access = asyncio.run(read_access(Source(write_kubeconfig(tmp_path, "http://127.0.0.1:8001/", "t"))))

    assert ("http://127.0.0.1:8001", "t") == (access.server, access.token)
    assert {"Authorization": "Bearer t"} == access.headers()
    assert ssl.CERT_REQUIRED is access.tls().verify_mode


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param(Source(Path("missing")), "Invalid kube-config file", id="no such file"),
        pytest.param(Source(Path("kubeconfig"), "elsewhere"), "elsewhere", id="no such context"),
    ],
)
def test_no_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source, said: str) -> None:
    """What is missing is named."""
    write_kubeconfig(tmp_path, "http://127.0.0.1:8001")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(AccessError, match=said):
        asyncio.run(read_access(source))


def test_a_pod_s_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod, the mounted token is used as it is at the time of reading."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    trustme.CA().cert_pem.write_to_path(str(authority))
    token.write_text("first\n")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)

    first = asyncio.run(read_access(Source()))
    token.write_text("second")
    second = asyncio.run(read_access(Source()))

    assert ("https://10.96.0.1:443", "first", "second") == (first.server, first.token, second.token)
    assert 1 == len(first.tls().get_ca_certs())


def test_a_server_that_is_not_to_be_verified(tmp_path: Path) -> None:
    """insecure-skip-tls-verify is obeyed: it is the administrator's choice."""
    path = write_kubeconfig(tmp_path, "https://127.0.0.1:6443")
    path.write_text(path.read_text().replace("server:", "insecure-skip-tls-verify: true\n    server:"))

    assert ssl.CERT_NONE is asyncio.run(read_access(Source(path))).tls().verify_mode


@pytest.mark.parametrize(
    ("context", "namespace"),
    [
        pytest.param(None, "default", id="the current context names none"),
        pytest.param("team", "models", id="a context that names one"),
    ],
)
def test_namespace_of_a_context(tmp_path: Path, context: str | None, namespace: str) -> None:
    """Where no namespace is named, it is the context's, as kubectl takes it."""
    path = write_kubeconfig(tmp_path, "http://127.0.0.1:8001")
    config = yaml.safe_load(path.read_text())
    config["contexts"].append({"name": "team", "context": {"cluster": "fake", "user": "fake", "namespace": "models"}})
    path.write_text(yaml.safe_dump(config))

    assert namespace == current_namespace(Source(path, context))


def test_namespace_of_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod it is the pod's own."""
    file = tmp_path / "namespace"
    file.write_text("aigateway-system\n")
    monkeypatch.setattr(connection, "_POD_NAMESPACE", file)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.delenv("KUBECONFIG", raising=False)

    assert "aigateway-system" == current_namespace(Source())


def test_no_namespace_without_access(tmp_path: Path) -> None:
    """A kubeconfig that is not there is named as for every other access."""
    with pytest.raises(AccessError, match="no access to a cluster"):
        current_namespace(Source(tmp_path / "missing"))
