"""A registration as its service sees it, and the one way in which it moves: a transition, with its event."""

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from numcheck.identity.due import next_at
from numcheck.identity.evidence import Evidence
from numcheck.identity.policy import Method
from numcheck.identity.record import Record
from numcheck.identity.states import FALLS_DUE, Act, RegistrationState, after
from numcheck.store import RegistrationRow, RegistrationWork, columns_of
from numcheck.store.moments import microseconds, moment


class VerificationState:
    """Where a verification stands; the values are the API's and the store's."""

    WAITING = 1
    CONFIRMED = 2
    DENIED = 3
    ENDED = 4


class Registration(NamedTuple):
    """A registration, opened."""

    row: RegistrationRow
    record: Record

    @property
    def state(self) -> RegistrationState:
        """Where it stands."""
        return RegistrationState(self.row.state)

    @property
    def evidence(self) -> Evidence | None:
        """What the last answer rests on."""
        return None if self.row.evidence is None else Evidence.from_json(self.row.evidence)


@dataclass(frozen=True, slots=True)
class Verification:
    """A verification as its service sees it. `word` is told once, and only for an inbound act."""

    verification_id: bytes
    method: Method
    state: int
    expires_at_us: int = 0
    next_code_at_us: int = 0
    word: str = ""


class Outcome(NamedTuple):
    """What became of a call: the registration now, its verification, and why a code is not under way.

    `code` is what is still to be sent; no caller is told it.
    """

    registration: Registration
    verification: Verification | None = None
    problem: str = ""
    code: str = ""
    channel: str = ""


def act(
    work: RegistrationWork, row: RegistrationRow, what: Act, now_us: int, *, changes: dict[str, Any], **details: Any
) -> RegistrationRow:
    """The row after an act, with its event appended; WrongState if the act cannot happen. The row is not stored yet."""
    state = after(RegistrationState(row.state), what)
    moved = replace(row, state=int(state), **changes)
    moved = replace(moved, next_at_us=_next_at_us(row, moved, what))
    tell(work, moved, what, now_us, **details)
    return moved


def _next_at_us(before: RegistrationRow, moved: RegistrationRow, what: Act) -> int | None:
    if moved.state not in FALLS_DUE:
        return None
    if what is not Act.REMIND and before.next_at_us is not None and before.due_at_us == moved.due_at_us:
        return before.next_at_us
    return microseconds(next_at(moment(moved.due_at_us), reminded=what is Act.REMIND))


def tell(work: RegistrationWork, row: RegistrationRow, what: Act, now_us: int, **details: Any) -> None:
    """Append an event about a registration. What it says is kept for good: nothing that leads to a person."""
    said = json.dumps({"due_at_us": row.due_at_us, **details}, separators=(",", ":"), sort_keys=True)
    work.append_event(now_us, row.service, row.registration_id, what.value, row.state, said)


def store_changes(work: RegistrationWork, before: RegistrationRow, moved: RegistrationRow) -> None:
    """Write what an act, or several, changed of a row."""
    old, new = columns_of(before), columns_of(moved)
    changes = {name: value for name, value in new.items() if value != old[name]}
    if changes:
        work.update(before.registration_id, **changes)
