"""The resources that the operator reads or writes, as the paths of the Kubernetes API know them.

Everything in :mod:`aigateway.cluster` uses this table; nothing in it does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aigateway.api.resolved import WorkloadKind
from aigateway.core.identity import MANAGED_BY, MANAGED_BY_LABEL, PART_LABEL
from aigateway.core.observation import ChildKind

FIELD_MANAGER = "aigateway-operator"
"""Owner of our fields in server-side apply.  Never renamed: fields of the old name would belong to nobody."""

CHILD_SELECTORS: Mapping[ChildKind, str] = {
    ChildKind.SCALED_OBJECT: f"{MANAGED_BY_LABEL}={MANAGED_BY}",
    ChildKind.ENVOY_FILTER: PART_LABEL,
}
"""Which objects of a kind are looked at.

Of Istio's routes and rules everybody's are: what others route or configure can be in a policy's way.
"""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind in one version; ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_path(self) -> str:
        """The discovery path that lists the resources of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def label(self) -> str:
        """Name for logs and metrics: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of one object, or of the collection (``namespace`` None: of all namespaces)."""
        parts = [self.group_path]
        parts += [f"namespaces/{namespace}"] if namespace else []
        return "/".join(part for part in [*parts, self.plural, name, subresource] if part)


POLICIES = Resource("aigateway.dev", "v1alpha1", "aigatewaypolicies", "AIGatewayPolicy")
SERVICES = Resource("", "v1", "services", "Service")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")

WORKLOADS: Mapping[WorkloadKind, Resource] = {
    WorkloadKind.DEPLOYMENT: Resource("apps", "v1", "deployments", "Deployment"),
    WorkloadKind.STATEFUL_SET: Resource("apps", "v1", "statefulsets", "StatefulSet"),
}

CHILDREN: Mapping[ChildKind, Resource] = {
    ChildKind.VIRTUAL_SERVICE: Resource("networking.istio.io", "v1", "virtualservices", "VirtualService"),
    ChildKind.DESTINATION_RULE: Resource("networking.istio.io", "v1", "destinationrules", "DestinationRule"),
    ChildKind.SCALED_OBJECT: Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject"),
    ChildKind.ENVOY_FILTER: Resource("networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter"),
}
