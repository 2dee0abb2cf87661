"""A cluster of the user's own in the place of the stack, named explicitly by ``AIGATEWAY_STACK_CONTEXT``.

Nothing of Kubernetes is started then, and nothing but the named context is ever talked to.  What the stack alone can do
(faults of the model backend, sidecars, scripted CPU, the audit log) is not there: asking for it raises
:class:`~tests.stack.errors.OnlyOnTheStackError`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.stack.build import Say, say_plainly
from tests.stack.cluster import Cluster
from tests.stack.errors import OnlyOnTheStackError, StackError
from tests.stack.stack import Stack, new_run_folder

CONTEXT = "AIGATEWAY_STACK_CONTEXT"


class ExternalCluster:
    """The part of :class:`~tests.stack.stack.Stack` that a cluster of the user's own can be."""

    def __init__(self, context: str) -> None:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            msg = f"{CONTEXT} is set, and there is no kubectl on PATH"
            raise StackError(msg)
        self.folder = new_run_folder()
        self.started = {"cluster"}
        self.cluster = Cluster(_kubeconfig(), Path(kubectl), context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster as it is: tests remove what they made."""

    def __getattr__(self, name: str) -> object:
        """Say which attribute only the stack has."""
        msg = f"stack.{name} needs the stack itself: it does not exist on the cluster that {CONTEXT} names"
        raise OnlyOnTheStackError(msg)


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
