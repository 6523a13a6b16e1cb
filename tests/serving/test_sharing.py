"""Background work that nodes share: nodes of the test's own over one store, by clocks that the test moves."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from numcheck.errors import LeaseLost, StoreUnavailable
from numcheck.index import open_index
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.withdrawal import Withdrawals
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.serving.sharing import DEAD_AFTER_S, INTERVAL_S, TAKEN_OVER_WITHIN_S, TRUSTED_FOR_S, Duty, Sharing
from numcheck.store.leases import Leases, NodeReport
from tests.registrations.test_withdrawals import push
from tests.registrations.world import START, World, small

WORK = "withdrawals", "due times"
TURN_S = 0.25
NUMBERS = [79160000000 + place for place in range(10)]  # active numbers of MTS


class Clock:
    """Seconds, which the test moves."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


class Node:
    """A node: its leases, and the background work that it does under them when it is given a turn."""

    def __init__(self, world: World, leases: Leases, clock: Clock, name: str) -> None:
        self.clock, self.next_look_s, self.world = clock, clock.s, world
        self.index_version: int | None = None
        self.sharing = Sharing(
            leases,
            name,
            lambda: NodeReport("1.0", self.index_version),
            clock=clock,
            now=lambda: START + timedelta(seconds=clock.s),
        )
        self.duties = {one: self.sharing.duty(one) for one in WORK}
        under = {name: world.registrations.under(duty.lease) for name, duty in self.duties.items()}
        self.withdrawals = Withdrawals(under["withdrawals"], world.vault, now=lambda: world.now)
        self.calendar = Calendar(under["due times"])

    def turn(self) -> None:
        """Look, when it is time to, and do what there is to do."""
        if self.clock.s >= self.next_look_s:
            self.next_look_s = self.clock.s + self.sharing.look()
        if self.duties["withdrawals"].held:
            self.withdrawals.follow()
        if self.duties["due times"].held:
            self.calendar.pass_time(self.world.now)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(small.fill(tmp_path / "var"))
    yield one
    one.close()


@pytest.fixture
def leases(world: World) -> Leases:
    """Those of the store, as if others had it as well."""
    found = world.store.leases()
    found.shared = True
    return found


def holders(nodes: list[Node], work: str) -> list[Node]:
    return [one for one in nodes if one.duties[work].held]


def taken_over_after_s(nodes: list[Node], clock: Clock, work: str) -> float:
    """Seconds until one of the nodes has the work, each looking when it wants to."""
    began_s = clock.s
    while not holders(nodes, work):
        clock.s += TURN_S
        for one in nodes:
            one.turn()
        assert clock.s - began_s < 60
    return clock.s - began_s


def test_a_dead_nodes_work_goes_on_elsewhere_within_ten_seconds(world: World, leases: Leases) -> None:
    """Whenever it dies between two of its beats; and a node that believes in its lease is the only one."""
    for died_after_s in (0.0, 0.3, 0.6, 0.99):
        clock = Clock()
        first = Node(world, leases, clock, "first")
        second = Node(world, leases, clock, "second")
        first.turn()
        clock.s += 0.4
        second.index_version = 3
        second.turn()
        assert [one for name in WORK for one in holders([first, second], name)] == [first, first]
        told = [(one.node.name, one.is_this, one.node.index_version, one.work) for one in second.sharing.peers]
        assert told == [("first", False, None, sorted(WORK)), ("second", True, 3, [])]
        clock.s += died_after_s
        took_s = taken_over_after_s([second], clock, "due times")
        assert [(one.node.name, one.silent_s) for one in second.sharing.peers] == [("second", 0.0)]
        assert DEAD_AFTER_S - 1 <= took_s <= TAKEN_OVER_WITHIN_S
        assert holders([first, second], "due times") == [second]
        second.sharing.stop()


def test_a_node_that_stops_gives_its_work_back_at_once(world: World, leases: Leases) -> None:
    clock = Clock()
    first, second = (Node(world, leases, clock, name) for name in ("first", "second"))
    first.turn()
    second.turn()
    first.sharing.stop()
    assert taken_over_after_s([second], clock, "withdrawals") <= INTERVAL_S
    assert first.sharing.held == dict.fromkeys(WORK, False)
    assert second.sharing.held == dict.fromkeys(WORK, True)


def test_whoever_takes_over_is_woken(world: World, leases: Leases) -> None:
    woken = []
    node = Node(world, leases, Clock(), "one")
    node.duties["due times"].on_taken = lambda: woken.append(node.duties["due times"].held)
    node.sharing.look()
    node.sharing.look()
    assert woken == [True]


def test_a_node_without_its_store_soon_believes_in_no_lease(world: World, leases: Leases) -> None:
    """Before others may have it; and once the store answers again, it goes on, and others do not take over."""
    clock = Clock()
    first, second = (Node(world, leases, clock, name) for name in ("first", "second"))
    first.turn()
    second.turn()
    clock.s += TRUSTED_FOR_S - 0.01
    assert first.duties["due times"].held
    clock.s += 0.02  # nobody was able to look
    assert not first.duties["due times"].held
    with pytest.raises(LeaseLost):
        first.duties["due times"].lease()
    clock.s += 60
    second.turn()
    assert not holders([first, second], "due times")
    first.turn()
    second.turn()
    assert holders([first, second], "due times") == [first]


def test_a_node_that_was_stopped_for_long_writes_nothing_any_more(world: World, leases: Leases) -> None:
    """As one that a debugger held, in the middle of its work: its clock stood still as well."""
    clock, own_clock = Clock(), Clock()
    stopped, other = Node(world, leases, own_clock, "stopped"), Node(world, leases, clock, "other")
    stopped.turn()
    other.turn()
    world.register(small.ACTIVE)
    taken_over_after_s([other], clock, "due times")
    assert stopped.duties["due times"].held
    world.now = START + timedelta(days=400)
    with pytest.raises(LeaseLost):
        stopped.calendar.pass_time(world.now)
    assert world.kinds()[2:] == []
    other.turn()
    assert world.kinds()[2:] == ["overdue"]


def test_a_node_that_has_its_store_alone_takes_all_at_once_and_beats_once(world: World) -> None:
    """Also after another that was killed: nobody else can have the file."""
    clock = Clock()
    alone = world.store.leases()
    assert not alone.shared
    killed = Node(world, alone, clock, "killed")
    killed.turn()
    next_one = Node(world, alone, clock, "next")
    assert next_one.sharing.look() > 60
    assert next_one.sharing.held == dict.fromkeys(WORK, True)
    clock.s += 10_000
    assert next_one.sharing.held == dict.fromkeys(WORK, True)
    seen = alone.look()
    assert [one.name for one in seen.nodes.values()] == ["next"]
    assert {one.term for one in seen.leases.values()} == {2}


class Campaign:
    """Nodes that are killed, stopped and begun at random, amid work that has to be done once."""

    def __init__(self, world: World, leases: Leases, seed: int) -> None:
        self.world, self.leases, self.clock, self.chance = world, leases, Clock(), random.Random(seed)
        self.names, self.nodes, self.stopped = iter(range(1_000_000)), list[Node](), list[Node]()
        self.idle_since_s = dict.fromkeys(WORK, self.clock.s)
        self.longest_idle_s = 0.0
        self.users = self.revoked = 0

    def begin(self) -> None:
        self.nodes.append(Node(self.world, self.leases, self.clock, f"node {next(self.names)}"))

    def kill(self) -> None:
        if len(self.nodes) > 1:
            self.nodes.pop(self.chance.randrange(len(self.nodes)))

    def stop(self) -> None:
        """Stop one for a while: it will go on as if nothing had been, with a clock that stood still."""
        if len(self.nodes) > 1:
            one = self.nodes.pop(self.chance.randrange(len(self.nodes)))
            frozen = Clock()
            frozen.s = self.clock.s
            for duty in one.duties.values():
                duty._clock = frozen
            self.stopped.append(one)

    def go_on(self) -> None:
        """Let one that was stopped finish what it was about to do; then its own clock tells it what has happened."""
        if self.stopped:
            one = self.stopped.pop()
            for run in (one.withdrawals.follow, lambda: one.calendar.pass_time(self.world.now)):
                with suppress(LeaseLost):
                    run()
            for duty in one.duties.values():
                duty._clock = self.clock
            self.nodes.append(one)

    def register(self) -> None:
        self.users += 1
        self.world.register(self.chance.choice(NUMBERS), f"u{self.users}")

    def withdraw(self) -> None:
        """Take a number from its operator, and give it back."""
        taken = self.chance.choice(NUMBERS)
        push(self.world, remove=[taken])
        push(self.world, add=[taken])
        rebuild_index(self.world.store, self.world.data_dir)
        self.world.index = open_index(index_directory(self.world.data_dir))

    def let_time_pass(self) -> None:
        self.world.now += timedelta(days=120)

    def run(self, steps: int) -> None:
        acts: dict[Callable[[], None], int] = {
            self.begin: 2,
            self.kill: 2,
            self.stop: 1,
            self.go_on: 1,
            self.register: 3,
            self.withdraw: 1,
            self.let_time_pass: 2,
        }
        for _ in range(2):
            self.begin()
        for _ in range(steps):
            if self.chance.random() < 0.2:
                self.chance.choices(list(acts), list(acts.values()))[0]()
            self.clock.s += TURN_S
            for one in self.nodes:
                one.turn()
            self.check()

    def check(self) -> None:
        for work in WORK:
            found = holders(self.nodes, work)
            assert len(found) <= 1, work
            if found:
                self.longest_idle_s = max(self.longest_idle_s, self.clock.s - self.idle_since_s[work])
                self.idle_since_s[work] = self.clock.s

    def settle(self) -> None:
        """Let nobody die any more, until all is done."""
        while self.stopped:
            self.go_on()
        for _ in range(round(TAKEN_OVER_WITHIN_S / TURN_S)):
            self.clock.s += TURN_S
            for one in self.nodes:
                one.turn()


@pytest.mark.parametrize("seed", range(2))
def test_no_work_is_lost_or_done_twice_whichever_nodes_die(world: World, leases: Leases, seed: int) -> None:
    """Of each registration what is to happen happens once; and never is a piece of work nobody's for ten seconds."""
    campaign = Campaign(world, leases, seed)
    campaign.run(240)
    campaign.settle()
    assert campaign.longest_idle_s <= TAKEN_OVER_WITHIN_S
    by_user = Counter((event.registration_id, event.kind) for event in world.store.events().all() if event.service)
    assert campaign.users > 5
    assert {kind for _, kind in by_user} >= {"withdrawn", "due", "overdue"}
    repeated = {kind for (_, kind), count in by_user.items() if count > 1}
    assert repeated == set()
    assert not world.registrations.are_withdrawals_waiting()


def test_a_store_that_does_not_answer_keeps_no_node_from_stopping(
    world: World, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(world, leases, Clock(), "one")
    node.turn()

    def leave(_node_id: str) -> None:
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(leases, "leave", leave)
    node.sharing.stop()
    assert node.sharing.held == dict.fromkeys(WORK, False)


def test_a_duty_is_nobodys_before_it_is_taken() -> None:
    assert not Duty("work", Clock()).held
