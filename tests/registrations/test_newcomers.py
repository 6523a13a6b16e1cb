"""New users who come together: each is recorded as if they had come alone, whoever else is in the transaction."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numcheck.errors import IndexBehind, NumberNotAllotted, NumberNotMobile, RegistrationExists
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.registration import Outcome, VerificationState
from numcheck.registrations.states import RegistrationState as State
from numcheck.steps import Steps, Together, advanced, outcomes_of
from numcheck.store import RegistrationWork
from tests.registrations.edited import Edited
from tests.registrations.world import ADDRESS, SERVICE, World, small

STATES = {small.ACTIVE: State.VERIFIED, small.INACTIVE: State.REJECTED, small.UNKNOWN: State.PENDING}
"""Where a user with a number stands by the policy `operator,inbound`."""
REFUSALS = {small.UNALLOCATED: NumberNotAllotted, small.NOT_MOBILE: NumberNotMobile}
KINDS = {
    State.VERIFIED: ["registered", "confirmed"],
    State.REJECTED: ["registered", "denied"],
    State.PENDING: ["registered", "started"],
}


class Asked(NamedTuple):
    """A request to record a user."""

    service: str
    user: str
    request_id: str
    number: int
    name: str


ASKED = st.builds(
    Asked,
    st.sampled_from([SERVICE, "other"]),
    st.sampled_from(["anna", "boris", "vera"]),
    st.sampled_from(["", "r1", "r2"]),
    st.sampled_from([*STATES, *REFUSALS]),
    st.sampled_from(["Иванова", "Петров"]),
)
EXAMPLES = count()


def record_of(asked: Asked, example: int) -> Record:
    address = NetworkAddress("203.0.113.7", 1 + example % 60_000)
    return Record(f"{asked.user}-{example}", asked.number, {"login": asked.user}, address, {"name": asked.name})


def together(calls: Sequence[Steps[Outcome]]) -> list[Outcome | Exception]:
    """Take each step of all calls at once; what each call comes to."""
    going_on: list[tuple[int, Any]] = [(place, None) for place in range(len(calls))]
    ended: dict[int, Outcome | Exception] = {}
    while going_on:
        waiting: list[tuple[int, Together]] = []
        for place, outcome in going_on:
            try:
                step = advanced(calls[place], outcome)
                assert isinstance(step, Together)
                waiting.append((place, step))
            except StopIteration as end:
                ended[place] = end.value
            except Exception as error:
                ended[place] = error
        assert len({step.run for _, step in waiting}) <= 1, "all calls take the same step"
        outcomes = outcomes_of(waiting[0][1].run, [step.argument for _, step in waiting]) if waiting else []
        going_on = [(place, outcome) for (place, _), outcome in zip(waiting, outcomes, strict=True)]
    return [ended[place] for place in range(len(calls))]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(small.fill(tmp_path_factory.mktemp("newcomers") / "var"), methods="operator,inbound")
    yield world
    world.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some=st.lists(ASKED, min_size=1, max_size=12))
def test_each_of_many_comes_to_what_a_dictionary_of_users_says(shared: World, some: list[Asked]) -> None:
    """I.1, I.2a: the first request of a user that can be met makes the registration; the others repeat it, word for
    word, or are refused. What is read is what each has said."""
    example, users, before = next(EXAMPLES), dict[tuple[str, str], Asked](), len(shared.kinds())
    rules = shared.rules_of_registrations
    outcomes = together([rules.register(one.service, one.request_id, record_of(one, example)) for one in some])
    for asked, outcome in zip(some, outcomes, strict=True):
        made = users.get((asked.service, asked.user))
        if made is None and asked.number in REFUSALS:
            assert isinstance(outcome, REFUSALS[asked.number])
        elif made is not None and (made != asked or not asked.request_id):
            assert isinstance(outcome, RegistrationExists)
        else:
            users[asked.service, asked.user] = asked
            assert isinstance(outcome, Outcome)
            assert outcome.registration.record == record_of(asked, example)
            assert outcome.registration.state is STATES[asked.number]
            assert outcome.verification is not None
            waits = outcome.verification.state == VerificationState.WAITING
            assert waits == (asked.number == small.UNKNOWN)
    for asked in users.values():
        read = shared.registrar.get(asked.service, f"{asked.user}-{example}")
        assert (read.record, read.state) == (record_of(asked, example), STATES[asked.number])
    wanted = sorted(kind for asked in users.values() for kind in KINDS[STATES[asked.number]])
    assert sorted(shared.kinds()[before:]) == wanted


def test_what_came_together_is_bound_to_the_chain_as_what_came_alone(data_dir: Path) -> None:
    """R13: rows, events and head are those that an audit expects."""
    world = World(data_dir, methods="operator,inbound")
    numbers = [small.ACTIVE, small.INACTIVE, small.UNKNOWN, small.ACTIVE, small.UNALLOCATED]
    some = [Asked(SERVICE, f"u{place}", "r1", number, "Иванова") for place, number in enumerate(numbers)]
    outcomes = together([world.rules_of_registrations.register(SERVICE, "r1", record_of(one, 0)) for one in some])
    assert [isinstance(one, Outcome) for one in outcomes] == [True, True, True, True, False]
    kinds = [kind for number in numbers if number in STATES for kind in KINDS[STATES[number]]]
    assert world.kinds() == kinds
    world.close()
    edited = Edited(data_dir, None)
    assert edited.problem() == ""
    edited.close()


def test_user_whose_number_was_taken_since_harms_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """R16: who rests on older data than what has revoked registrations is told so, and tries again."""
    taken = small.ACTIVE
    monkeypatch.setattr(
        RegistrationWork, "withdrawn_since", lambda _work, number, revision: revision + 1 if number == taken else 0
    )
    numbers = [small.INACTIVE, taken, small.INACTIVE]
    records = [Record(f"u{place}", number, {}, ADDRESS, {"name": "x"}) for place, number in enumerate(numbers)]
    first, behind, last = together([world.rules_of_registrations.register(SERVICE, "", one) for one in records])
    assert isinstance(behind, IndexBehind)
    assert [one.registration.state for one in (first, last) if isinstance(one, Outcome)] == [State.REJECTED] * 2
    assert world.kinds() == [*KINDS[State.REJECTED]] * 2
