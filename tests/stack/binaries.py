"""Which programs the stack is made of, at which version, and how each is compiled.

Data only: :mod:`tests.stack.build` reads this table, nothing else does.  A row's Go module lies in ``tools/<name>``
with its ``go.mod`` and ``go.sum``, so that the build is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parent / "tools"
MINIMUM_GO = (1, 26, 8)
"""The ``go`` line of etcd's module, the newest among the modules."""

KUBERNETES_VERSION = "v1.36.3"
ISTIO_VERSION = "1.31.0"
KEDA_VERSION = "2.21.0"
HELM_VERSION = "v4.3.1"

_STRIP = "-s -w"


@dataclass(frozen=True)
class Binary:
    """One program: the file name it gets, its Go package, and how it tells its version."""

    name: str
    package: str
    version_args: tuple[str, ...] = ("--version",)
    version_text: str = ""
    """What the version output must contain for a program from PATH to be taken; empty: never take one from PATH."""


@dataclass(frozen=True)
class ToolModule:
    """One Go module under ``tools/`` and the binaries and files that come out of it."""

    name: str
    binaries: tuple[Binary, ...]
    ldflags: str = _STRIP
    tags: str = ""
    asset_module: str = ""
    """The Go module that the assets are read from."""
    assets: tuple[str, ...] = ()
    """Globs inside ``asset_module`` of files (CRDs, stages) that are kept beside the binaries."""


def _version_flags(package: str, **values: str) -> str:
    return " ".join([_STRIP, *(f"-X {package}.{key}={value}" for key, value in values.items())])


def _kubernetes() -> ToolModule:
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    return ToolModule(
        name="k8s",
        binaries=tuple(
            Binary(
                name,
                f"k8s.io/kubernetes/cmd/{name}",
                ("version", "--client") if name == "kubectl" else ("--version",),
                KUBERNETES_VERSION,
            )
            for name in names
        ),
        ldflags=_version_flags(
            "k8s.io/component-base/version",
            gitVersion=KUBERNETES_VERSION,
            gitMajor="1",
            gitMinor="36",
            gitTreeState="clean",
            gitCommit="unknown",
            buildDate="2026-01-01T00:00:00Z",
        ),
    )


MODULES: tuple[ToolModule, ...] = (
    ToolModule("etcd", (Binary("etcd", "go.etcd.io/etcd/server/v3", ("--version",), "etcd Version: 3.7.3"),)),
    _kubernetes(),
    ToolModule(
        "istio",
        (Binary("pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery"),),
        ldflags=_version_flags(
            "istio.io/istio/pkg/version",
            buildVersion=ISTIO_VERSION,
            buildTag=ISTIO_VERSION,
            buildGitRevision="eed52ebb66ad",
            buildStatus="Clean",
        ),
        asset_module="istio.io/istio",
        assets=("manifests/charts/base/files/crd-all.gen.yaml",),
    ),
    ToolModule(
        "kwok",
        (Binary("kwok", "sigs.k8s.io/kwok/cmd/kwok", ("--version",), "v0.8.0"),),
        ldflags=_version_flags("sigs.k8s.io/kwok/pkg/consts", Version="v0.8.0"),
        asset_module="sigs.k8s.io/kwok",
        assets=(
            "kustomize/stage/node/fast/node-initialize.yaml",
            "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
            "kustomize/stage/pod/fast/pod-ready.yaml",
            "kustomize/stage/pod/fast/pod-complete.yaml",
            "kustomize/stage/pod/fast/pod-delete.yaml",
        ),
    ),
    ToolModule(
        "prometheus",
        (Binary("prometheus", "github.com/prometheus/prometheus/cmd/prometheus", ("--version",), "version 3."),),
        ldflags=_version_flags("github.com/prometheus/common/version", Version="3.16.0", Branch="HEAD"),
        # Without these tags the build asks for the Nomad API module, which is not always served by module proxies.
        tags="remove_all_sd enable_kubernetes_sd enable_dns_sd",
    ),
    ToolModule(
        "keda",
        (
            Binary("keda-adapter", "github.com/kedacore/keda/v2/cmd/adapter"),
            Binary("keda-webhooks", "github.com/kedacore/keda/v2/cmd/webhooks"),
            Binary("keda-operator", "github.com/kedacore/keda/v2/cmd/operator"),
        ),
        ldflags=_version_flags(
            "github.com/kedacore/keda/v2/version", Version=KEDA_VERSION, GitCommit=f"v{KEDA_VERSION}"
        ),
        asset_module="github.com/kedacore/keda/v2",
        assets=("config/crd/bases/*.yaml",),
    ),
    ToolModule("helm", (Binary("helm", "helm.sh/helm/v4/cmd/helm", ("version",), HELM_VERSION),)),
    # The oldest Istio that serves networking.istio.io/v1, for what the operator does without newer fields.
    ToolModule(
        "istio-api",
        (),
        asset_module="istio.io/api",
        assets=("kubernetes/customresourcedefinitions.gen.yaml",),
    ),
)

PARTS: dict[str, tuple[str, ...]] = {
    "cluster": ("etcd", "k8s", "kwok"),
    "routing": ("etcd", "k8s", "kwok", "istio"),
    "older": ("istio-api",),
    "scaling": ("etcd", "k8s", "kwok", "prometheus", "keda"),
    "install": ("etcd", "k8s", "kwok", "helm"),
}
"""The modules each part needs: all stand on the cluster; each joins when its own modules are built."""
