"""Settings: what is accepted, what is refused with which words, and what they come to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aigateway.api.administrator import Administrator, Grant, ScalingDefaults
from aigateway.cli import run as command
from aigateway.cli.main import main
from aigateway.cluster.connection import Source, pod_namespace
from aigateway.metrics.server import Address
from aigateway.settings import Settings, SettingsError


def test_the_defaults_are_valid() -> None:
    """Without any setting the operator serves all namespaces, with the pod's own access."""
    settings = Settings()

    assert ((), Source(None, None)) == (settings.namespaces, settings.source)
    assert (Address(None, 8080), Address(None, 9090)) == (settings.probes, settings.metrics)
    assert Administrator() == settings.administrator


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"namespaces": ("Models",)}, "--namespaces is 'Models'", id="upper case"),
        pytest.param({"namespaces": ("a/b",)}, "the name of a namespace", id="a path"),
        pytest.param({"default_gateway": "ai-gateway"}, "NAMESPACE/NAME", id="gateway without namespace"),
        pytest.param({"default_gateway": "a/b/c"}, "NAMESPACE/NAME", id="gateway with too much"),
        pytest.param(
            {"allow_envoy_filter": ("istio-system", "edge")}, "the root namespace alone", id="everything twice"
        ),
        pytest.param({"max_buffer_limit": "16MB"}, "a size such as 512Ki or 16Mi", id="size in other units"),
        pytest.param({"gateway_service": "gateway"}, "NAMESPACE/NAME of a Service", id="service without namespace"),
        pytest.param({"gateway_service": "a/b/c"}, "--gateway-service is 'a/b/c'", id="service with too much"),
        pytest.param(
            {"allow_envoy_filter": ("istio-system", "*")}, "--allow-envoy-filter is '\\*'", id="any namespace"
        ),
        pytest.param({"cluster_domain": "cluster..local"}, "a DNS name", id="empty label"),
        pytest.param({"prometheus_address": "prometheus:9090"}, "http or https URL", id="no scheme"),
        pytest.param({"prometheus_address": "http://p:9090?query=x"}, "http or https URL", id="query"),
        pytest.param({"prometheus_address": "file:///etc/passwd"}, "http or https URL", id="file"),
        pytest.param({"sampling_address": "file:///a"}, "--sampling-address is 'file:///a'", id="a file to sample"),
        pytest.param({"sampling_interval": 0}, "1 to 300 seconds", id="no interval"),
        pytest.param({"scaling_window": 3}, "4 to 3600 seconds", id="short window"),
        pytest.param({"scaling_polling": 0}, "1 to 3600 seconds", id="no polling"),
        pytest.param({"concurrency": 65}, "1 to 64", id="too many at once"),
        pytest.param({"probes_address": "8080"}, "HOST:PORT", id="port without colon"),
        pytest.param({"metrics_address": ":0"}, "HOST:PORT", id="port 0"),
        pytest.param({"metrics_address": ":70000"}, "HOST:PORT", id="no such port"),
        pytest.param({"metrics_address": ":٨٠"}, "HOST:PORT", id="digits of another script"),
        pytest.param({"lease_name": "a/b"}, "the name of a Lease", id="lease name"),
        pytest.param({"lease_namespace": "A"}, "one namespace", id="lease namespace"),
        pytest.param({"lease_duration": 2}, "3 to 3600 seconds", id="short lease"),
        pytest.param({"lease_renew_deadline": 12}, r"three quarters of --lease-duration \(15\)", id="late to give up"),
        pytest.param({"lease_retry": 6}, r"half of --lease-renew-deadline \(10\)", id="one try only"),
        pytest.param({"log_level": "loud"}, "debug, info, warning or error", id="log level"),
        pytest.param({"log_format": "xml"}, "json or text", id="log format"),
    ],
)
def test_refusals(changes: dict[str, Any], said: str) -> None:
    """A setting that makes no sense is named, with what is allowed."""
    with pytest.raises(SettingsError, match=said):
        Settings(**changes)


def test_a_password_is_not_repeated() -> None:
    """The message about a URL with credentials does not show them."""
    with pytest.raises(SettingsError) as caught:
        Settings(prometheus_address="http://user:hunter2@prometheus:9090")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(":80", Address(None, 80), id="all addresses"),
        pytest.param("127.0.0.1:80", Address("127.0.0.1", 80), id="one address"),
        pytest.param("[::1]:80", Address("::1", 80), id="IPv6"),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    """Addresses are understood in the usual forms."""
    assert expected == Settings(probes_address=text).probes


def test_what_decisions_may_know() -> None:
    """Gateway, domain and scaling settings reach the administrator's facts."""
    settings = Settings(
        default_gateway="istio-system/gw",
        cluster_domain="k8s.example",
        prometheus_address="https://prometheus.monitoring:9090/prefix",
        scaling_window=120,
        scaling_polling=30,
        allow_envoy_filter=("edge", "edge"),
        gateway_service="edge/gateway",
        max_buffer_limit="1Mi",
    )

    scaling = ScalingDefaults("https://prometheus.monitoring:9090/prefix", 120, 30)
    places: dict[str, Any] = {"envoy_filter_namespaces": ("edge",), "gateway_service": "edge/gateway"}
    places["max_buffer_limit"] = 1 << 20
    expected = Administrator("istio-system/gw", "k8s.example", scaling, **places)
    assert replace(expected, sampling_address=scaling.prometheus_address) == settings.administrator


def test_the_operator_may_ask_another_prometheus() -> None:
    """The operator asks where KEDA does, unless it was given an address of its own."""
    settings = Settings(prometheus_address="http://a:9090", sampling_address="http://b:9090", sampling_interval=5)

    assert ("http://b:9090", 5) == (
        settings.administrator.sampling_address,
        settings.administrator.sampling_interval_seconds,
    )
    assert "http://a:9090" == settings.administrator.scaling.prometheus_address


def invoke(monkeypatch: pytest.MonkeyPatch, *words: str, **environment: str) -> tuple[int, str, Settings | None]:
    """Call ``aigateway run`` with an operator that only notes its settings."""
    seen: list[Settings] = []

    async def note(settings: Settings) -> None:
        seen.append(settings)

    monkeypatch.setattr(command, "_run", note)
    monkeypatch.setattr(command, "_set_up_logging", lambda _: None)
    result = CliRunner().invoke(main, ["run", *words], env=environment)
    return result.exit_code, result.output, seen[0] if seen else None


def test_flags_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting can come from a flag or from its environment variable; the flag wins."""
    code, _, settings = invoke(
        monkeypatch,
        "--namespaces=a, b",
        "--log-level=debug",
        AIGATEWAY_LOG_LEVEL="error",
        AIGATEWAY_KUBECONFIG="/some/where",
        AIGATEWAY_SCALING_WINDOW="120",
        AIGATEWAY_GATEWAY_SERVICE="edge/gateway",
    )

    assert 0 == code
    expected = Settings(
        kubeconfig=Path("/some/where"),
        namespaces=("a", "b"),
        log_level="debug",
        scaling_window=120,
        gateway_service="edge/gateway",
    )
    assert expected == settings


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        pytest.param(["--allow-envoy-filter=a", "--allow-envoy-filter=b"], {}, ("a", "b"), id="repeated"),
        pytest.param(["--allow-envoy-filter=a,b"], {}, ("a", "b"), id="with a comma"),
        pytest.param([], {"AIGATEWAY_ALLOW_ENVOY_FILTER": "a,b c"}, ("a", "b", "c"), id="variable"),
        pytest.param([], {}, (), id="not allowed"),
    ],
)
def test_where_envoy_filters_are_allowed(
    monkeypatch: pytest.MonkeyPatch, words: list[str], environment: dict[str, str], expected: tuple[str, ...]
) -> None:
    """Namespaces come one a flag or several in one; nothing is allowed unless somebody says so."""
    settings = invoke(monkeypatch, *words, **environment)[2]

    assert settings is not None
    assert expected == settings.allow_envoy_filter


def test_no_flag_at_all_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's defaults are those of the settings."""
    assert Settings() == invoke(monkeypatch)[2]


def test_a_bad_flag_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that make no sense end the command with code 2 before anything starts."""
    code, output, settings = invoke(monkeypatch, "--default-gateway=nope")

    assert (2, None) == (code, settings)
    assert "--default-gateway is 'nope'" in output


def test_a_lease_is_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a pod it has to be said where the Lease is, or that there is no other replica."""
    monkeypatch.setattr("aigateway.process.pod_namespace", lambda: None)
    monkeypatch.setattr(command, "_set_up_logging", lambda _: None)
    result = CliRunner().invoke(main, ["run"])

    assert 2 == result.exit_code
    assert "--lease-namespace" in result.output
    assert "--leader-election=false" in result.output


def test_a_pod_knows_its_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The namespace of the Lease comes from the pod's account; where there is none, there is none."""
    file = tmp_path / "namespace"
    monkeypatch.setattr("aigateway.cluster.connection._POD_NAMESPACE", file)
    assert pod_namespace() is None

    file.write_text("gateway-system\n")
    assert "gateway-system" == pod_namespace()


def test_grants_come_from_a_file(tmp_path: Path) -> None:
    """The file lists who may use which gateway; what is left out means any."""
    file = tmp_path / "grants.yaml"
    file.write_text("- {gateway: istio-system/ai-gateway, hosts: ['*.example.com']}\n")

    grants = Settings(gateway_grants=file).administrator.grants

    assert (Grant("istio-system/ai-gateway", ("*.example.com",), ("*",)),) == grants


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("gateway: x", id="no-list"),
        pytest.param("- {hosts: []}", id="no-gateway"),
        pytest.param("- {gateway: a/b, host: c}", id="unknown-field"),
        pytest.param("[", id="no-yaml"),
        pytest.param(None, id="no-file"),
    ],
)
def test_bad_grants_stop_the_start(text: str | None, tmp_path: Path) -> None:
    """Grants that cannot be read as meant are no grants to start with."""
    file = tmp_path / "grants.yaml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(SettingsError, match="--gateway-grants"):
        Settings(gateway_grants=file)
