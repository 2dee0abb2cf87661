"""Hypothesis strategies of valid policies, as a user would write them.

Every field of the API and every bound can come out, so that who renders or admits these has met them all.  Values are
valid by construction: nothing here asks the models, which are what these strategies test.  Strategies without a drawn
argument are made once, since making one costs more than drawing from it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests import resilience_strategies as resilience
from tests.basic_strategies import METHODS, durations, header_names, labels, whole_seconds

Raw = dict[str, Any]
Draw = st.DrawFn


@cache
def hosts() -> st.SearchStrategy[list[str]]:
    """Return lists of hosts none of which is covered by a wildcard of the list."""
    label = labels(63)
    domain = st.builds("{}.{}.example".format, label, label)
    host = st.one_of(domain, st.builds("*.{}.example.com".format, label), st.just("ai-gateway.example.com"))
    return st.lists(host, min_size=1, max_size=16, unique=True).filter(_none_covered)


def _none_covered(names: list[str]) -> bool:
    suffixes = [name[1:] for name in names if name.startswith("*.")]
    return not any(name.endswith(suffix) and name != f"*{suffix}" for name in names for suffix in suffixes)


@cache
def paths() -> st.SearchStrategy[str]:
    """Return path prefixes other than the root."""
    segment = st.from_regex(r"[.]{0,2}([-A-Za-z0-9_~!$&()+,;=:@]|%[0-9A-Fa-f]{2})[-A-Za-z0-9_.~]{0,8}", fullmatch=True)
    return st.one_of(
        st.just("/" + "p" * 255),
        st.lists(segment, min_size=1, max_size=4).map(lambda segments: "/" + "/".join(segments)),
    )


@cache
def printable(*, spaces_at_end: bool) -> st.SearchStrategy[str]:
    """Return header values: printable ASCII that starts, and maybe ends, with something visible."""
    tail = "[ -~]{0,12}" if spaces_at_end else "([ -~]{0,12}[!-~])?"
    return st.one_of(st.just("v" * 256), st.from_regex(f"[!-~]{tail}", fullmatch=True))


def _object(required: Raw, optional: Raw) -> st.SearchStrategy[Raw]:
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def header_matches(draw: Draw) -> Raw:
    """Return a header with an exact value or a prefix."""
    kind = draw(st.sampled_from(("exact", "prefix")))
    return {"name": draw(header_names()), kind: draw(printable(spaces_at_end=kind == "prefix"))}


@st.composite
def matches(draw: Draw, prefix: str) -> Raw:
    """Return a match with at least one criterion, within the policy's path prefix."""
    inside = st.just(prefix) if len(prefix) > 100 else paths().map(lambda path: _below(prefix, path))
    headers = st.lists(header_matches(), min_size=1, max_size=8, unique_by=lambda header: header["name"].lower())
    criteria = {"headers": headers, "method": st.sampled_from(METHODS), "pathPrefix": inside}
    return draw(_object({}, criteria).filter(bool))


def _below(prefix: str, path: str) -> str:
    if prefix == "/":
        return path
    return prefix + path if len(prefix + path) <= 256 else prefix


@st.composite
def routes(draw: Draw, backend_names: list[str], prefix: str) -> list[Raw]:
    """Return up to 32 routes with names of their own."""
    names = draw(st.lists(labels(63), max_size=draw(st.sampled_from((2, 4, 32))), unique=True))
    match_lists = st.lists(matches(prefix), min_size=1, max_size=8 if len(names) < 4 else 1)
    optional = {"backend": st.sampled_from(backend_names)}
    return [draw(_object({"name": st.just(name), "matches": match_lists}, optional)) for name in names]


@cache
def scaling_rules() -> st.SearchStrategy[list[Raw]]:
    """Return rules, one of each type at most, no Latency alone or with CPU only."""
    amount = st.one_of(st.sampled_from((1, 1_000_000)), st.integers(1, 1_000_000))
    by_type = {
        "RequestRate": {"requestRate": _object({"targetPerReplica": amount}, {})},
        "Latency": {
            "latency": _object({"percentile": st.sampled_from((50, 90, 95, 99)), "threshold": durations()}, {})
        },
        "QueueLength": {"queueLength": _object({"total": amount}, {})},
        "CPU": {"cpu": _object({"utilizationPercent": st.integers(1, 100)}, {})},
    }
    types = st.lists(st.sampled_from(tuple(by_type)), min_size=1, max_size=4, unique=True).filter(
        lambda chosen: "Latency" not in chosen or "RequestRate" in chosen or "QueueLength" in chosen
    )
    return types.flatmap(
        lambda chosen: st.tuples(*(_object({"type": st.just(t), **by_type[t]}, {}) for t in chosen)).map(list)
    )


def _movement() -> Raw:
    return {
        "scaleUp": _object({"maxAddReplicas": st.integers(1, 1000), "period": whole_seconds(1, 1800)}, {}),
        "scaleDown": _object({}, {"stabilization": whole_seconds(0, 3600)}),
    }


@cache
def replicas(low: int = 1, high: int = 10_000) -> st.SearchStrategy[int]:
    """Return replica counts, the bounds often."""
    return st.one_of(st.sampled_from((low, high)), st.integers(low, high))


@st.composite
def autoscaling(draw: Draw) -> Raw:
    """Return a complete autoscaling block."""
    most = draw(replicas())
    required = {"maxReplicas": st.just(most), "rules": scaling_rules()}
    return draw(_object(required, {"minReplicas": replicas(high=most), **_movement()}))


@st.composite
def overrides(draw: Draw, common: Raw) -> Raw:
    """Return what one backend changes of ``common``, its bounds in order once applied."""
    least = common.get("minReplicas", 1)
    own = draw(_object({}, {"maxReplicas": replicas(least), "rules": scaling_rules(), **_movement()}))
    most = own.get("maxReplicas", common["maxReplicas"])
    if not own or draw(st.booleans()):
        own["minReplicas"] = draw(replicas(1, most))
    return own


@st.composite
def weights(draw: Draw, count: int) -> list[int]:
    """Return ``count`` weights that sum to 100."""
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=count - 1, max_size=count - 1)))
    return [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]


@cache
def ports() -> st.SearchStrategy[int]:
    """Return port numbers."""
    return st.one_of(st.sampled_from((1, 80, 65_535)), st.integers(1, 65_535))


def service(name: str) -> st.SearchStrategy[Raw]:
    """Return a reference to the Service, with or without a port."""
    return _object({"name": st.just(name)}, {"port": ports()})


@st.composite
def backends(draw: Draw, services: list[str], workloads: list[str], common: Raw | None) -> list[Raw]:
    """Return one backend for each Service; ``workloads`` are names that no Service has."""
    names = draw(st.lists(labels(40), min_size=len(services), max_size=len(services), unique=True))
    shares = draw(weights(len(services)))
    kinds = st.sampled_from(("Deployment", "StatefulSet"))
    own = overrides(common) if common else autoscaling()
    drawn = []
    for name, target, workload, share in zip(names, services, workloads, shares, strict=True):
        required = {"name": st.just(name), "service": service(target)}
        reference = _object({"kind": kinds, "name": st.just(workload)}, {})
        weight = {"weight": st.just(share)}
        needed, free = (weight, {}) if len(services) > 1 else ({}, weight)
        drawn.append(draw(_object(required | needed, free | {"scaleTargetRef": reference, "autoscaling": own})))
    return drawn


@st.composite
def _entrances(draw: Draw, mesh_service: str) -> Raw:
    """Return what decides which requests come in: hosts with gateways and a path, or a Service, or both."""
    kind = draw(st.sampled_from(("gateway", "mesh", "both")))
    entrance: Raw = {}
    if kind != "mesh":
        gateway = st.builds("{}/{}".format, labels(63), labels(63))
        gateways = st.lists(gateway, min_size=1, max_size=4, unique=True)
        path = st.one_of(st.just("/"), paths()) if kind == "gateway" else st.just("/")
        entrance = draw(_object({"hosts": hosts()}, {"gateways": gateways, "pathPrefix": path}))
    if kind != "gateway":
        entrance["service"] = draw(service(mesh_service))
    return entrance


@st.composite
def specs(draw: Draw) -> Raw:
    """Return the spec of a valid policy."""
    count = draw(st.one_of(st.integers(1, 3), st.just(8)))
    names = draw(st.lists(labels(63), min_size=2 * count + 1, max_size=2 * count + 1, unique=True))
    spec = draw(_entrances(names[0]))
    common = draw(st.one_of(st.none(), autoscaling()))
    spec["backends"] = draw(backends(names[1 : count + 1], names[count + 1 :], common))
    if common:
        spec["autoscaling"] = common
    backend_names = [backend["name"] for backend in spec["backends"]]
    rest = {
        "suspend": st.booleans(),
        "routes": routes(backend_names, spec.get("pathPrefix", "/")),
    }
    spec |= draw(_object({}, rest))
    return spec | draw(resilience.blocks(hosts="hosts" in spec, whole=spec.get("pathPrefix", "/") == "/"))


@st.composite
def policies(draw: Draw, namespace: str = "models") -> Raw:
    """Return a valid policy in ``namespace``."""
    return {
        "apiVersion": "aigateway.dev/v1alpha1",
        "kind": "AIGatewayPolicy",
        "metadata": {"name": draw(labels(40)), "namespace": namespace},
        "spec": draw(specs()),
    }
