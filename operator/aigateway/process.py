"""The operator as a process: every part wired up, started, watched over and stopped.

Called by ``aigateway run``.  The engine's event loop runs here; kopf has a thread of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, closing

from aigateway.api.resolved import PolicyKey
from aigateway.cluster.client import Client
from aigateway.cluster.connection import pod_namespace
from aigateway.cluster.events import Recorder
from aigateway.cluster.leader import Alone, Elector, Leadership, new_identity
from aigateway.cluster.lease import LeaseObject
from aigateway.cluster.policies import Listings, PolicyWatch
from aigateway.cluster.queue import WorkQueue
from aigateway.cluster.resources import POLICIES
from aigateway.cluster.watches import FRESH_SECONDS, Watches
from aigateway.cluster.world import World
from aigateway.cluster.writer import Writer
from aigateway.core.adaptive import retries_reason
from aigateway.core.observation import NoData, Sample
from aigateway.engine import Engine, Workers
from aigateway.metrics.instruments import Instruments, Readings
from aigateway.metrics.prometheus import Prometheus
from aigateway.metrics.sampler import Reports, Sampler, Samples, Schedule
from aigateway.metrics.server import Health, Server
from aigateway.settings import Settings, SettingsError

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
"""How long passes in flight may take after a request to stop."""
_FLUSH_SECONDS = 2.0
_DEAD_SECONDS = 60.0
"""How long kopf's thread may show no life before the process is worth a restart."""


class Operator:
    """One operator; make it and call :meth:`run` inside an event loop.

    Every replica watches, so that its caches are warm; only the one that leads takes policies from the queue.

    Raises:
        SettingsError: a Lease is wanted, and nothing says in which namespace.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._instruments = Instruments()
        self._identity = new_identity()
        self._client = Client(settings.source, self._instruments.requested, self._may_write_for, self._identity)
        self._leadership = self._leadership_of(settings)
        self._leads = asyncio.Event()
        # A namespace whose requests hang leaves a quarter of the workers to the others.
        self._queue: WorkQueue[PolicyKey] = WorkQueue(at_once=settings.concurrency - settings.concurrency // 4)
        self.world = World(
            settings.administrator,
            time.time,
            self._wake,
            self._namespace_changed,
            self._queue.renew,
            settings.namespaces,
        )
        self._watches = Watches(self._client, self.world, settings.namespaces, settings.allow_envoy_filter)
        listings = Listings(self._client, self.world.policies, settings.namespaces)
        self.policies = PolicyWatch(settings.source, listings, self.world.policies_are_synced)
        self._recorder = Recorder(self._client)
        engine = Engine(self.world, Writer(self._client, self.world), self._recorder, settings.administrator)
        self._workers = Workers(engine, self._queue, settings.concurrency, self._instruments.reconciled)
        self._instruments.read_from(self._readings())

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set, then finish what is in flight.

        Raises:
            LeadLost: another replica goes on; nothing was written since.
            Exception: a part of the operator ended by itself, which it never should.
        """
        async with AsyncExitStack() as open_things:
            await open_things.enter_async_context(self._client)
            await open_things.enter_async_context(self._server())
            tasks = self._start()
            stopping = asyncio.create_task(stop.wait(), name="stop")
            try:
                done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
                await self._stop(tasks)
            for task in done - {stopping}:
                task.result()
                raise RuntimeError(f"{task.get_name()} ended by itself")

    def _start(self) -> list[asyncio.Task[None]]:
        parts = {
            "lease": self._lead(),
            "workers": self._work(),
            "events": self._recorder.run(),
            "watches": self._watches.run(),
            "policies": self.policies.run(),
        }
        if self._settings.administrator.sampling_address is not None:
            parts["sampler"] = self._sample(self._settings.administrator.sampling_address)
        log.info("started; policies of %s", ", ".join(self._settings.namespaces) or "all namespaces")
        return [asyncio.create_task(part, name=name) for name, part in parts.items()]

    async def _lead(self) -> None:
        """Wait for the lead, have every policy looked at, and hold the lead until it is lost."""
        await self._leadership.take()
        self._leads.set()
        self.world.wake_all()
        await self._leadership.hold()

    async def _work(self) -> None:
        await self._leads.wait()
        await self._workers.run()

    async def _sample(self, address: str) -> None:
        """Ask Prometheus, where this replica leads, for what policies need."""
        await self._leads.wait()
        settings = self._settings
        schedule = Schedule(settings.sampling_interval, settings.scaling_window, settings.cluster_domain)
        reports = Reports(self._instruments.queried, self._instruments.ticked, self._sampled)
        with closing(Prometheus(address)) as prometheus:
            await Sampler(prometheus, schedule, self.world.samples.wanted, reports).run()

    def _sampled(self, samples: Samples) -> None:
        self.world.sampled(samples)
        states = ((str(metric), _state(sample)) for (*_, metric), sample in samples.items())
        self._instruments.sampled(Counter(states))

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Stop taking work, finish what is in flight, hand the lead over, then stop looking."""
        log.info("stopping")
        by_name = {task.get_name(): task for task in tasks}
        by_name["workers"].cancel()
        await self._finish()
        lease = by_name["lease"]
        lost = lease.done()
        lease.cancel()
        await asyncio.wait([lease])
        if not lost:
            await self._leadership.release()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        log.info("stopped")

    async def _finish(self) -> None:
        """Let passes and events in flight finish; without the lead, cut them off at once."""
        leading = self._may_write_for() > 0
        cut_off = await self._workers.drain(DRAIN_SECONDS if leading else 0.0)
        if cut_off:
            log.warning("%d passes in flight were cut off; the next leader, or the next start, finishes them", cut_off)
        if not leading:
            return
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._recorder.flush()
        except TimeoutError:
            log.info("events that could not be posted in time were dropped")

    def _server(self) -> Server:
        settings = self._settings
        registry = self._instruments.registry
        return Server(settings.probes, settings.metrics, registry, Health(self._dead, self._unready, self._role))

    def _namespace_changed(self, namespace: str, held: bool) -> None:  # noqa: FBT001 (a callback's shape)
        self._watches.namespace_changed(namespace, held)

    # Who leads ----------------------------------------------------------------------------------------------------

    def _leadership_of(self, settings: Settings) -> Leadership:
        if not settings.leader_election:
            return Alone()
        namespace = settings.lease_namespace or pod_namespace()
        if namespace is None:
            raise SettingsError(
                "outside of a pod, --lease-namespace must say where the Lease is that replicas take turns in holding; "
                "where no other replica runs, --leader-election=false does without"
            )
        register = LeaseObject(self._client, namespace, settings.lease_name)
        return Elector(self._identity, register, settings.timing)

    def _may_write_for(self) -> float:
        return self._leadership.left()

    def _wake(self, key: PolicyKey) -> None:
        """Queue a policy; while standing by none is, for all are queued with the lead."""
        if self._leads.is_set():
            self._queue.add(key)

    # What probes and metrics ask ----------------------------------------------------------------------------------

    def _dead(self) -> Iterator[str]:
        silent = time.monotonic() - self.policies.beat_at
        if self.policies.restarts >= 0 and silent > _DEAD_SECONDS:
            yield f"the policy watch has shown no life for {silent:.0f} s"

    def _unready(self) -> Iterator[str]:
        if not self.world.policies_synced:
            yield "policies not listed yet"
        elif not self.policies.running:
            yield "the policy watch is being started"
        elif (silent := self.policies.silent_for()) > FRESH_SECONDS:
            yield f"the policy watch has heard nothing for {silent:.0f} s"
        yield from self._watches.stale()

    def _role(self) -> str:
        return "ok (leader)" if self._may_write_for() > 0 else "ok (standby)"

    def _readings(self) -> Readings:
        return Readings(
            queue_depth=lambda: float(len(self._queue)),
            policies_by_ready=self._policies_by_ready,
            policies_by_retries=self._policies_by_retries,
            watch_ages=self._watch_ages,
            kopf_restarts=lambda: float(max(0, self.policies.restarts)),
            leads=lambda: float(self._may_write_for() > 0),
            lease_transitions=lambda: float(self._leadership.transitions),
        )

    def _policies_by_ready(self) -> Mapping[str, float]:
        counts = Counter({"True": 0, "False": 0, "Unknown": 0})
        for entry in self.world.policies:
            conditions = (entry.value.get("status") or {}).get("conditions") or ()
            ready = (item["status"] for item in conditions if item["type"] == "Ready")
            counts[next(ready, "Unknown")] += 1
        return {status: float(count) for status, count in counts.items()}

    def _policies_by_retries(self) -> Mapping[str, float]:
        found = ((entry.value.get("status") or {}).get("retries") for entry in self.world.policies)
        reasons = (retries_reason(entry) for entry in found if entry)
        return {reason: float(count) for reason, count in Counter(reasons).items()}

    def _watch_ages(self) -> Mapping[str, float]:
        ages = {POLICIES.label: self.policies.silent_for()} if self.policies.running else {}
        for reflector in self._watches.reflectors():
            if reflector.synced:
                label, age = reflector.scope.resource.label, time.monotonic() - reflector.heard_at
                ages[label] = max(age, ages.get(label, 0.0))
        return ages


def _state(sample: Sample | NoData) -> str:
    return str(sample.reason) if isinstance(sample, NoData) else type(sample).__name__
