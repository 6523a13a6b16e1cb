"""Verifies many registrations again, against the index (I.6, and whenever an operator's data has moved on).

Invariants: a piece is durable before its progress is told; a piece that is done again changes nothing that it changed
before. A registration whose number the operators' data still holds gets new evidence and no event, as nothing happened
to it; one whose number it no longer holds becomes REVOKED, with an event. The users' proofs stay: nothing has taken
their numbers since. The operator's word confirms a waiting refresh if it and the user's proofs meet the policy.

Most often the same operator confirms nearly all: one confirmation in the store says so of a whole run, and the rows
that it covers are not written. The others are, so that the confirmation does not cover them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from numcheck.index import Index
from numcheck.moments import microseconds
from numcheck.registrations.due import spread_due_us
from numcheck.registrations.evidence import Evidence, columns_of, from_json, to_json
from numcheck.registrations.judging import check_each, judge_answer
from numcheck.registrations.policy import Judgement, Policy
from numcheck.registrations.registration import apply_on_evidence, store_changes
from numcheck.registrations.states import EventKind, RegistrationState
from numcheck.registrations.vault import Vault
from numcheck.registrations.verifier import Environment, Verifier
from numcheck.store import Confirmation, NumberRow, Registrations, RegistrationWork, Standing
from numcheck.store.confirmations import evidence_text

PIECE_SIZE = 20_000  # a tenth of a second

VERIFIED = RegistrationState.VERIFIED
RESOLUTION = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is; `place` is the last registration that is done, None at the end."""

    checked: int
    confirmed: int
    revoked: int
    unanswered: int
    total: int
    place: bytes | None


class Read(NamedTuple):
    """A piece as it was read: the registrations behind a place, and the newest event before."""

    sequence: int
    after: bytes
    rows: list[NumberRow]


class Judged(NamedTuple):
    """The word of an operator's data about some registrations; nothing, if there is no evidence."""

    judgement: Judgement
    evidence: Evidence | None
    rows: list[NumberRow]


@dataclass(slots=True)
class Stretch:
    """A part of a run that one confirmation may cover: over it the index is the same."""

    index: Index
    confirmation: Confirmation
    evidence: dict[int, str] = field(default_factory=dict)  # of each operator that has confirmed what rested on it
    unconfirmed: set[int] = field(default_factory=set)  # operators that have not confirmed all that rested on them

    def covers(self, row: NumberRow) -> bool:
        """Tell whether the confirmation covers a registration of the stretch, if it has its operator's evidence."""
        return row.confirmed_by is not None and row.sequence < self.confirmation.sequence


class Plan(NamedTuple):
    """The rows that are to be written of a piece."""

    one_by_one: list[tuple[EventKind, Evidence, list[NumberRow]]]
    evidence: list[tuple[Evidence, list[NumberRow]]]
    """Each with what it is written to: what no confirmation covers."""
    kept: list[NumberRow]
    """Whose evidence stays what it is, although the confirmation has newer of the operator that they rest on."""
    confirmation: Confirmation | None


class Reverifier:
    """Verifies a service's VERIFIED registrations, piece by piece."""

    def __init__(
        self, registrations: Registrations, vault: Vault, verifier: Verifier, environment: Environment
    ) -> None:
        self._registrations, self._vault, self._verifier = registrations, vault, verifier
        self._environment, self._agreed = environment, environment.agreed

    def run(self, service: str, *, due_before: datetime | None, place: bytes) -> Iterator[Progress]:
        """Verify all behind a place, yielding after each piece; IndexNotReady."""
        due_before_us = None if due_before is None else microseconds(due_before)
        wanted = {"state": int(VERIFIED), "due_before_us": due_before_us}
        total = self._registrations.count(service, after=place, **wanted)  # type: ignore[arg-type]
        counts, stretch = dict.fromkeys(Judgement, 0), None
        for read in self._pieces(service, place, wanted):
            if read.rows:
                stretch, judged = self._piece(service, due_before_us, stretch, read)
                for one in judged:
                    counts[one.judgement] += len(one.rows)
            yield Progress(
                sum(counts.values()),
                counts[Judgement.CONFIRMED],
                counts[Judgement.DENIED],
                counts[Judgement.NO_ANSWER],
                total,
                None if len(read.rows) < PIECE_SIZE else read.rows[-1].registration_id,
            )

    def _pieces(self, service: str, place: bytes, wanted: Mapping[str, Any]) -> Iterator[Read]:
        """All behind a place; the last piece is short.

        To read one while another is verified takes more time than it saves: both want Python's lock for every row.
        """

        def read(after: bytes) -> Read:
            head = self._registrations.events.try_head()
            rows = self._registrations.numbers(service, after=after, count_max=PIECE_SIZE, **wanted)
            return Read(head.sequence if head else 0, after, rows)

        piece = read(place)
        while len(piece.rows) == PIECE_SIZE:
            yield piece
            piece = read(piece.rows[-1].registration_id)
        yield piece

    def _piece(
        self, service: str, due_before_us: int | None, stretch: Stretch | None, read: Read
    ) -> tuple[Stretch, list[Judged]]:
        """Verify these; the stretch that they belong to, and what was said of them."""
        index, policy, now = self._environment.index(), self._environment.policy_for(service), self._environment.now()
        judged = list(self._judged(service, index, read.rows, policy, now))
        stretch = _going_on(stretch, index, judged) or self._stretch(service, due_before_us, index, read, now)
        plan = _planned(stretch, judged, read.rows[-1].registration_id, policy)
        if any(plan):
            self._registrations.write(lambda work: self._write(work, plan, now))
        return stretch, judged

    def _stretch(self, service: str, due_before_us: int | None, index: Index, read: Read, now: datetime) -> Stretch:
        """Return a stretch that begins with what was read."""
        made_id = self._vault.new_id(microseconds(now))
        empty = Confirmation(made_id, service, int(VERIFIED), read.sequence, read.after, b"", due_before_us, "")
        return Stretch(index, empty)

    def _judged(
        self, service: str, index: Index, rows: Sequence[NumberRow], policy: Policy, now: datetime
    ) -> Iterator[Judged]:
        """Yield what the operators' data says of registrations; of test numbers, and of what is not what was written,
        nothing."""
        numbers = [None if one in self._environment.test_codes else one for one in self._vault.numbers(rows)]
        known = [row for row, number in zip(rows, numbers, strict=True) if number is not None]
        by_answer: dict[tuple[int, int], list[NumberRow]] = defaultdict(list)
        for row, answer in zip(known, check_each(index, [one for one in numbers if one is not None]), strict=True):
            by_answer[answer].append(row)
        for answer, some in by_answer.items():
            _, judgement, evidence = judge_answer(answer, index, policy, agreed=partial(self._agreed, service), now=now)
            yield Judged(judgement, evidence, some)
        if len(known) < len(rows):
            unknown = [row for row, number in zip(rows, numbers, strict=True) if number is None]
            yield Judged(Judgement.NO_ANSWER, None, unknown)

    def _write(self, work: RegistrationWork, plan: Plan, now: datetime) -> None:
        for what, evidence, rows in plan.one_by_one:
            self._one_by_one(work, rows, what, evidence, now)
        for evidence, rows in plan.evidence:
            assert evidence.confirmed_by is not None, "only an operator's data confirms many"
            work.set_evidence(_as_read(work, rows), to_json([evidence]), evidence.confirmed_by)
        if plan.kept:
            work.keep_evidence(_as_read(work, plan.kept))
        if plan.confirmation is not None:
            work.confirm(plan.confirmation, microseconds(now))

    def _one_by_one(
        self, work: RegistrationWork, rows: Sequence[NumberRow], what: EventKind, evidence: Evidence, now: datetime
    ) -> None:
        for one in rows:
            row = work.try_get(one.registration_id)
            # Whatever happened to it since it was read is newer than this answer.
            if row is None or row.sequence != one.sequence:
                continue
            whole = (*from_json(row.proofs), evidence)
            if what is not EventKind.CONFIRM:
                moved = apply_on_evidence(work, row, what, microseconds(now), whole)
            elif self._environment.policy_for(row.service).is_met_with_operator(one.method for one in whole):
                moved = self._verifier.confirmed(work, row, whole, now)
            else:
                moved = row._replace(**columns_of(whole))
            store_changes(work, row, moved)


def _as_read(work: RegistrationWork, rows: Sequence[NumberRow]) -> list[Standing]:
    """Return where registrations stand that nobody has written since they were read."""
    read_at = {row.registration_id: row.sequence for row in rows}
    found = work.standings(list(read_at), states=(VERIFIED,))
    return [row for row in found if row.sequence == read_at[row.registration_id]]


def _going_on(stretch: Stretch | None, index: Index, judged: Sequence[Judged]) -> Stretch | None:
    """Return the stretch, if it can take these answers in; None if another has to begin.

    It cannot take in an operator that confirms now and has left something unconfirmed in it, which it would cover.
    """
    if stretch is None or stretch.index is not index:
        return None
    new = {one.evidence.confirmed_by for one in judged if one.judgement is Judgement.CONFIRMED and one.evidence}
    return None if new & stretch.unconfirmed else stretch


def _planned(stretch: Stretch, judged: Sequence[Judged], last_id: bytes, policy: Policy) -> Plan:
    """Return what is to be written of a piece; the stretch takes it in."""
    plan, unconfirmed = Plan([], [], [], None), []
    for judgement, evidence, rows in judged:
        if evidence is None or judgement is Judgement.NO_ANSWER:
            unconfirmed += [row for row in rows if stretch.covers(row)]
        elif judgement is Judgement.DENIED:
            plan.one_by_one.append((EventKind.DENY, evidence, rows))
        else:
            _plan_confirmed(plan, stretch, evidence, rows, policy)
    stretch.unconfirmed |= {row.confirmed_by for row in unconfirmed if row.confirmed_by} - stretch.evidence.keys()
    plan.kept.extend(row for row in unconfirmed if row.confirmed_by in stretch.evidence)
    if not stretch.evidence:
        return plan
    stretch.confirmation = stretch.confirmation._replace(last_id=last_id, evidence=evidence_text(stretch.evidence))
    return plan._replace(confirmation=stretch.confirmation)


def _plan_confirmed(plan: Plan, stretch: Stretch, evidence: Evidence, rows: list[NumberRow], policy: Policy) -> None:
    # A refresh that waited for a confirmation has it now: that is an event.
    span_us, operator_id = policy.refresh_after // RESOLUTION, evidence.operator_id
    if waiting := [row for row in rows if _waits(row, row.refreshed_at_us + span_us)]:
        plan.one_by_one.append((EventKind.CONFIRM, evidence, waiting))
    done = {row.registration_id for row in waiting}
    others = [row for row in rows if row.registration_id not in done] if done else rows
    alone = [row for row in others if row.confirmed_by != operator_id or not stretch.covers(row)]
    if alone:
        plan.evidence.append((evidence, alone))
    if len(alone) < len(others):
        stretch.evidence.setdefault(operator_id, to_json([evidence]))


def _waits(row: NumberRow, latest_us: int) -> bool:
    """Tell whether a registration does not have the due time yet that its last refresh earns, which is the latest, or
    for an imported one somewhat sooner."""
    return row.due_at_us != latest_us and row.due_at_us != spread_due_us(row.registration_id, latest_us)
