"""The work queue: nothing lost, nothing twice at once, namespaces take turns, failures back off."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aigateway.api.resolved import PolicyKey
from aigateway.cluster.queue import Backoff, Schedule, WorkQueue

A1, A2, A3 = (PolicyKey("a", name) for name in ("1", "2", "3"))
B1 = PolicyKey("b", "1")
KEYS = st.sampled_from([A1, A2, A3, B1])
BACKOFF = Backoff(first=1, most=300, deaf=5)


def schedule() -> Schedule[PolicyKey]:
    """Return an empty schedule without jitter."""
    return Schedule(BACKOFF)


def drain(queue: Schedule[PolicyKey], now: float) -> list[PolicyKey]:
    """Take and give back every key that can be had now."""
    taken = []
    while (key := queue.take(now)) is not None:
        taken.append(key)
        queue.done(key, now)
    return taken


@given(st.lists(KEYS))
def test_each_key_that_was_added_comes_once(added: list[PolicyKey]) -> None:
    """However often keys are added before they are taken, each is handed out exactly once."""
    queue = schedule()
    for key in added:
        queue.add(key, 0)

    assert len(set(added)) == len(queue)
    assert sorted(set(added)) == sorted(drain(queue, 0))
    assert len(queue) == 0


def test_namespaces_take_turns() -> None:
    """A namespace with many keys delays another's only key by one turn."""
    queue = schedule()
    for key in (A1, A2, A3, B1):
        queue.add(key, 0)

    assert [A1, B1, A2, A3] == drain(queue, 0)


def test_a_namespace_whose_work_hangs_leaves_room_for_others() -> None:
    """Of one namespace only so many keys are in work at once; the next comes when one of them is done."""
    queue: Schedule[PolicyKey] = Schedule(BACKOFF, at_once=2)
    for key in (A1, A2, A3, B1):
        queue.add(key, 0)

    assert [A1, B1, A2, None] == [queue.take(0) for _ in range(4)]

    queue.done(B1, 0)
    assert queue.take(0) is None
    queue.done(A1, 0)
    assert A3 == queue.take(0)


def test_a_key_in_work_is_not_handed_out_again_before_it_is_done() -> None:
    """A key added while in work waits for its end and then comes once more."""
    queue = schedule()
    queue.add(A1, 0)
    assert A1 == queue.take(0)
    queue.add(A1, 0)
    queue.add(A1, 0)
    assert queue.take(0) is None

    queue.done(A1, 0)

    assert [A1] == drain(queue, 0)


def test_of_several_times_the_earliest_counts() -> None:
    """A key planned for several times comes at the earliest of them, and once."""
    queue = schedule()
    for when in (30, 10, 20):
        queue.add_at(A1, when)

    assert 10 == queue.next_at()
    assert [] == drain(queue, 9.9)
    assert [A1] == drain(queue, 10)
    assert [] == drain(queue, 100)


@pytest.mark.parametrize(
    ("failures", "at_least", "at_most", "expected"),
    [
        pytest.param(1, 0, float("inf"), 1, id="first"),
        pytest.param(4, 0, float("inf"), 8, id="doubles"),
        pytest.param(50, 0, float("inf"), 300, id="is bounded"),
        pytest.param(50, 0, 60, 60, id="is bounded by the caller"),
        pytest.param(1, 20, float("inf"), 20, id="obeys the server"),
    ],
)
def test_backoff(failures: int, at_least: float, at_most: float, expected: float) -> None:
    """The wait doubles with each failure, within the bounds of the queue, the caller and the server."""
    queue, now, wait = schedule(), 0.0, 0.0
    for _ in range(failures):
        queue.add(A1, now)
        now = max(now, queue.next_at() or now)
        assert A1 == queue.take(now)
        wait = queue.failed(A1, now, at_least, at_most)
        queue.done(A1, now)

    assert expected == wait
    assert now + expected == queue.next_at()


def test_noise_does_not_hurry_a_failing_key() -> None:
    """Events about a key that keeps failing bring it back after at most five seconds, never at once."""
    queue, now = schedule(), 0.0
    for _ in range(6):
        queue.add(A1, now)
        now = max(now, queue.next_at() or now)
        queue.take(now)
        queue.failed(A1, now)
        queue.done(A1, now)

    queue.add(A1, now + 0.1)

    assert [] == drain(queue, now + 0.1)
    assert now + 5 == queue.next_at()
    assert [A1] == drain(queue, now + 5)


@pytest.mark.parametrize("in_work", [pytest.param(False, id="while-it-waits"), pytest.param(True, id="while-in-work")])
def test_a_cure_is_tried_at_once(in_work: bool) -> None:
    """What may have cured a failing key brings it back at once, also where it came during a try that still failed."""
    queue, now = schedule(), 0.0
    for _ in range(6):
        now = queue.next_at() or now
        queue.add(A1, now)
        queue.take(now)
        if in_work:
            queue.renew(A1)
            queue.add(A1, now)
        queue.failed(A1, now)
        queue.done(A1, now)
        if not in_work:
            queue.renew(A1)
            queue.add(A1, now)

        assert A1 == queue.take(now)
        assert 1 == queue.failed(A1, now), "the backoff begins anew"
        queue.done(A1, now)


def test_a_cure_does_not_break_the_server_s_peace() -> None:
    """The wait that the server asked for is kept even where the policy has changed."""
    queue = schedule()
    queue.add(A1, 0)
    queue.take(0)
    queue.failed(A1, 0, at_least=9)
    queue.done(A1, 0)
    queue.renew(A1)
    queue.add(A1, 1)

    assert [] == drain(queue, 8.9)
    assert [A1] == drain(queue, 9)


def test_success_ends_the_backoff() -> None:
    """After a success, an event is answered at once and the next failure waits as short as the first."""
    queue = schedule()
    for _ in range(5):
        queue.failed(A1, 0)
    queue.succeeded(A1)
    queue.add(A1, 0)

    assert A1 == queue.take(0)
    assert 1 == queue.failed(A1, 0)


def test_a_forgotten_key_does_not_come_back() -> None:
    """Everything planned for a key that is no more is dropped; other keys stay."""
    queue = schedule()
    queue.add(A1, 0)
    queue.add_at(A1, 5)
    queue.failed(A2, 0)
    queue.forget(A1)
    queue.forget(A2)
    queue.add(B1, 0)

    assert [B1] == drain(queue, 1000)


class QueueMachine(RuleBasedStateMachine):
    """Add, plan, take, fail and give back in any order: nothing is lost, and nothing is worked on twice at once."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = schedule()
        self.now = 0.0
        self.working: set[PolicyKey] = set()
        self.owed: set[PolicyKey] = set()

    @rule(key=KEYS)
    def add(self, key: PolicyKey) -> None:
        """Ask for a key."""
        self.queue.add(key, self.now)
        self.owed.add(key)

    @rule(key=KEYS)
    def renew(self, key: PolicyKey) -> None:
        """Tell of a possible cure; by itself it asks for nothing."""
        self.queue.renew(key)

    @rule(key=KEYS, seconds=st.floats(0, 100))
    def plan(self, key: PolicyKey, seconds: float) -> None:
        """Ask for a key later."""
        self.queue.add_at(key, self.now + seconds)
        self.owed.add(key)

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @rule()
    def take(self) -> None:
        """Take a key."""
        key = self.queue.take(self.now)
        if key is not None:
            assert key not in self.working
            self.working.add(key)
            self.owed.discard(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), failed=st.booleans())
    def give_back(self, data: st.DataObject, *, failed: bool) -> None:
        """Give a key back after a success or a failure."""
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.working.discard(key)
        if failed:
            self.queue.failed(key, self.now)
            self.owed.add(key)
        else:
            self.queue.succeeded(key)
        self.queue.done(key, self.now)

    @invariant()
    def nothing_waits_twice(self) -> None:
        """No more keys wait than there are."""
        assert len(self.queue) <= 4

    def teardown(self) -> None:
        """Everything asked for comes once nothing is in work and enough time has passed."""
        for key in self.working:
            self.queue.done(key, self.now)
        assert self.owed <= set(drain(self.queue, self.now + 1000))


TestQueueMachine = QueueMachine.TestCase


def test_waiting_for_a_key() -> None:
    """A waiting worker gets a key as soon as it is added, and one planned for later when it is due."""

    async def scenario() -> list[PolicyKey]:
        queue: WorkQueue[PolicyKey] = WorkQueue(Backoff(first=0.01))
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add(A1)
        taken = [await waiting]
        queue.failed(A1)
        queue.done(A1)
        queue.add_after(A2, 0.001)
        taken += [await queue.get(), await queue.get()]
        queue.add(B1)
        queue.forget(B1)
        assert len(queue) == 0
        return taken

    async def bounded() -> list[PolicyKey]:
        async with asyncio.timeout(10):
            return await scenario()

    assert [A1, A2, A1] == asyncio.run(bounded())
