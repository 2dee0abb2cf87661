"""The elector: who leads in every situation, and that never two may write, whatever networks and processes do."""

from __future__ import annotations

import asyncio
import logging
import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from aigateway.cluster.leader import Alone, Timing, new_identity, steady
from tests.unit.cluster.electors import Network, Simulation


def play(script: str) -> Simulation:
    """Run a script: commands of the simulation, separated by commas."""
    simulation = Simulation()
    for command in script.split(", "):
        verb, *words = command.split()
        getattr(simulation, verb)(*words)
    return simulation


TWO = "start a, start b, wait 30, "


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("start a", ["a"], id="the first leads at once"),
        pytest.param("start a, start b, wait 100", ["a"], id="the second stands by"),
        pytest.param("record nobody 1, start a", ["a"], id="a released Lease is taken at once"),
        pytest.param("record nobody 15, start a, wait 14", [], id="an emptied one is not"),
        pytest.param("record ghost, start a, wait 14", [], id="whoever holds it gets the time to renew"),
        pytest.param("record ghost, start a, wait 15", ["a"], id="times in the Lease are not believed"),
        pytest.param("record ghost 60, start a, wait 59", [], id="a longer promise is honoured"),
        pytest.param("record ghost 60, start a, wait 60", ["a"], id="and ends"),
        pytest.param(TWO + "kill a, wait 12", [], id="killed, not expired yet"),
        pytest.param(TWO + "kill a, wait 17.5", ["b"], id="killed and replaced"),
        pytest.param(TWO + "pause a, wait 9.5", ["a"], id="frozen within its deadline"),
        pytest.param(TWO + "pause a, wait 10", [], id="frozen beyond it"),
        pytest.param(TWO + "pause a, wait 17.5", ["b"], id="frozen and replaced"),
        pytest.param(TWO + "pause a, wait 17.5, resume a, wait 60", ["b"], id="frozen, replaced and awake"),
        pytest.param(TWO + "pause a, wait 5, resume a, wait 60", ["a"], id="frozen for a short while"),
        pytest.param(TWO + "pause a, wait 11, resume a", [], id="awake after its deadline, before it is replaced"),
        pytest.param(
            TWO + "set a held, wait 2, pause a, deliver, wait 17.5, resume a",
            ["b"],
            id="woken with an old answer",
        ),
        pytest.param(TWO + "set a held, wait 17.5", ["b"], id="cut off and replaced"),
        pytest.param(TWO + "set a held, wait 5, set a prompt, wait 60", ["a"], id="cut off for a short while"),
        pytest.param(TWO + "set a deaf, wait 5, set a prompt, wait 60", ["a"], id="unconfirmed renewals of its own"),
        pytest.param(TWO + "set a deaf, wait 25", ["b"], id="renewals that are never confirmed do not count"),
        pytest.param(TWO + "stop a, wait 2", ["b"], id="released"),
        pytest.param(TWO + "stop b, wait 60", ["a"], id="a standby that goes"),
        pytest.param(TWO + "delete, wait 60", ["a"], id="deleted by hand: its holder writes it again"),
        pytest.param(TWO + "set a held, delete, wait 12", [], id="deleted while its holder is cut off: no hurry"),
        pytest.param(TWO + "set a held, delete, wait 17.5", ["b"], id="and in the end replaced"),
        pytest.param(TWO + "record nobody, wait 60", ["a"], id="emptied by hand"),
        pytest.param(TWO + "record c, wait 5", [], id="given to another by hand"),
        pytest.param("start a, set a deaf, kill a, start b, wait 17.5", ["b"], id="took it and never knew"),
        pytest.param("start a, start b, start c, wait 9, kill a, wait 17.5, kill b, kill c", [], id="all gone"),
    ],
)
def test_who_may_write(script: str, expected: list[str]) -> None:
    """In every situation one replica writes, or for a bounded time none."""
    assert expected == play(script).writers()


def test_an_unconfirmed_claim_is_confirmed_later() -> None:
    """An elector that took the Lease without hearing of it does not write until it has."""
    simulation = play("record nobody 1, start a, kill a, start b, wait 14.5, set b deaf, wait 1")
    assert [] == simulation.writers()

    simulation.set("b", "prompt")
    simulation.wait(10)
    assert ["b"] == simulation.writers()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(TWO + "pause a, wait 20, resume a", "the Lease was not renewed for 10 s", id="woken"),
        pytest.param(TWO + "set a held, wait 10", "the Lease was not renewed for 10 s", id="cut off"),
        pytest.param(TWO + "record c, wait 5", "c leads now", id="given to another"),
    ],
)
def test_why_the_lead_is_lost(script: str, expected: str) -> None:
    """Who loses the lead ends, and says why."""
    assert expected == play(script).actors["a"].ended


def test_handing_over_counts() -> None:
    """The Lease counts how often it changed hands, and a renewal keeps the time when it was taken."""
    simulation = play("start a, wait 10")
    assert simulation.lease is not None
    taken = simulation.lease["spec"]["acquireTime"]
    simulation.stop("a")
    simulation.start("b")
    simulation.wait(10)

    spec = simulation.lease["spec"]
    assert ("b", 15, 1) == (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"])
    assert 1 == simulation.actors["b"].elector.transitions
    assert taken < spec["acquireTime"] < spec["renewTime"]


def test_a_standby_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Who stands by says so once, and a fault once."""
    caplog.set_level(logging.INFO)
    play("start a, start b, wait 60, set b held, wait 60")

    said = [record.message for record in caplog.records if "stand" in record.message or "taken" in record.message]
    assert 2 == len(said)


@pytest.mark.parametrize("network", [pytest.param(item, id=item) for item in (Network.DEAF, Network.HELD)])
@pytest.mark.parametrize("eighths", [pytest.param(count, id=f"{count / 8} s after a renewal") for count in (0, 7, 15)])
def test_another_goes_on_in_time(network: Network, eighths: int) -> None:
    """Whenever the leader falls silent, another leads within the duration and one pause between tries."""
    simulation = play(TWO + f"wait {eighths / 8}, set a {network}, kill a, wait 17")

    assert ["b"] == simulation.writers()


def test_alone() -> None:
    """Without other replicas the lead is there at once and ends with the release only."""

    async def scenario() -> tuple[float, float]:
        alone = Alone()
        await alone.take()
        before = alone.left()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(alone.hold(), 0.01)
        await alone.release()
        return before, alone.left()

    assert (math.inf, -math.inf) == asyncio.run(scenario())


def test_names_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name begins with the host and is never used twice; a request leaves a renewal time for another."""
    monkeypatch.setenv("HOSTNAME", "operator-0")
    first, second = new_identity(), new_identity()

    assert first != second
    assert ["operator-0", "operator-0"] == [first.partition("_")[0], second.partition("_")[0]]
    assert Timing().retry + 2 * Timing().request < Timing().renew_deadline
    assert steady() <= steady()


EIGHTHS = st.integers(0, 240).map(lambda count: count / 8)
NAMES = st.integers(0, 9)


class Replicas(RuleBasedStateMachine):
    """Three electors, whose processes and networks do anything; the simulation holds that never two may write."""

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation()
        self.count = 0

    @initialize()
    def start_three(self) -> None:
        """Start with three."""
        for _ in range(3):
            self.start()

    def teardown(self) -> None:
        """End every process."""
        self.simulation.close()

    def alive(self) -> list[str]:
        """Return the names of those that have not ended."""
        return [name for name, actor in self.simulation.actors.items() if not actor.ended]

    def start(self) -> None:
        """Start one under a name that was never used."""
        self.count += 1
        self.simulation.start(f"r{self.count}")

    def one(self, number: int) -> str:
        """Pick one that lives."""
        names = self.alive()
        return names[number % len(names)]

    @precondition(lambda self: len(self.alive()) < 3 and self.simulation.lease is not None)
    @rule()
    def replace_one(self) -> None:
        """A pod starts in place of one that has ended."""
        self.start()

    @precondition(lambda self: self.alive())
    @rule(number=NAMES, network=st.sampled_from(Network))
    def bend(self, number: int, network: Network) -> None:
        """A network breaks or heals."""
        self.simulation.set(self.one(number), network)

    @precondition(lambda self: self.alive())
    @rule(number=NAMES, seconds=EIGHTHS)
    def freeze(self, number: int, seconds: float) -> None:
        """A process stands still for a while."""
        name = self.one(number)
        self.simulation.pause(name)
        self.simulation.wait(seconds)
        self.simulation.resume(name)

    @precondition(lambda self: self.alive())
    @rule(number=NAMES, seconds=EIGHTHS)
    def freeze_before_the_answer(self, number: int, seconds: float) -> None:
        """A process stands still while a request of its is under way, and reads the answer when it is woken."""
        name, held = self.one(number), len(self.simulation.held)
        self.simulation.set(name, Network.HELD)
        self.simulation.wait(2)
        self.simulation.pause(name)
        for _ in self.simulation.held[held:]:
            self.simulation.deliver(held)
        self.simulation.set(name, Network.PROMPT)
        self.simulation.wait(seconds)
        self.simulation.resume(name)

    @precondition(lambda self: self.alive())
    @rule(number=NAMES)
    def stand_still(self, number: int) -> None:
        """A process stands still, or is woken again; other things happen in between."""
        actor = self.simulation.actors[self.one(number)]
        (self.simulation.resume if actor.paused else self.simulation.pause)(actor.name)

    @precondition(lambda self: len(self.alive()) > 1)
    @rule(number=NAMES, gracefully=st.booleans())
    def end(self, number: int, gracefully: bool) -> None:
        """A process is killed or stopped."""
        (self.simulation.stop if gracefully else self.simulation.kill)(self.one(number))

    @precondition(lambda self: self.simulation.held)
    @rule(number=NAMES)
    def arrive(self, number: int) -> None:
        """A request arrives, perhaps long after it was sent, in any order."""
        self.simulation.deliver(number % len(self.simulation.held))

    @rule()
    def empty(self) -> None:
        """A human empties the Lease."""
        self.simulation.record("nobody")

    def everyone_knows_the_holder(self) -> bool:
        """Return whether all that live have seen who holds the Lease."""
        seen = [self.simulation.actors[name].elector._seen for name in self.alive()]
        return {self.simulation.holder()} == {record.holder if record else "" for record in seen}

    @precondition(everyone_knows_the_holder)
    @rule()
    def delete(self) -> None:
        """A human deletes the Lease, not right after a takeover; nobody new starts before it is there again."""
        self.simulation.delete()

    @rule(seconds=EIGHTHS)
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.simulation.wait(seconds)


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(stateful_step_count=30)
