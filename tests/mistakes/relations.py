"""Fields that do not fit together: a row for every cross-field rule."""

from __future__ import annotations

from tests.mistakes.mistake import MATCH, NOTHING_OF_GATEWAYS, V1, V2, Mistake
from tests.policies import GONE

NAME = (
    "metadata.name must be at most 40 lower-case letters, digits and hyphens, since generated objects are named after "
    "it: choose a shorter or simpler name"
)
MEMBER = (
    "set the member that type names and no other: requestRate for type RequestRate, latency for Latency, "
    "queueLength for QueueLength, cpu for CPU"
)
PARTNER = (
    "a Latency rule needs a RequestRate or QueueLength rule beside it, since latency alone cannot tell how many "
    "replicas are needed: add one"
)
BOUNDS = "minReplicas must not be above maxReplicas: lower minReplicas or raise maxReplicas"
EXACT_OR_PREFIX = "exact or prefix is required, and not both: set one of the two"
LATENCY = {"type": "Latency", "latency": {"percentile": 99, "threshold": "1s"}}

RELATIONS = {
    "long name": Mistake({"metadata.name": "x" * 41}, "metadata.name", NAME, "<nil>"),
    "name with a dot": Mistake({"metadata.name": "chat.v1"}, "metadata.name", NAME, "<nil>"),
    "neither hosts nor service": Mistake(
        {"spec.hosts": GONE, "spec.gateways": GONE, **NOTHING_OF_GATEWAYS},
        "spec",
        "spec.hosts or spec.service is required: set hosts for traffic through a gateway, service for the mesh's own",
    ),
    "host that a wildcard covers": Mistake(
        {"spec.hosts": ["*.example.com", "ai.example.com"]},
        "spec.hosts[1]",
        "spec.hosts must not list a host that a wildcard in the list covers: remove one of the two",
        "spec.hosts",
    ),
    "gateways without hosts": Mistake(
        {"spec.hosts": GONE, "spec.service": {"name": "chat"}, "spec.pathPrefix": GONE, **NOTHING_OF_GATEWAYS},
        "spec.gateways",
        "spec.gateways needs spec.hosts: set hosts, or remove gateways where only spec.service is meant",
    ),
    "path with a service": Mistake(
        {"spec.service": {"name": "chat"}},
        "spec.pathPrefix",
        "spec.pathPrefix cannot be combined with spec.service, whose traffic is split whole: remove one, "
        "or use two policies",
    ),
    "one weight missing": Mistake(
        {f"{V1}.weight": GONE},
        f"{V1}.weight",
        "each of several backends needs a weight; set weight on each so that they sum to 100",
        "spec.backends",
    ),
    "weights of 99": Mistake(
        {f"{V1}.weight": 79},
        "spec.backends",
        "weights must sum to 100; correct them (a lone backend needs no weight)",
    ),
    "lone backend with half the weight": Mistake(
        {V2: GONE, "spec.routes[0].backend": "v1", f"{V1}.weight": 50},
        "spec.backends",
        "weights must sum to 100; correct them (a lone backend needs no weight)",
    ),
    "two backends on one Service": Mistake(
        {f"{V2}.service.name": "chat-v1"},
        f"{V2}.service.name",
        "each backend needs a Service of its own; give each version of the model its own Service",
        "spec.backends",
    ),
    "two backends on one workload": Mistake(
        {f"{V2}.scaleTargetRef": {"kind": "Deployment", "name": "chat-v1"}},
        f"{V2}.scaleTargetRef",
        "each backend needs a workload of its own; correct scaleTargetRef "
        "(default: the Deployment named like the Service)",
        "spec.backends",
    ),
    "split behind itself": Mistake(
        {"spec.service": {"name": "chat-v1"}, "spec.pathPrefix": GONE},
        f"{V1}.service.name",
        "spec.service cannot be the Service of a backend, which would be split behind itself; "
        "use another Service for the in-mesh name",
        "spec.backends",
    ),
    "route to an unknown backend": Mistake(
        {"spec.routes[0].backend": "v3"},
        "spec.routes[0].backend",
        "backend must be the name of one of spec.backends; correct it, or leave it out for the weighted split",
        "spec.routes",
    ),
    "two routes of one name": Mistake(
        {"spec.routes[1].name": "pin-v2"},
        "spec.routes[1].name",
        "each route needs a name of its own; rename one",
        "spec.routes",
    ),
    "match outside the policy's path": Mistake(
        {"spec.routes[1].matches[0].pathPrefix": "/v10"},
        "spec.routes[1].matches[0].pathPrefix",
        "the pathPrefix of a match must lie within spec.pathPrefix, which it extends; write the whole path",
        "spec.routes",
    ),
    "match of everything": Mistake(
        {"spec.routes[1].matches[0]": {}},
        "spec.routes[1].matches[0]",
        "a match needs headers, method or pathPrefix; to send every request to a backend, give it weight 100",
    ),
    "header named twice": Mistake(
        {f"{MATCH}.headers[1]": {"name": "X-Model-Version", "prefix": "v"}},
        f"{MATCH}.headers[1].name",
        "headers must name each header once (case does not count); put alternatives into a match of their own",
        f"{MATCH}.headers",
    ),
    "exact and prefix": Mistake({f"{MATCH}.headers[0].prefix": "v"}, f"{MATCH}.headers[0]", EXACT_OR_PREFIX),
    "neither exact nor prefix": Mistake({f"{MATCH}.headers[0].exact": GONE}, f"{MATCH}.headers[0]", EXACT_OR_PREFIX),
    "rule without its member": Mistake(
        {"spec.autoscaling.rules[0].requestRate": GONE}, "spec.autoscaling.rules[0]", MEMBER
    ),
    "rule with a second member": Mistake(
        {"spec.autoscaling.rules[0].cpu": {"utilizationPercent": 1}}, "spec.autoscaling.rules[0]", MEMBER
    ),
    "latency alone": Mistake({"spec.autoscaling.rules": [LATENCY]}, "spec.autoscaling.rules", PARTNER),
    "latency alone in one backend": Mistake(
        {f"{V2}.autoscaling": {"rules": [LATENCY]}}, f"{V2}.autoscaling.rules", PARTNER
    ),
    "bounds that cross": Mistake({"spec.autoscaling.minReplicas": 21}, "spec.autoscaling.minReplicas", BOUNDS),
    "bounds of one backend that cross": Mistake(
        {f"{V2}.autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, f"{V2}.autoscaling.minReplicas", BOUNDS
    ),
    "bounds that cross once applied": Mistake(
        {f"{V2}.autoscaling.minReplicas": 21},
        f"{V2}.autoscaling",
        "with spec.autoscaling applied, a backend's minReplicas is above its maxReplicas; change one of them",
        "spec.backends",
    ),
    "empty override": Mistake(
        {f"{V2}.autoscaling": {}},
        f"{V2}.autoscaling",
        "a backend's autoscaling must set what differs from spec.autoscaling: set a field or remove it",
    ),
    "override of nothing": Mistake(
        {"spec.autoscaling": GONE},
        f"{V2}.autoscaling",
        "without spec.autoscaling a backend's autoscaling needs maxReplicas and rules; set both",
        "spec.backends",
    ),
}
