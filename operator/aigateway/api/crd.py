"""The CustomResourceDefinition, made from the models.

:mod:`aigateway.api.generate` writes it to ``crds/``; tests and the stack apply the same object.
"""

from __future__ import annotations

from typing import Any

from aigateway import __version__
from aigateway.api.model import VALIDATIONS
from aigateway.api.rules import RULES
from aigateway.api.schema import Schema, structural
from aigateway.api.status import Status
from aigateway.api.v1alpha1 import API_VERSION, KIND, AIGatewayPolicy, PolicySpec

GROUP, VERSION = API_VERSION.split("/")
PLURAL = "aigatewaypolicies"

_READY = '.status.conditions[?(@.type=="Ready")]'
_COLUMNS = (
    ("Ready", "string", f"{_READY}.status", "Whether the policy is in effect."),
    ("Reason", "string", f"{_READY}.reason", "Why, in one word."),
    ("Weights", "string", ".status.weights", "Weights in effect."),
    ("Replicas", "string", ".status.replicas", "Ready and wanted replicas per backend."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the policy was created."),
)


def custom_resource_definition() -> dict[str, Any]:
    """Return the CRD as a plain object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{PLURAL}.{GROUP}",
            "labels": {
                "app.kubernetes.io/name": "aigateway-operator",
                "app.kubernetes.io/version": __version__,
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["aigp"],
                "categories": ["ai-gateway"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": description}
            for name, kind, path, description in _COLUMNS
        ],
        "schema": {"openAPIV3Schema": root_schema()},
    }


def root_schema() -> Schema:
    """Return the schema of the whole object; Kubernetes itself describes apiVersion, kind and metadata."""
    return {
        "type": "object",
        "description": AIGatewayPolicy.__doc__,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(PolicySpec, RULES),
            "status": structural(Status, {}),
        },
        VALIDATIONS: [{"rule": rule.cel, "message": rule.message} for rule in RULES[AIGatewayPolicy]],
    }
