"""Brings in users whom a service has already, many at a time.

Invariants: a chunk is durable, with how far its import has come, before its progress is told; a row that comes again,
in this import or another, makes nothing twice. No due time is later than a year after the user's information was taken.

A row is judged by the operators' data as a registration is (I.3b), and by the service's word that the user has shown
that the number is theirs: VERIFIED takes both. Of several users of one number the latest proof wins, whether it comes
in this import, came in another, or was given here. Cryptography takes most of the time: it is done for one piece of a
chunk on a thread of its own while the piece before is written.
"""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import compress
from typing import Any, NamedTuple

from numcheck.errors import (
    BadRegistration,
    ConcurrentImport,
    DeliveryFailed,
    IndexBehind,
    MethodNotAllowed,
    NumberNotAllotted,
    NumberNotMobile,
    RegistrationExists,
    TooManyCodes,
)
from numcheck.index import NumberFacts
from numcheck.moments import CLOCK_SKEW_MAX, microseconds, microseconds_of
from numcheck.registrations.due import next_us, spread_due_us
from numcheck.registrations.evidence import Evidence, to_json
from numcheck.registrations.judging import check_each, check_registrable, judge_answer
from numcheck.registrations.policy import Judgement, Method, Policy
from numcheck.registrations.registrar import Registrar
from numcheck.registrations.registration import TAKEN_OVER, ended_of, proved_at_us, take_over
from numcheck.registrations.states import FALLS_DUE, EventKind, after
from numcheck.registrations.vault import Imported, Vault
from numcheck.registrations.verifier import Environment
from numcheck.steps import alone
from numcheck.store import (
    ImportProgress,
    NewRegistrations,
    RefusedRow,
    RegistrationRow,
    Registrations,
    RegistrationWork,
)

PIECE_SIZE = 1_000  # rows that are prepared, and written, at once
REFUSED_PER_PAGE = 1_000
MOMENTS = struct.Struct(">qqq")
NOT_SENT = (TooManyCodes, MethodNotAllowed, DeliveryFailed)
"""Why an imported user may get no code."""


class ImportedUser(NamedTuple):
    """A user as the service has them; moments are microseconds since 1970, 0 where the service has none."""

    user_id: str
    number: int
    record: bytes
    """All that is recorded of them, as `record_bytes` makes it."""
    registered_at_us: int
    refreshed_at_us: int
    proved_at_us: int


class Refusal(NamedTuple):
    """Why a row is not recorded."""

    reason: str
    field: str


Piece = Callable[[], Sequence[ImportedUser | Refusal]]
"""Reads some rows of a chunk; each is a user or refused."""


@dataclass(frozen=True, slots=True)
class Import:
    """An import, as far as a call knows that it has come."""

    service: str
    tags: Sequence[bytes]
    progress: ImportProgress
    sends_codes: bool = False


class Taken(NamedTuple):
    """The outcome of a chunk: the import now, and the rows that were refused."""

    after: Import
    refused: list[RefusedRow]


class _Draft(NamedTuple):
    """A user who can be recorded, and what is decided of them."""

    user: ImportedUser
    registered_at_us: int
    refreshed_at_us: int
    verdict: "_Verdict"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A piece that can be written: so many rows, those that are refused, and the users of the others, each with their
    place among the rows and their tags under older keys."""

    size: int
    index_version: int
    refused: list[RefusedRow]
    places: list[int]
    users: list[ImportedUser]
    new: NewRegistrations
    older_tags: list[list[tuple[bytes, bytes]]]
    older_number_tags: list[list[bytes]]
    holders_max: int


@dataclass(slots=True)
class _Outcome:
    """The outcome of a transaction's pieces so far."""

    progress: ImportProgress
    refused: list[RefusedRow] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    """Users who are PENDING."""


class Importer:
    """Takes the imports of an installation. Safe to ask from any thread; close it."""

    def __init__(
        self,
        registrations: Registrations,
        vault: Vault,
        registrar: Registrar,
        environment: Environment,
        *,
        steady: Callable[[datetime], datetime],
    ) -> None:
        """`steady` tells the time that due times are judged by, as the registrar's."""
        self._registrations, self._vault, self._registrar = registrations, vault, registrar
        self._environment, self._steady = environment, steady
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="import")

    def close(self) -> None:
        """Give the thread back."""
        self._preparing.shutdown(wait=False, cancel_futures=True)

    def begin(self, service: str, import_id: str, *, sends_codes: bool) -> Import:
        """Return an import as it stands: new, or as far as it came before."""
        tags = self._vault.import_tags(service, import_id)
        return Import(service, tags, self._registrations.import_progress(tags)[1], sends_codes)

    def refused_before(self, one: Import) -> Iterator[list[RefusedRow]]:
        """Yield the rows that were refused before the import was begun again, in pages."""
        tag, last = self._registrations.import_progress(one.tags)[0], -1
        while page := self._registrations.refused_rows(tag, after=last, count_max=REFUSED_PER_PAGE):
            yield page
            last = page[-1].place

    def take(self, one: Import, pieces: Iterable[Piece]) -> Taken:
        """Record the next rows, those of all pieces in one transaction. ConcurrentImport, IndexNotReady, IndexBehind;
        nothing was recorded then."""
        prepared = [self._preparing.submit(self._prepare, one.service, piece) for piece in pieces]
        try:
            for first in prepared[:1]:
                first.result()  # others write meanwhile
            outcome = self._registrations.write(lambda work: self._write(work, one, prepared))
        finally:
            for future in prepared:
                future.cancel()
        if one.sends_codes:
            self._send_codes(one.service, outcome.undecided)
        return Taken(replace(one, progress=outcome.progress), outcome.refused)

    # --- before the transaction

    def _prepare(self, service: str, piece: Piece) -> _Prepared:
        """Return a piece's rows as they can be written."""
        now = self._environment.now()
        now_us, steady_us = microseconds(now), microseconds(self._steady(now))
        index, policy = self._environment.index(), self._environment.policy_for(service)
        agreed = cache(lambda operator_id: self._environment.agreed(service, operator_id))
        verdict_of = cache(lambda answer: _verdict(*judge_answer(answer, index, policy, agreed=agreed, now=now)))
        read = piece()
        answers = check_each(index, [one.number for one in read if isinstance(one, ImportedUser)])
        found = [_draft(one, verdict_of, answers, now_us) for one in read]
        refused = [RefusedRow(place, *one) for place, one in enumerate(found) if isinstance(one, Refusal)]
        places = [place for place, one in enumerate(found) if isinstance(one, _Draft)]
        drafts = [one for one in found if isinstance(one, _Draft)]
        users = [draft.user for draft in drafts]
        people = _people(users)
        ids = self._vault.new_ids(now_us, len(drafts))
        columns, told = _columns(ids, drafts, policy, steady_us)
        new = self._registrations.new_registrations(
            {
                "service": service,
                "key_id": self._vault.newest.key_id,
                "as_of_revision": index.index_version,
                "verification_id": None,
                "reminded_of_us": None,
            },
            {
                "registration_id": ids,
                **columns,
                **self._vault.import_row_tags(service, people),
                **self._vault.sealed_columns(ids, people.numbers, people.records),
            },
            told,
        )
        older_tags = self._vault.older_tags(service, people)
        older_number_tags = self._vault.older_number_tags(people.numbers)
        size, holders_max = len(read), policy.users_per_number_max
        version = index.index_version
        return _Prepared(size, version, refused, places, users, new, older_tags, older_number_tags, holders_max)

    # --- in the transaction

    def _write(self, work: RegistrationWork, one: Import, prepared: Sequence["Future[_Prepared]"]) -> _Outcome:
        tag, progress = work.import_progress(one.tags)
        if progress != one.progress:
            raise ConcurrentImport("another call has gone on with this import: begin again with the header")
        now_us = microseconds(self._environment.now())
        outcome = _Outcome(progress)
        for future in prepared:
            _write_piece(work, future.result(), outcome, now_us)
        work.keep_import(tag, outcome.progress, outcome.refused, now_us)
        return outcome

    # --- behind it

    def _send_codes(self, service: str, user_ids: Sequence[str]) -> None:
        for user_id in user_ids:
            try:
                alone(self._registrar.verify(service, user_id, method=None, network_address=None))
            except NOT_SENT:
                continue


SKEW_US = microseconds_of(CLOCK_SKEW_MAX)
ANY_MOMENT = 1


@dataclass(frozen=True, slots=True, eq=False)
class _Verdict:
    """The operators' answer about every number with the same status of the same operator. There is one of each, so that
    it is known by itself."""

    refusal: Refusal | None
    judgement: Judgement
    confirmed_by: int | None
    evidence: str

    def kind(self, proved: bool) -> EventKind:
        """Return what a user who is not overdue begins with, if they have proved that the number is theirs or not."""
        if self.judgement is Judgement.DENIED:
            return EventKind.DENY
        return EventKind.CONFIRM if self.judgement is Judgement.CONFIRMED and proved else EventKind.REGISTER


def _verdict(facts: NumberFacts, judgement: Judgement, evidence: Evidence) -> _Verdict:
    refusal = None
    try:
        check_registrable(facts)
    except (NumberNotMobile, NumberNotAllotted) as error:
        refusal = Refusal(error.reason, "number")
    return _Verdict(refusal, judgement, evidence.confirmed_by, to_json([evidence]))


def _proofs_of(policy: Policy) -> Callable[[int], str]:
    """Return what makes the evidence of a proof of possession from its moment, by the step of the policy that it is."""
    steps = (step for one in policy.alternatives for step in one if step.shows_use)
    proof = Evidence(next(steps, Method.CODE), ANY_MOMENT, imported=True)
    before, behind = to_json([proof]).split(f'"verified_at_us":{ANY_MOMENT}')
    return lambda proved_at_us: f'{before}"verified_at_us":{proved_at_us}{behind}'


def _people(users: Sequence[ImportedUser]) -> Imported:
    """Return what users say, as columns."""
    user_ids, numbers, records, *moments = zip(*users, strict=True) if users else [()] * len(ImportedUser._fields)
    return Imported(user_ids, numbers, records, list(map(MOMENTS.pack, *moments)))


def _draft(
    user: ImportedUser | Refusal,
    verdict_of: Callable[[tuple[int, int]], _Verdict],
    answers: Iterator[tuple[int, int]],
    now_us: int,
) -> _Draft | Refusal:
    """Return what is to be recorded of a user, whose answer is the next; why not, if it is not."""
    if isinstance(user, Refusal):
        return user
    verdict = verdict_of(next(answers))
    if verdict.refusal is not None:
        return verdict.refusal
    _, _, _, registered_at_us, refreshed_at_us, proved_at_us = user
    registered_at_us = registered_at_us or now_us
    refreshed_at_us = refreshed_at_us or registered_at_us
    if max(registered_at_us, refreshed_at_us, proved_at_us) > now_us + SKEW_US:
        return Refusal(BadRegistration.reason, _in_the_future(user, now_us + SKEW_US))
    if refreshed_at_us < registered_at_us:
        return Refusal(BadRegistration.reason, "refreshed_at")
    return _Draft(user, min(registered_at_us, now_us), min(refreshed_at_us, now_us), verdict)


class _Standing(NamedTuple):
    """The columns of the rows of imported users that say where each stands, and the kind of the event."""

    state: int
    registered_at_us: int
    refreshed_at_us: int
    due_at_us: int
    next_at_us: int | None
    evidence: str | None
    confirmed_by: int | None
    proofs: str | None


def _columns(
    ids: Sequence[bytes], drafts: Sequence[_Draft], policy: Policy, steady_us: int
) -> tuple[dict[str, Sequence[Any]], list[tuple[str, str]]]:
    """Return the columns that say where each user stands, and the kind and the details of their events."""
    span_us, proofs_of, begins = microseconds_of(policy.refresh_after), _proofs_of(policy), cache(_begins)
    rows, told = [], []
    for registration_id, (user, registered_at_us, refreshed_at_us, verdict) in zip(ids, drafts, strict=True):
        due_us = spread_due_us(registration_id, refreshed_at_us + span_us)
        proved_at_us = user.proved_at_us
        what, state, falls_due, evidence, confirmed_by = begins(verdict, proved_at_us > 0, due_us <= steady_us)
        proofs = proofs_of(proved_at_us) if what is EventKind.CONFIRM else None
        next_at_us = next_us(due_us, reminded=False) if falls_due else None
        rows.append((state, registered_at_us, refreshed_at_us, due_us, next_at_us, evidence, confirmed_by, proofs))
        entries = f"{proofs[:-1]},{evidence[1:]}" if proofs and evidence else evidence or ""
        told.append((what.value, _details(due_us, entries)))
    values = zip(*rows, strict=True) if rows else [()] * len(_Standing._fields)
    return dict(zip(_Standing._fields, values, strict=True)), told


class _Beginning(NamedTuple):
    """How a registration begins."""

    what: EventKind
    state: int
    falls_due: bool
    evidence: str | None
    confirmed_by: int | None


def _begins(verdict: _Verdict, proved: bool, overdue: bool) -> _Beginning:
    what = EventKind.MISS if overdue else verdict.kind(proved)
    state = after(None, what)
    return _Beginning(
        what,
        int(state),
        state in FALLS_DUE,
        verdict.evidence if what in (EventKind.CONFIRM, EventKind.DENY) else None,
        verdict.confirmed_by if what is EventKind.CONFIRM else None,
    )


def _in_the_future(user: ImportedUser, latest_us: int) -> str:
    """Return which moment of a user lies in the future."""
    if user.registered_at_us > latest_us:
        return "registered_at"
    return "refreshed_at" if user.refreshed_at_us > latest_us else "possession_proved_at"


def _details(due_us: int, entries: str) -> str:
    """Return what the event of an imported registration says, as `record_event` would write it."""
    middle = f'"evidence":{entries},' if entries else ""
    return f'{{"due_at_us":{due_us},{middle}"imported":true}}'


def _write_piece(work: RegistrationWork, piece: _Prepared, outcome: _Outcome, now_us: int) -> None:
    """Write the rows of a piece whose users have no registration; the outcome takes all of them in."""
    before, columns = outcome.progress, piece.new.columns
    own = zip(columns["user_tag"], columns["request_tag"], strict=True)
    tags_of = list(zip(own, *piece.older_tags, strict=True))
    made_by = dict(work.requests_of([user for tags in tags_of for user, _ in tags]))
    refused, wanted, already_count = list(piece.refused), [], 0
    for place, tags in zip(piece.places, tags_of, strict=True):
        found = next((user for user, _ in tags if user in made_by), None)
        wanted.append(found is None)
        if found is None:
            user, request = tags[0]
            made_by[user] = request
        elif made_by[found] in [request for _, request in tags]:
            already_count += 1
        else:
            refused.append(RefusedRow(place, RegistrationExists.reason, "user_id"))
    new = piece.new if all(wanted) else piece.new.only(wanted)
    users = piece.users if all(wanted) else list(compress(piece.users, wanted))
    _check_not_withdrawn(work, users, new, piece.index_version)
    older_number_tags = [list(compress(tags, wanted)) for tags in piece.older_number_tags]
    new = _with_one_holder(work, users, new, older_number_tags, piece.holders_max, now_us)
    work.insert_each(new, now_us)
    outcome.undecided += (
        user.user_id for user, kind in zip(users, new.kinds, strict=True) if kind == EventKind.REGISTER
    )
    outcome.refused += (RefusedRow(before.row_count + place, *why) for place, *why in sorted(refused))
    outcome.progress = ImportProgress(
        before.row_count + piece.size,
        before.made_count + len(users),
        before.already_count + already_count,
        before.refused_count + len(refused),
    )


def _with_one_holder(
    work: RegistrationWork,
    users: Sequence[ImportedUser],
    new: NewRegistrations,
    older_number_tags: Sequence[Sequence[bytes]],
    holders_max: int,
    now_us: int,
) -> NewRegistrations:
    """Leave on each number the users whose proofs are the latest, as many as may hold it, of the new ones and of those
    who are VERIFIED there: the others are revoked. Return the new ones as they stand then."""
    holders: dict[bytes, list[int | RegistrationRow]] = defaultdict(list)  # by the number's tag under the newest key
    newest: dict[bytes, bytes] = {}  # of a number's tag under any key
    for at, (kind, *tags) in enumerate(zip(new.kinds, new.columns["number_tag"], *older_number_tags, strict=True)):
        if kind == EventKind.CONFIRM:
            holders[tags[0]].append(at)
            newest |= dict.fromkeys(tags, tags[0])
    for row in work.verified_on(new.service, list(newest)):
        holders[newest[row.number_tag or b""]].append(row)

    def proved_us(one: int | RegistrationRow) -> int:
        return users[one].proved_at_us if isinstance(one, int) else proved_at_us(one)

    shared = (some for some in holders.values() if len(some) > holders_max)
    too_many = [one for some in shared for one in ended_of(some, holders_max, proved_us)]
    for one in too_many:
        if isinstance(one, RegistrationRow):
            take_over(work, one, now_us)
    return _taken_over(new, [one for one in too_many if isinstance(one, int)])


def _taken_over(new: NewRegistrations, places: Sequence[int]) -> NewRegistrations:
    """Return new registrations of which those at some places are revoked, as another has proved their number since."""
    if not places:
        return new
    states, nexts = list(new.columns["state"]), list(new.columns["next_at_us"])
    kinds, details = list(new.kinds), list(new.details)
    for at in places:
        states[at], nexts[at] = int(after(None, EventKind.WITHDRAW)), None
        kinds[at], details[at] = EventKind.WITHDRAW.value, f'{{"cause":"{TAKEN_OVER}",{details[at][1:]}'
    return new._replace(columns={**new.columns, "state": states, "next_at_us": nexts}, kinds=kinds, details=details)


def _check_not_withdrawn(
    work: RegistrationWork, users: Sequence[ImportedUser], new: NewRegistrations, index_version: int
) -> None:
    """Raise IndexBehind if a number was taken from its operator after the data that has judged it: what revokes
    registrations may have passed by already."""
    for user, evidence in zip(users, new.columns["evidence"], strict=True):
        if evidence is not None and (taken := work.withdrawn_since(user.number, index_version)):
            raise IndexBehind(taken, index_version)
