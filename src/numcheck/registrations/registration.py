"""A registration as its service sees it, and the one way in which it moves: a transition, with its event."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from numcheck.registrations.due import next_us
from numcheck.registrations.encoding import encoded
from numcheck.registrations.evidence import Evidence, columns_of, from_json
from numcheck.registrations.policy import Method
from numcheck.registrations.record import Record
from numcheck.registrations.states import FALLS_DUE, IDENTIFIES, EventKind, RegistrationState, after
from numcheck.store import RegistrationRow, RegistrationWork, Standing

H = TypeVar("H")

TAKEN_OVER = "taken_over"
"""The cause of a withdrawal, besides those of the store: another user has proved that they hold the number."""


class VerificationState:
    """The state of a verification; the values are the API's and the store's."""

    WAITING = 1
    CONFIRMED = 2
    DENIED = 3
    ENDED = 4
    PROVED = (CONFIRMED, DENIED)
    """The user has proved what it waited for; an operator may have denied the number."""


class Registration(NamedTuple):
    """A registration, opened."""

    row: RegistrationRow
    record: Record

    @property
    def state(self) -> RegistrationState:
        """Its state."""
        return RegistrationState(self.row.state)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence of the last answer: an entry for each step, in the order in which they answered."""
        return tuple(
            one._replace(assertion_id=self.record.assertion_id) if one.method is Method.ATTESTED else one
            for one in evidence_of(self.row)
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """A verification as its service sees it. `word` is told only for an inbound act that is waited for.

    The operator's answer takes no proof: its verification has an empty id.
    """

    verification_id: bytes
    method: Method
    state: int
    expires_at_us: int = 0
    next_code_at_us: int = 0
    word: str = ""
    channel: str = ""
    """The channel over which a code goes."""


class CodeToSend(NamedTuple):
    """A code that is still to be sent: by which channels, in the order in which they are tried, in which language."""

    code: str
    channels: tuple[str, ...]
    language: str = ""


class Outcome(NamedTuple):
    """The outcome of a call: the registration now, its verification, and why a code is not under way.

    `to_send` is told to no caller, nor is `number`, to which it goes.
    """

    registration: Registration
    verification: Verification | None = None
    problem: str = ""
    to_send: CodeToSend | None = None
    number: int = 0


def apply(
    work: RegistrationWork,
    row: RegistrationRow,
    what: EventKind,
    now_us: int,
    *,
    changes: dict[str, Any],
    **details: Any,
) -> RegistrationRow:
    """Return the row after an event, which is appended; WrongState if it cannot happen. The row is not stored yet."""
    state = after(RegistrationState(row.state), what)
    if what is EventKind.REMIND:
        changes = {**changes, "reminded_of_us": row.due_at_us}
    due_at_us = changes.get("due_at_us", row.due_at_us)
    next_us = next_of(state, due_at_us, changes.get("reminded_of_us", row.reminded_of_us))
    moved = row._replace(**{**changes, "state": int(state), "next_at_us": next_us})
    record_event(work, moved, what, now_us, **details)
    return moved


def apply_on_evidence(
    work: RegistrationWork,
    row: RegistrationRow,
    what: EventKind,
    now_us: int,
    evidence: Sequence[Evidence],
    **changes: Any,
) -> RegistrationRow:
    """Return the same for an event that rests on evidence, which the row keeps, and the event too."""
    fields = [one.fields() for one in evidence]
    return apply(work, row, what, now_us, changes=changes | columns_of(evidence), evidence=fields)


def evidence_of(row: RegistrationRow) -> tuple[Evidence, ...]:
    """Return the entries that a row keeps: what the user proved, and the operator's answer, which comes last."""
    return (*from_json(row.proofs), *from_json(row.evidence))


def proved_at_us(row: RegistrationRow) -> int:
    """Return when the user last showed that they use the number, as far as the row's state rests on it; 0 if not."""
    return max((one.verified_at_us for one in from_json(row.proofs) if one.method.shows_use), default=0)


def next_at_us(row: RegistrationRow) -> int | None:
    """Return when time next does something to it: whatever has become of it since, no due time is reminded of twice."""
    return next_of(row.state, row.due_at_us, row.reminded_of_us)


def next_of(state: int, due_at_us: int, reminded_of_us: int | None) -> int | None:
    """Return the same for a registration of which this is known."""
    if state not in FALLS_DUE:
        return None
    return next_us(due_at_us, reminded=reminded_of_us == due_at_us)


def details_of(due_at_us: int, **details: Any) -> str:
    """Return the details of an event about a registration."""
    return encoded({"due_at_us": due_at_us, **details}).decode()


def record_event(
    work: RegistrationWork, row: RegistrationRow | Standing, what: EventKind, now_us: int, **details: Any
) -> None:
    """Append an event about a registration. What it says is kept for good: nothing that leads to a person."""
    said = details_of(row.due_at_us, **details)
    work.append_event(now_us, row.service, row.registration_id, what.value, row.state, said)
    work.note_identification(row, now_us, anew=what in IDENTIFIES)


def record_each(work: RegistrationWork, told: Iterable[tuple[Standing, str]], what: EventKind, now_us: int) -> None:
    """Append an event about each of many registrations, as `record_event`: with its details as text, by service."""
    by_service: dict[str, list[tuple[Standing, str]]] = defaultdict(list)
    for one in told:
        by_service[one[0].service].append(one)
    for service, some in by_service.items():
        work.append_events(now_us, service, what.value, some)
        for row, _ in some if work.tells_operators_of(service) else ():
            work.note_identification(row, now_us, anew=what in IDENTIFIES)


def follow_withdrawal(work: RegistrationWork, row: RegistrationRow, number: int, now_us: int) -> RegistrationRow:
    """Return a registration after what has taken its number, if that is still to be followed: written at once.

    So whoever acts on it next acts after the withdrawal, which takes nothing any more from what begins now.
    """
    taken = work.try_waiting_withdrawal(number, row.as_of_revision)
    if taken is None:
        return row
    revision, cause = taken
    work.verifications.end_of({row.registration_id: revision}, VerificationState.ENDED, changes=False)
    if row.state != RegistrationState.VERIFIED:
        return row
    moved = apply(work, row, EventKind.WITHDRAW, now_us, changes={}, cause=cause.value, revision=revision)
    return store_changes(work, row, moved)


def ended_of(holders: Iterable[H], count_max: int, proved_at_us: Callable[[H], int]) -> list[H]:
    """Return which of the holders of a number are too many: those whose proofs are the oldest."""
    return sorted(holders, key=proved_at_us, reverse=True)[count_max:]


def take_over(work: RegistrationWork, row: RegistrationRow, now_us: int) -> None:
    """Revoke a registration whose number another user has proved to hold since."""
    work.verifications.end_of({row.registration_id: work.revision + 1}, VerificationState.ENDED, changes=False)
    store_changes(work, row, apply(work, row, EventKind.WITHDRAW, now_us, changes={}, cause=TAKEN_OVER))


def store_changes(work: RegistrationWork, before: RegistrationRow, moved: RegistrationRow) -> RegistrationRow:
    """Write what an event, or several, changed of a row, and return the row as it is stored."""
    return work.replace(before, moved)
