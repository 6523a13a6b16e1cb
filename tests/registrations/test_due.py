"""I.6 and R15: due times, by clocks that the tests move: reminded once, overdue once, never early."""

import random
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from numcheck.moments import moment
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.due import SteadyClock
from numcheck.registrations.policy import Policy
from numcheck.registrations.registrar import Filters
from numcheck.registrations.registration import apply, store_changes
from numcheck.registrations.states import EventKind
from numcheck.registrations.states import RegistrationState as State
from tests.registrations.by_code import complete, last_code
from tests.registrations.world import ADDRESS, SERVICE, START, World, small

YEAR, MONTH = timedelta(days=365), timedelta(days=30)
TICK = timedelta(microseconds=1)


def state(world: World, user_id: str = "u1") -> State:
    return world.registrar.get(SERVICE, user_id).state


def due_at(world: World, user_id: str = "u1") -> datetime:
    return moment(world.registrar.get(SERVICE, user_id).row.due_at_us)


def test_a_year_passes_with_one_reminder_and_one_overdue_each_at_its_microsecond(world: World) -> None:
    """I.6: 30 days before, and 365 days after the registration."""
    world.register(small.ACTIVE)
    calendar = Calendar(world.registrations)
    for now, kinds in (
        (START + YEAR - MONTH - TICK, []),
        (START + YEAR - MONTH, ["due"]),
        (START + YEAR - TICK, ["due"]),
        (START + YEAR, ["due", "overdue"]),
        (START + 5 * YEAR, ["due", "overdue"]),
    ):
        calendar.pass_time(now)
        assert world.kinds()[2:] == kinds
    assert state(world) is State.OVERDUE


def test_registrations_that_are_due_soon_are_counted_and_those_overdue_are_not(world: World) -> None:
    """For /metrics and the page: within 1, 7 and 30 days, each to the microsecond."""
    world.register(small.ACTIVE)
    calendar = Calendar(world.registrations)

    def counted(now: datetime) -> list[int]:
        calendar.pass_time(now)
        return list(world.store.survey(now=now, events_after=None).due_counts.values())

    assert counted(START) == [0, 0, 0]
    for days, before, after in ((30, [0, 0, 0], [0, 0, 1]), (7, [0, 0, 1], [0, 1, 1]), (1, [0, 1, 1], [1, 1, 1])):
        assert counted(START + YEAR - timedelta(days=days)) == before
        assert counted(START + YEAR - timedelta(days=days) + TICK) == after
    assert counted(START + YEAR) == [0, 0, 0]


def test_a_refresh_that_is_confirmed_moves_the_due_time_and_ends_overdue(data_dir: Path) -> None:
    """I.6: a year from the refresh; everything then happens again, once."""
    world = World(data_dir, policy={"data_age_max": None})
    world.register(small.ACTIVE)
    calendar = Calendar(world.registrations)
    calendar.pass_time(START + YEAR)
    world.now = START + YEAR + timedelta(days=3)
    world.registrar.refresh(SERVICE, "u1", ADDRESS, {"name": "Иванова"})
    assert (state(world), due_at(world)) == (State.VERIFIED, world.now + YEAR)
    calendar.pass_time(world.now + YEAR)
    assert world.kinds().count("overdue") == 2
    assert world.registrar.get(SERVICE, "u1").record.registration_data == {"name": "Иванова"}
    world.close()


def test_a_refresh_alone_gives_a_verified_user_no_new_due_time(data_dir: Path) -> None:
    """I.6: until its verification has confirmed the number, the old due time holds; a later confirmation earns it."""
    world = World(data_dir, methods="code")
    outcome = world.register(small.UNKNOWN)
    assert complete(world, outcome, last_code(world))
    world.pass_time(days=300)
    outcome = world.registrar.refresh(SERVICE, "u1", ADDRESS, {"name": "Иванова"})
    assert (state(world), due_at(world)) == (State.VERIFIED, START + YEAR)
    assert complete(world, outcome, last_code(world))
    assert due_at(world) == START + timedelta(days=300) + YEAR
    Calendar(world.registrations).pass_time(START + YEAR)
    assert state(world) is State.VERIFIED
    world.close()


def test_no_policy_is_longer_than_the_laws_year() -> None:
    """I.6: 365 days and no more."""
    assert Policy((), None, refresh_after=YEAR).refresh_after == YEAR
    for span in (YEAR + TICK, timedelta(0)):
        with pytest.raises(ValueError, match="365"):
            Policy((), None, refresh_after=span)


def test_a_shorter_policy_falls_due_sooner_and_is_listed(data_dir: Path) -> None:
    world = World(data_dir, policy={"data_age_max": YEAR, "refresh_after": timedelta(days=90)})
    world.register(small.ACTIVE)
    assert due_at(world) == START + timedelta(days=90)
    due = Filters(due_before=START + timedelta(days=90) + TICK)
    assert len(world.registrar.page(SERVICE, due, size=10, place=None).registrations) == 1
    world.close()


def test_only_who_may_use_the_messenger_or_might_soon_falls_due(world: World) -> None:
    """REJECTED stays REJECTED, and an erased user is left alone."""
    world.register(small.INACTIVE, "rejected")
    world.register(small.ACTIVE, "erased")
    world.register(small.UNKNOWN, "pending")
    world.registrar.delete(SERVICE, "erased")
    Calendar(world.registrations).pass_time(START + 2 * YEAR)
    assert state(world, "rejected") is State.REJECTED
    assert state(world, "pending") is State.OVERDUE
    assert world.kinds().count("overdue") == 1


def test_many_that_fall_due_at_once_are_done_in_pieces_and_none_twice(world: World) -> None:
    for place in range(250):
        world.register(small.ACTIVE, f"u{place}")
    assert Calendar(world.registrations).pass_time(START + 2 * YEAR) == 250
    assert Calendar(world.registrations).pass_time(START + 2 * YEAR) == 0
    assert world.kinds().count("overdue") == 250


def test_no_due_time_is_reminded_of_twice_whatever_happens_in_between(world: World) -> None:
    """I.6: withdrawn and verified anew after the reminder, and long after it; a new due time has its own."""
    world.register(small.ACTIVE)
    calendar = Calendar(world.registrations)
    world.now = START + YEAR - MONTH
    calendar.pass_time(world.now)
    row = world.registrar.get(SERVICE, "u1").row
    world.registrations.write(
        lambda work: store_changes(work, row, apply(work, row, EventKind.WITHDRAW, row.due_at_us, changes={}))
    )
    assert state(world) is State.REVOKED
    calendar.pass_time(world.now + timedelta(days=1))
    world.registrar.verify(SERVICE, "u1", method=None, network_address=None)
    calendar.pass_time(world.now + timedelta(days=1))
    assert world.kinds().count("due") == 1
    world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"})
    calendar.pass_time(due_at(world) - TICK)
    assert world.kinds().count("due") == 2
    calendar.pass_time(START + 3 * YEAR)
    assert [world.kinds().count(kind) for kind in ("due", "overdue")] == [2, 1]


# --- the clock


def test_the_clock_follows_a_machine_that_keeps_time() -> None:
    clock = SteadyClock()
    for second in (0, 1, 2, 86_400, 10**8):
        assert clock.tell(START + timedelta(seconds=second), second) == START + timedelta(seconds=second)


def test_the_clock_never_goes_back_and_stands_still_meanwhile() -> None:
    clock = SteadyClock()
    clock.tell(START, 0)
    assert clock.tell(START - timedelta(days=1), 1) == START
    assert clock.tell(START - timedelta(days=1) + timedelta(hours=23), 82_801) == START
    assert clock.tell(START + timedelta(seconds=5), 86_405) == START + timedelta(seconds=5)


def test_a_step_forward_is_believed_only_after_it_has_stood_for_an_hour() -> None:
    """R15: until then time runs on as it did; a step that is taken back never was."""
    clock, step = SteadyClock(), timedelta(days=400)
    clock.tell(START, 0)
    for second in range(60, 3_660, 60):
        passed = timedelta(seconds=second)
        assert clock.tell(START + passed + step, second) == START + passed
    assert clock.tell(START + timedelta(seconds=3_661) + step, 3_661) == START + timedelta(seconds=3_661) + step
    clock = SteadyClock()
    clock.tell(START, 0)
    assert clock.tell(START + step, 1) == START + timedelta(seconds=1)
    assert clock.tell(START + timedelta(seconds=3_700), 3_700) == START + timedelta(seconds=3_700)


def test_a_clock_that_jumps_about_is_never_believed() -> None:
    """An hour of steps is not an hour that stood."""
    clock = SteadyClock()
    clock.tell(START, 0)
    for second in range(60, 100_000, 60):
        wild = START + timedelta(seconds=second, days=random.Random(second).randrange(1, 900))
        assert clock.tell(wild, second) <= START + timedelta(seconds=second + 30)


@pytest.mark.parametrize("off", [timedelta(days=400), timedelta(days=-900)])
def test_a_due_time_is_a_year_from_the_true_time_whatever_the_clock_says(data_dir: Path, off: timedelta) -> None:
    """I.6, R15: registered and refreshed while the clock is wrong: at most 365 days away, and never overdue early."""
    clock, ran_from = SteadyClock(), START
    true = START

    def steady(wall: datetime) -> datetime:
        return clock.tell(wall, (true - ran_from).total_seconds())

    world = World(data_dir, policy={"data_age_max": None}, steady=steady)
    steady(START)
    world.register(small.ACTIVE, "before")
    true += timedelta(minutes=10)
    world.now = true + off
    world.register(small.ACTIVE, "u1")
    world.registrar.refresh(SERVICE, "before", ADDRESS, {"a": "b"})
    for user_id in ("u1", "before"):
        due = due_at(world, user_id)
        assert true + YEAR - timedelta(minutes=10) <= due <= true + YEAR
    Calendar(world.registrations).pass_time(steady(true + off))
    assert state(world) is State.VERIFIED
    world.close()


def test_a_restart_does_not_believe_a_step_either(world: World) -> None:
    """R15: what was trusted is kept in the store; a process that starts with a wrong clock doubts it."""
    world.register(small.ACTIVE)
    Calendar(world.registrations).pass_time(START)
    trusted_us = world.registrations.trusted_time()
    assert trusted_us is not None
    clock = SteadyClock(moment(trusted_us))
    Calendar(world.registrations).pass_time(clock.tell(START + 2 * YEAR, 0.0))
    assert state(world) is State.VERIFIED


class Decade:
    """Ten years of users who refresh when they like, under a clock that is set wrong and right again."""

    def __init__(self, world: World, seed: int, user_count: int = 4) -> None:
        self.world, self.chance = world, random.Random(seed)
        self.true, self.off, self.off_until = START, timedelta(0), START
        self.users = [f"u{place}" for place in range(user_count)]
        for user_id in self.users:
            world.register(small.ACTIVE, user_id)
        self.refreshed = dict.fromkeys(self.users, START)
        self.wanted = {user_id: START + self.some_days() for user_id in self.users}
        self.overdue_count = 0
        self.start_process()

    def some_days(self) -> timedelta:
        return timedelta(days=self.chance.randrange(300, 420))

    def start_process(self) -> None:
        trusted_us = self.world.registrations.trusted_time()
        self.clock = SteadyClock(None if trusted_us is None else moment(trusted_us))
        self.calendar, self.ran_from = Calendar(self.world.registrations), self.true

    def step(self) -> None:
        self.true += timedelta(hours=self.chance.randrange(20, 120), seconds=self.chance.randrange(3_600))
        if self.true >= self.off_until:
            self.off = timedelta(0)
        if self.chance.random() < 0.03:
            self.off = timedelta(days=self.chance.randrange(-900, 900))
            self.off_until = self.true + timedelta(minutes=50)
        if self.chance.random() < 0.02:
            self.start_process()
        before = {user_id: state(self.world, user_id) for user_id in self.users}
        ran_s = (self.true - self.ran_from).total_seconds()
        self.calendar.pass_time(self.clock.tell(self.true + self.off, ran_s))
        for user_id in self.users:
            self.look(user_id, before[user_id])

    def look(self, user_id: str, before: State) -> None:
        due = self.refreshed[user_id] + YEAR
        if state(self.world, user_id) is State.OVERDUE:
            assert self.true >= due - timedelta(minutes=1)
            self.overdue_count += before is not State.OVERDUE
        else:  # late by no more than it takes to look at the clock again, twice, and to believe it
            assert self.true < due + timedelta(hours=3 * 121)
        if self.true >= self.wanted[user_id]:
            self.world.now = self.true
            self.world.registrar.refresh(SERVICE, user_id, ADDRESS, {"a": "b"})
            self.refreshed[user_id], self.wanted[user_id] = self.true, self.true + self.some_days()


def test_ten_years_with_jumps_each_due_time_is_met_once_and_never_early(data_dir: Path) -> None:
    """R15: with restarts; every overdue is an event, once."""
    decade = Decade(World(data_dir, policy={"data_age_max": None}), seed=0)
    while decade.true < START + 10 * YEAR:
        decade.step()
    assert decade.world.kinds().count("overdue") == decade.overdue_count > 5
    decade.world.close()
