"""``aigateway status --watch``: policies as they change, until Ctrl-C.

On a terminal the table is drawn anew in its place; anywhere else each change is appended, as a line or a document.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

import click
from rich.console import Console, Group
from rich.live import Live

from aigateway.cli.access import run_to_end
from aigateway.cli.output import as_yaml, plain
from aigateway.cli.printers.status import line, renderables
from aigateway.cli.views.status import PolicyLine, StatusView, policy_line, status_view
from aigateway.cluster import parse
from aigateway.cluster.client import Client
from aigateway.cluster.reflector import Reflector, Scope
from aigateway.cluster.resources import POLICIES
from aigateway.cluster.store import Entry, Store
from aigateway.core.observation import Json
from aigateway.core.status import timestamp
from aigateway.settings import Settings

_Change = tuple[Entry[Json] | None, Entry[Json] | None]

_REDRAW_SECONDS = 2.0
"""Ages move although nothing changes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which policies: of one namespace or of all (None), all of them or one."""

    namespace: str | None
    name: str | None


class _Screen:
    """Knows the policies that are meant; what is shown of them is for its subclasses."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._policies: dict[tuple[str, str], Json] = {}

    @property
    def view(self) -> StatusView:
        """The policies as they are now."""
        return status_view(self._policies.values())

    def changed(self, old: Entry[Json] | None, new: Entry[Json] | None) -> None:
        """Take over that a policy is new, other or gone."""
        entry = new or old
        if entry is None or self.wanted.name not in (None, entry.name):
            return
        if new is None:
            self._policies.pop((entry.namespace, entry.name), None)
        else:
            self._policies[entry.namespace, entry.name] = new.value
        self.show(entry, gone=new is None)

    def show(self, entry: Entry[Json], *, gone: bool) -> None:
        """Show that one policy has changed."""

    def redraw(self) -> None:
        """Show all policies, after changes and when time has passed."""


def follow(settings: Settings, wanted: Wanted, output: str) -> StatusView:
    """Show policies until Ctrl-C, and return them as they were then."""
    if output == "text" and sys.stdout.isatty():
        with Live(console=Console(highlight=False, markup=False, emoji=False), auto_refresh=False) as live:
            return _run(settings, _Table(wanted, live))
    return _run(settings, _Lines(wanted, output))


def _run(settings: Settings, screen: _Screen) -> StatusView:
    with suppress(KeyboardInterrupt):
        run_to_end(_watch(settings, screen))
    return screen.view


async def _watch(settings: Settings, screen: _Screen) -> None:
    # What changes is shown here and not from the reflector, which survives every error, a closed pipe too.
    news: asyncio.Queue[_Change] = asyncio.Queue()
    store: Store[Json] = Store(parse.policy, lambda old, new: news.put_nowait((old, new)))
    async with Client(settings.source) as client:
        reflector = asyncio.create_task(Reflector(client, Scope(POLICIES, screen.wanted.namespace), store).run())
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_REDRAW_SECONDS):
                        screen.changed(*await news.get())
                while not news.empty():
                    screen.changed(*news.get_nowait())
                screen.redraw()
        finally:
            reflector.cancel()


class _Table(_Screen):
    """The table on a terminal."""

    def __init__(self, wanted: Wanted, live: Live) -> None:
        super().__init__(wanted)
        self._live = live

    def redraw(self) -> None:
        parts = renderables(self.view, time.time(), namespaces=self.wanted.namespace is None)
        self._live.update(Group(*parts), refresh=True)


class _Lines(_Screen):
    """What is appended: a line, or a YAML or JSON document, for every policy that says something new."""

    def __init__(self, wanted: Wanted, output: str) -> None:
        super().__init__(wanted)
        self._output = output
        self._shown: dict[tuple[str, str], PolicyLine] = {}

    def show(self, entry: Entry[Json], *, gone: bool) -> None:
        place, policy = (entry.namespace, entry.name), policy_line(entry.value)
        if gone:
            self._shown.pop(place, None)
            click.echo(f"policy {entry.namespace}/{entry.name} was deleted", err=True)
        elif self._shown.get(place) != policy:
            self._shown[place] = policy
            click.echo(self._text(policy), nl=False)

    def _text(self, policy: PolicyLine) -> str:
        if self._output == "json":
            return json.dumps(plain(policy)) + "\n"
        if self._output == "yaml":
            return "---\n" + as_yaml([plain(policy)])
        return line(policy, timestamp(time.time())) + "\n"
