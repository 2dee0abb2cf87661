"""From the options of a command to what it looks at: a cluster, or files in its place, and the operator's settings.

Commands that look at policies use it, so that all of them fail in the same words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TextIO, TypeVar

import click

from aigateway.api.reasons import ENVOY_FILTER_NOT_ALLOWED, NO_GATEWAY, PROMETHEUS_NOT_CONFIGURED
from aigateway.cli.manifests import read_objects
from aigateway.cli.recorded import RecordedObjects
from aigateway.cluster.client import ApiError, Client
from aigateway.cluster.connection import AccessError, current_namespace
from aigateway.cluster.snapshot import Api
from aigateway.core.observation import Json
from aigateway.settings import Settings, SettingsError

T = TypeVar("T")

_NEEDED = {
    str(NO_GATEWAY): "default-gateway",
    str(PROMETHEUS_NOT_CONFIGURED): "prometheus-address",
    str(ENVOY_FILTER_NOT_ALLOWED): "allow-envoy-filter",
}
"""Reasons that come from a setting of the operator that may simply not have been given to us."""


def settings_of(options: dict[str, Any]) -> Settings:
    """Return the settings that options make, checked as the operator checks its own."""
    try:
        return Settings(**options)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def namespace_of(settings: Settings, namespace: str | None, observed: Sequence[TextIO] = ()) -> str:
    """Return the namespace that is meant: as given, else the context's; with files in place of a cluster, default."""
    if namespace or observed:
        return namespace or "default"
    try:
        return current_namespace(settings.source)
    except AccessError as error:
        raise click.ClickException(str(error)) from error


@asynccontextmanager
async def opened(settings: Settings, observed: Sequence[TextIO], namespace: str) -> AsyncIterator[Api]:
    """Open what is looked at; ``observed`` are files in place of the cluster."""
    if observed:
        yield RecordedObjects([document.value for document in read_objects(observed)], namespace)
        return
    async with Client(settings.source) as client:
        yield client


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; what the cluster refuses is said in a sentence and ends it with code 1."""
    try:
        return asyncio.run(work)
    except BrokenPipeError:
        raise  # whoever read our output has seen enough; click ends quietly
    except (ApiError, AccessError, OSError) as error:
        raise click.ClickException(str(error)) from error


def reasons_in(statuses: Iterable[Json]) -> set[str]:
    """Return the reasons of all conditions, and of all fields that have no effect."""
    parts = ("conditions", "skipped")
    return {item["reason"] for status in statuses for part in parts for item in status.get(part) or ()}


def hint_at_settings(settings: Settings, reasons: set[str]) -> None:
    """Say on stderr where an answer may only be so because an option was left out."""
    for reason, name in _NEEDED.items():
        if reason in reasons and not getattr(settings, name.replace("-", "_")):
            click.echo(f"note: --{name} was not given; it must be what the operator has, or this differs", err=True)
