"""A cluster of the user's own in the place of the stack, named explicitly by ``AIGATEWAY_STACK_CONTEXT``.

Nothing of Kubernetes is started then, and nothing but the named context is ever talked to.  Requests go to the ingress
gateway at ``AIGATEWAY_STACK_GATEWAY_URL``, where that is given.  What the stack alone can do (faults of the model
backend, sidecars, scripted CPU, the proxies' admin pages, the audit log) is not there: asking for it raises
:class:`~tests.stack.errors.OnlyOnTheStackError`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.stack.build import Say, say_plainly
from tests.stack.cluster import Cluster
from tests.stack.errors import OnlyOnTheStackError, StackError
from tests.stack.stack import Stack, new_run_folder

CONTEXT = "AIGATEWAY_STACK_CONTEXT"
GATEWAY_URL = "AIGATEWAY_STACK_GATEWAY_URL"


class _OnlyOnTheStack:
    def __getattr__(self, name: str) -> object:
        """Say which attribute only the stack has."""
        msg = f"{name} needs the stack itself: it is not there for the cluster that {CONTEXT} names"
        raise OnlyOnTheStackError(msg)


@dataclass(frozen=True)
class ExternalGateway(_OnlyOnTheStack):
    """The ingress gateway of the user's cluster, of which only the address is known."""

    url: str


class ExternalCluster(_OnlyOnTheStack):
    """The part of :class:`~tests.stack.stack.Stack` that a cluster of the user's own can be."""

    def __init__(self, context: str) -> None:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            msg = f"{CONTEXT} is set, and there is no kubectl on PATH"
            raise StackError(msg)
        self.folder = new_run_folder()
        self.started = {"cluster"}
        self.cluster = Cluster(_kubeconfig(), Path(kubectl), context)
        if os.environ.get(GATEWAY_URL):
            self.gateway = ExternalGateway(os.environ[GATEWAY_URL])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster as it is: tests remove what they made."""


def is_chosen() -> bool:
    """Return whether the user named a context to use instead of the stack."""
    return bool(os.environ.get(CONTEXT))


def chosen(parts: Iterable[str], say: Say = say_plainly) -> Stack | ExternalCluster:
    """Return the cluster that the user named, or else a stack of these parts; either is a context manager."""
    context = os.environ.get(CONTEXT)
    if not context:
        return Stack(parts, say)
    say(f"stack: using the context {context} of {_kubeconfig()}; nothing is started")
    return ExternalCluster(context)


def _kubeconfig() -> Path:
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first) if first else Path.home() / ".kube" / "config"
