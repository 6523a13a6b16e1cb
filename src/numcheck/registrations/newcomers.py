"""Records new users (I.2 to I.4), those of many calls at once: what they have in common is made once, and what is each
one's own a column after the other.

Invariants: a user of a service has one registration (I.2a), however often and at once they are recorded; what is
acknowledged is durable, with its events, in one transaction. All that needs no transaction is made before it, as others
share it: for most users, about whom the operators' data decides at once, that is everything but the row's digests.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache, partial
from itertools import repeat
from typing import NamedTuple

from numcheck.errors import IndexBehind, NumcheckError, RegistrationExists
from numcheck.moments import microseconds
from numcheck.registrations.deciding import Move
from numcheck.registrations.due import due_at
from numcheck.registrations.evidence import columns_of
from numcheck.registrations.policy import Method
from numcheck.registrations.record import Record
from numcheck.registrations.registration import (
    Outcome,
    Registration,
    Verification,
    VerificationState,
    details_of,
    next_of,
    record_event,
)
from numcheck.registrations.states import EventKind, after
from numcheck.registrations.vault import Vault
from numcheck.registrations.verifier import Finding, Opening, VerificationRequest, Verifier
from numcheck.registrations.ways import Way
from numcheck.steps import Steps, Together
from numcheck.store import Needs, Operation, RegistrationRow, Registrations, RegistrationWork


class Newcomer(NamedTuple):
    """A user who is to be recorded, and the request that says so."""

    service: str
    request_id: str
    record: Record
    way: Way
    finding: Finding | None = None
    """The finding about the number, if the index alone does not say it."""


class _Told(NamedTuple):
    """An event: its kind, the state after it, and its details."""

    kind: str
    state: int
    details: str


class _Beginning(NamedTuple):
    """How the registrations begin of all users of a service about whose numbers the operators' data says the same.

    `opening` is None where the data alone does not say it.
    """

    opening: Opening | None
    events: Sequence[_Told]
    due_at_us: int
    next_at_us: int | None
    evidence: str | None = None
    confirmed_by: int | None = None
    verification: Verification | None = None

    @property
    def state(self) -> int:
        """Their state at first."""
        return self.events[-1].state


class _Draft(NamedTuple):
    """A newcomer, with their tags, the beginning of their registration, its row, and how they are to be verified."""

    newcomer: Newcomer
    tags: Sequence[bytes]
    beginning: _Beginning
    row: RegistrationRow
    wanted: VerificationRequest


ENDS = {
    Move.CONFIRM: (EventKind.CONFIRM, VerificationState.CONFIRMED),
    Move.DENY: (EventKind.DENY, VerificationState.DENIED),
}
"""The event, and the state of the verification, by which an operator's answer ends what has just begun."""


class Newcomers:
    """Records the new users of an installation. Safe to ask from any thread."""

    def __init__(
        self,
        registrations: Registrations,
        vault: Vault,
        verifier: Verifier,
        *,
        now: Callable[[], datetime],
        steady: Callable[[datetime], datetime],
    ) -> None:
        """`steady` tells the time that due times are judged by when the machine's clock says what it is given."""
        self._registrations, self._vault, self._verifier = registrations, vault, verifier
        self._now, self._steady = now, steady

    def register(self, newcomer: Newcomer) -> Steps[Outcome]:
        """Record a user, once, and start their verification by the policy.

        NumberNotMobile, NumberNotAllotted, RegistrationExists; nothing was recorded then.
        """
        number = newcomer.record.number
        if self._verifier.is_test_number(number):
            newcomer = newcomer._replace(finding=self._verifier.find(newcomer.service, number))
        started: Outcome | None = yield Together(self._record_each, newcomer)
        if started is None:
            finding = self._verifier.find(newcomer.service, number)
            finding = yield from self._verifier.ask_operator(finding, newcomer.service, number)
            started = yield Together(self._record_each, newcomer._replace(finding=finding))
        assert started is not None, "nobody asks twice"
        return (yield from self._verifier.delivered(started))

    def _record_each(self, newcomers: Sequence[Newcomer]) -> Sequence[Outcome | Exception | None]:
        """Record users; what each comes to, or None if the operator itself is to be asked first."""
        now = self._now()
        return self._registrations.write_each(
            [
                Operation(partial(self._record, draft, now), Needs(draft.tags, draft.wanted.code))
                for draft in self._drafts(newcomers, now)
            ]
        )

    # --- before the transaction

    def _drafts(self, newcomers: Sequence[Newcomer], now: datetime) -> list[_Draft]:
        """Return all that can be made of newcomers before the transaction, a column after the other."""
        services, request_ids, records, _, _ = zip(*newcomers, strict=True)
        now_us, refreshed_at = microseconds(now), self._steady(now)
        plains = [record.to_bytes() for record in records]
        ids = self._vault.new_ids(now_us, len(newcomers))
        tags = self._vault.tags_of_users([(one.service, one.record.user_id) for one in newcomers])
        sealed = self._vault.sealed_columns(ids, [record.number for record in records], plains)
        begins = self._begins(newcomers, now, refreshed_at)
        rows = map(
            RegistrationRow,
            ids,
            services,
            [first for first, *_ in tags],
            sealed["number_tag"],
            self._vault.tags_of_requests(services, request_ids, plains),
            repeat(self._vault.newest.key_id),
            sealed["sealed_record"],
            sealed["sealed_number"],
            [one.state for one in begins],
            repeat(now_us),
            repeat(microseconds(refreshed_at)),
            [one.due_at_us for one in begins],
            [one.next_at_us for one in begins],
            [one.evidence for one in begins],
            [one.confirmed_by for one in begins],
        )
        wanted = [self._wanted(one, begin, now) for one, begin in zip(newcomers, begins, strict=True)]
        return list(map(_Draft, newcomers, tags, begins, rows, wanted))

    def _wanted(self, newcomer: Newcomer, beginning: _Beginning, now: datetime) -> VerificationRequest:
        service, _, record, way, _ = newcomer
        wanted, opening = VerificationRequest(record.network_address, way), beginning.opening
        step = None if opening is None else opening.decision.step
        return wanted if step is None else self._verifier.code_ahead(service, record, step, wanted, now)

    def _begins(self, newcomers: Sequence[Newcomer], now: datetime, refreshed_at: datetime) -> list[_Beginning]:
        """Return how the registration of each newcomer begins: the same object where it begins the same way."""
        index = self._verifier.index()

        @cache
        def beginning(service: str, way: Way | None, answer: tuple[int, int]) -> _Beginning:
            due_us = microseconds(due_at(refreshed_at, self._verifier.policy_for(service).refresh_after))
            opening = None if way is None else self._verifier.opening(service, answer, index, way, now)
            return _beginning(opening, due_us)

        return [
            beginning(service, way if finding is None else None, index.answer(record.number))
            for service, _, record, way, finding in newcomers
        ]

    # --- in the transaction

    def _record(self, draft: _Draft, now: datetime, work: RegistrationWork) -> Outcome | NumcheckError | None:
        newcomer, tags, beginning, row, wanted = draft
        if (found := work.find(tags)) is not None:
            return self._repeated(work, found, newcomer)
        opening = beginning.opening
        refusal = None if opening is None else _refusal(work, opening, newcomer.record.number)
        if refusal is not None:
            return refusal
        if opening is None or (opening.decision.move is Move.WAIT and not opening.asks_operator):
            return self._attempted(work, newcomer, row, wanted, now)
        if opening.asks_operator:
            return None
        work.begin(row, beginning.events)
        return Outcome(Registration(row, newcomer.record), beginning.verification, opening.decision.problem)

    def _attempted(
        self,
        work: RegistrationWork,
        newcomer: Newcomer,
        row: RegistrationRow,
        wanted: VerificationRequest,
        now: datetime,
    ) -> Outcome:
        """Record a user who is to prove something, or whose number the index alone does not know."""
        service, _, record, _, finding = newcomer
        finding = finding or self._verifier.find(service, record.number)
        row = row._replace(as_of_revision=work.revision)
        record_event(work, row, EventKind.REGISTER, row.registered_at_us)
        course = self._verifier.course(service)
        attempt = self._verifier.attempt(work, Registration(row, record), course, finding, wanted, now)
        work.insert(attempt.row)
        return attempt.stored(attempt.row)

    def _repeated(self, work: RegistrationWork, row: RegistrationRow, newcomer: Newcomer) -> Outcome:
        """Return what a repetition of the request that made the registration gets; RegistrationExists if another
        request made it. Whatever has become of the number since does not matter."""
        if row.request_tag not in self._vault.request_tags(row.service, newcomer.request_id, newcomer.record):
            raise RegistrationExists("the service has a registration of this user_id")
        return Outcome(Registration(row, self._vault.open(row)), self._verifier.current(work, row, self._now()))


def _refusal(work: RegistrationWork, opening: Opening, number: int) -> NumcheckError | None:
    """Return why a user is not recorded; IndexBehind if the number was taken from its operator after the data that
    decides: what revokes registrations has passed by already, or would not know that this one rests on older data."""
    version = opening.evidence.index_version
    if opening.decision.by_operator and (taken := work.withdrawn_since(number, version)):
        return opening.refusal or IndexBehind(taken, version)
    return opening.refusal


def _beginning(opening: Opening | None, due_us: int) -> _Beginning:
    state = after(None, EventKind.REGISTER)
    registered = _Told(EventKind.REGISTER.value, int(state), details_of(due_us))
    ends = None if opening is None else ENDS.get(opening.decision.move)
    if opening is None or ends is None:
        return _Beginning(opening, [registered], due_us, next_of(state, due_us, None))
    what, verified = ends
    state = after(state, what)
    told = _Told(what.value, int(state), details_of(due_us, evidence=[opening.evidence.fields()]))
    kept = columns_of([opening.evidence])
    return _Beginning(
        opening,
        [registered, told],
        due_us,
        next_of(state, due_us, None),
        kept["evidence"],
        kept["confirmed_by"],
        Verification(b"", Method.OPERATOR, verified),
    )
