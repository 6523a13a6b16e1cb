"""Where a registration stands: the table, against the guide and against what cannot happen."""

from pathlib import Path

import pytest

from numcheck.errors import WrongState
from numcheck.registrations.states import FALLS_DUE, TRANSITIONS, EventKind, RegistrationState, after, allows
from numcheck.v1 import registration_pb2 as pb

GUIDE = Path(__file__).parents[2] / "docs/messengers.md"


def guide_table() -> dict[tuple[str, str], str]:
    rows = [line.strip("|\n").split("|") for line in GUIDE.read_text().splitlines() if line.startswith("| ")]
    heading, *table = [[cell.strip() for cell in row] for row in rows if len(row) == 15]
    return {(row[0], kind): to for row in table for kind, to in zip(heading[1:], row[1:], strict=True) if to}


def test_the_guide_draws_the_table_of_the_code() -> None:
    """Every transition and no other."""
    code = {(state.name if state else "nowhere yet", kind.value): to.name for (state, kind), to in TRANSITIONS.items()}
    assert guide_table() == code


@pytest.mark.parametrize("state", [None, *RegistrationState])
@pytest.mark.parametrize("kind", EventKind)
def test_what_the_table_does_not_have_cannot_happen(state: RegistrationState | None, kind: EventKind) -> None:
    if (state, kind) in TRANSITIONS:
        assert after(state, kind) is TRANSITIONS[state, kind]
    else:
        with pytest.raises(WrongState):
            after(state, kind)
        assert state is None or not allows(state, kind)


def test_nothing_leaves_deleted_and_everything_else_reaches_it() -> None:
    """Erasure is for good, and always possible."""
    assert not [one for one in TRANSITIONS if one[0] is RegistrationState.DELETED]
    for state in set(RegistrationState) - {RegistrationState.DELETED}:
        assert after(state, EventKind.DELETE) is RegistrationState.DELETED


def test_only_a_confirmation_makes_a_registration_verified() -> None:
    """And only what is PENDING or VERIFIED already falls due, or is imported (None)."""
    to_verified = {(state, kind) for (state, kind), to in TRANSITIONS.items() if to is RegistrationState.VERIFIED}
    assert {kind for state, kind in to_verified if state is not RegistrationState.VERIFIED} == {
        EventKind.CONFIRM,
        EventKind.CHANGE,
    }
    assert {state for state, kind in TRANSITIONS if kind is EventKind.MISS} == {*FALLS_DUE, None}


def test_the_values_are_the_apis() -> None:
    """The store's states and the event log's words are the enum values of registration.proto."""
    assert {f"REGISTRATION_STATE_{one.name}": one.value for one in RegistrationState} == {
        name: number for name, number in pb.RegistrationState.items() if number
    }
    kinds = {name.removeprefix("REGISTRATION_EVENT_KIND_").lower() for name, _ in pb.RegistrationEventKind.items()}
    assert kinds - {"unspecified"} == {kind.value for kind in EventKind}
