"""Registers, reads, refreshes and erases users (I.1 to I.4, I.6): the rules in order, over the store and the index.

Invariants: a user of a service has one registration (I.2a); what is acknowledged is durable, with its events, in one
transaction. Time and chance come in from outside. Work that a call has in common with others is a step (`steps.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from numcheck.errors import (
    BadRegistration,
    StoreDamaged,
    UnknownRegistration,
)
from numcheck.moments import EPOCH, microseconds, microseconds_of
from numcheck.registrations.deciding import Problem
from numcheck.registrations.due import REMIND_BEFORE, due_at
from numcheck.registrations.newcomers import Newcomer, Newcomers
from numcheck.registrations.policy import Method
from numcheck.registrations.record import NetworkAddress, NumberChange, Record
from numcheck.registrations.registration import (
    Outcome,
    Registration,
    VerificationState,
    apply,
    follow_withdrawal,
    store_changes,
)
from numcheck.registrations.requests import Request, Requests
from numcheck.registrations.states import FALLS_DUE, EventKind, RegistrationState, after, allows
from numcheck.registrations.vault import Vault, first_id
from numcheck.registrations.verifier import VerificationRequest, Verifier
from numcheck.registrations.ways import ANY_WAY, Way
from numcheck.steps import Steps, Together
from numcheck.store import Needs, PageBounds, RegistrationRow, Registrations, RegistrationWork, Selection

T = TypeVar("T")

LISTED = tuple(int(state) for state in RegistrationState if state is not RegistrationState.DELETED)
PAGE_ROWS_MAX = 1_000
PAGE_SIZE_MAX = 2**20  # bytes of what lies sealed


@dataclass(frozen=True, slots=True)
class Filters:
    """The registrations of a page: in these states (none: any), of this number, due before this moment, registered
    after that one."""

    states: Sequence[RegistrationState] = ()
    number: int | None = None
    due_before: datetime | None = None
    registered_after: datetime | None = None


class Page(NamedTuple):
    """A page of registrations, those that are not what was written, and the place to go on from; None at the end."""

    registrations: list[Registration]
    damaged: list[StoreDamaged]
    next_place: tuple[int, bytes] | None


class Summary(NamedTuple):
    """How many registrations a service has: in each state, and due within 30 days."""

    states: Mapping[int, int]
    due_soon_count: int


class Registrar:
    """The registrations of an installation. Safe to ask from any thread."""

    def __init__(
        self,
        registrations: Registrations,
        vault: Vault,
        verifier: Verifier,
        *,
        now: Callable[[], datetime],
        steady: Callable[[datetime], datetime],
        lists: Callable[[], Registrations] | None = None,
    ) -> None:
        """`steady` tells the time that due times are judged by when the machine's clock says what it is given; `lists`
        gives what pages are read from, which may be behind."""
        self._registrations, self._vault, self._verifier = registrations, vault, verifier
        self._now, self._steady = now, steady
        self._lists = lists or (lambda: registrations)
        self._requests = Requests(registrations, vault, verifier)
        self._newcomers = Newcomers(registrations, vault, verifier, now=now, steady=steady)

    def register(self, service: str, request_id: str, record: Record, *, way: Way = ANY_WAY) -> Steps[Outcome]:
        """Record a user, once, and start their verification by the policy.

        NumberNotMobile, NumberNotAllotted, RegistrationExists; nothing was recorded then.
        """
        return self._newcomers.register(Newcomer(service, request_id, record, way))

    def get(self, service: str, user_id: str) -> Steps[Registration]:
        """Return a user's registration; UnknownRegistration if there is none."""
        found: Registration | None = yield Together(self._get_each, (service, user_id))
        return _known(found)

    def _get_each(self, users: Sequence[tuple[str, str]]) -> list[Registration | StoreDamaged | None]:
        """Return the registration of each user of a service; None where there is none, or that it is damaged."""
        rows = self._registrations.find_each(self._vault.tags_of_users(users))
        records = iter(self._vault.open_each([row for row in rows if isinstance(row, RegistrationRow)]))
        return [_with_record(row, next(records)) if isinstance(row, RegistrationRow) else row for row in rows]

    def page(self, service: str, filters: Filters, *, size: int, place: tuple[int, bytes] | None) -> Page:
        """Return the next registrations after a place, or the first; it ends at `size` rows or 1 MiB."""
        count_max = min(size, PAGE_ROWS_MAX)
        within = PageBounds(count_max + 1, PAGE_SIZE_MAX)  # one more row says that there is another page
        states = [int(state) for state in filters.states] or LISTED
        number_tags = None if filters.number is None else self._vault.number_tags(filters.number)
        source = self._lists()
        confirmations = source.confirmations(service)
        which = Selection(states, number_tags, _try_us(filters.due_before), _try_us(filters.registered_after))
        rows = source.page(service, which, after=place or self._beginning(filters), within=within)
        kept = _fitting(rows[:count_max])
        last = rows[kept - 1] if kept < len(rows) else None
        place = None if last is None else (last.due_at_us, last.registration_id)
        checked = source.checked_each(rows[:kept], confirmations)
        whole = [row for row in checked if isinstance(row, RegistrationRow)]
        found = [row for row in checked if isinstance(row, StoreDamaged)]
        records = self._vault.open_each(whole)
        both = zip(whole, records, strict=True)
        opened = [Registration(row, record) for row, record in both if isinstance(record, Record)]
        damaged = found + [record for record in records if isinstance(record, StoreDamaged)]
        return Page(opened, damaged, place)

    def _beginning(self, filters: Filters) -> tuple[int, bytes]:
        """Return the place before the first registration: ids ascend with time, so that earlier ones are not read."""
        return -1, b"" if filters.registered_after is None else first_id(microseconds(filters.registered_after))

    def summary(self, service: str) -> Summary:
        """Count a service's registrations."""
        now_us = microseconds(self._steady(self._now()))
        soon_us = now_us + microseconds_of(REMIND_BEFORE)
        counts, due_soon_count = dict.fromkeys(LISTED, 0), 0
        for state, count, due_count in self._registrations.counts(service, LISTED, due=(now_us, soon_us)):
            counts[state] += count
            due_soon_count += due_count if state in FALLS_DUE else 0
        return Summary(counts, due_soon_count)

    def delete(self, service: str, user_id: str) -> Steps[None]:
        """Erase a user: what is personal is gone, the events stay. UnknownRegistration if there is none."""
        tags, now_us = self._vault.user_tags(service, user_id), microseconds(self._now())

        def operation(work: RegistrationWork) -> None:
            row = _known(work.find(tags))
            erased = dict.fromkeys(
                (
                    "user_tag",
                    "number_tag",
                    "request_tag",
                    "sealed_record",
                    "sealed_number",
                    "evidence",
                    "confirmed_by",
                    "proofs",
                    "verification_id",
                )
            )
            store_changes(work, row, apply(work, row, EventKind.DELETE, now_us, changes=erased))
            work.verifications.forget(row.registration_id)

        yield self._registrations.writing(operation, Needs(tags))

    def refresh(
        self,
        service: str,
        user_id: str,
        network_address: NetworkAddress,
        data: Mapping[str, str],
        *,
        way: Way = ANY_WAY,
        request_id: str = "",
    ) -> Steps[Outcome]:
        """Take a user's information anew, and verify the number again (I.6). UnknownRegistration if there is none."""
        request = Request(request_id, ("refresh", network_address, data, way))
        tags = self._vault.user_tags(service, user_id)
        known = self._opened(_known((yield self._registrations.finding(tags)))).record
        number, wanted = known.number, VerificationRequest(network_address, way)
        course = self._verifier.course(service)
        finding = self._verifier.find(service, number)
        finding = yield from self._verifier.with_live_answer(finding, service, number, course, way)
        now = self._now()
        refreshed_at = self._steady(now)
        step = self._verifier.first_step(service, course, finding, way, now)
        wanted = self._verifier.code_ahead(service, known, step, wanted, now)

        def do(work: RegistrationWork) -> Outcome | None:
            if (found := self._try_on_number(work, tags, number, now)) is None:
                return None
            row, record = found
            record = record._replace(network_address=network_address, registration_data=data)
            changes = {
                "refreshed_at_us": microseconds(refreshed_at),
                **self._vault.sealed(row.registration_id, service, record),
            }
            if row.state != RegistrationState.VERIFIED:
                # Who may not use the messenger gains nothing by it, and must not fall due again at once.
                due = due_at(refreshed_at, self._verifier.policy_for(service).refresh_after)
                changes |= {"due_at_us": microseconds(due)}
            moved = apply(work, row, EventKind.REFRESH, microseconds(now), changes=changes)
            attempt = self._verifier.attempt(work, Registration(moved, record), course, finding, wanted, now)
            return attempt.stored(store_changes(work, row, attempt.row))

        started = yield self._registrations.writing(self._once(tags, request, now, do), Needs(tags, wanted.code))
        if started is None:  # the number was changed meanwhile
            again = self.refresh(service, user_id, network_address, data, way=way, request_id=request_id)
            return (yield from again)
        return (yield from self._requests.delivered(started, request))

    def verify(
        self,
        service: str,
        user_id: str,
        *,
        method: Method | None,
        network_address: NetworkAddress | None,
        way: Way = ANY_WAY,
        request_id: str = "",
    ) -> Steps[Outcome]:
        """Start a verification: by the method, or by the policy. WrongState, MethodNotAllowed, TooManyCodes."""
        request = Request(request_id, ("verify", method, network_address, way))
        tags = self._vault.user_tags(service, user_id)
        found = self._opened(_known((yield self._registrations.finding(tags))))
        number = found.record.number
        wanted = VerificationRequest(network_address or found.record.network_address, way, on_demand=True)
        course = self._verifier.course(service, method)
        finding = self._verifier.find(service, number)
        if allows(found.state, EventKind.START):
            finding = yield from self._verifier.with_live_answer(finding, service, number, course, way)
        now = self._now()
        step = self._verifier.first_step(service, course, finding, way, now)
        wanted = self._verifier.code_ahead(service, course.about(found.record), step, wanted, now)

        def do(work: RegistrationWork) -> Outcome | None:
            if (registration := self._try_on_number(work, tags, number, now)) is None:
                return None
            attempt = self._verifier.attempt(work, registration, course, finding, wanted, now)
            return attempt.stored(store_changes(work, registration.row, attempt.row))

        started = yield self._registrations.writing(self._once(tags, request, now, do), Needs(tags, wanted.code))
        if started is None:  # the number was changed meanwhile
            again = self.verify(
                service, user_id, method=method, network_address=network_address, way=way, request_id=request_id
            )
            return (yield from again)
        return (yield from self._requests.delivered(started, request, strict=True))

    def change_number(
        self,
        service: str,
        user_id: str,
        number: int,
        network_address: NetworkAddress,
        *,
        way: Way = ANY_WAY,
        request_id: str = "",
    ) -> Steps[Outcome]:
        """Start to verify another number of a user; once that is verified, the registration moves to it. A change that
        waits already ends; if the user has the number, nothing else is done.

        UnknownRegistration, NumberNotMobile, NumberNotAllotted, WrongState, MethodNotAllowed, TooManyCodes.
        """
        request = Request(request_id, ("change", number, network_address, way))
        tags = self._vault.user_tags(service, user_id)
        found = self._opened(_known((yield self._registrations.finding(tags))))
        wanted = VerificationRequest(network_address, way, on_demand=True)
        course = self._verifier.course(service, change=NumberChange(number, network_address))
        finding = self._verifier.find(service, number)
        if found.record.number != number and allows(found.state, EventKind.ASK_CHANGE):
            finding = yield from self._verifier.with_live_answer(finding, service, number, course, way)
        now = self._now()
        step = self._verifier.first_step(service, course, finding, way, now)
        wanted = self._verifier.code_ahead(service, course.about(found.record), step, wanted, now)

        def do(work: RegistrationWork) -> Outcome:
            registration = self._current(work, tags, now)
            if registration.record.number == number:
                return _unchanged(work, registration)
            finding.check_registrable()
            after(registration.state, EventKind.ASK_CHANGE)  # WrongState if there can be none
            attempt = self._verifier.attempt(work, registration, course, finding, wanted, now)
            return attempt.stored(store_changes(work, registration.row, attempt.row))

        started = yield self._registrations.writing(self._once(tags, request, now, do), Needs(tags, wanted.code))
        return (yield from self._requests.delivered(started, request, strict=True))

    def _current(self, work: RegistrationWork, tags: Sequence[bytes], now: datetime) -> Registration:
        """Return a user's registration after whatever has taken its number. UnknownRegistration."""
        return _after_withdrawal(work, self._opened(_known(work.find(tags))), now)

    def _try_on_number(
        self, work: RegistrationWork, tags: Sequence[bytes], number: int, now: datetime
    ) -> Registration | None:
        """Return the same; None if it has another number by now, about which nothing is known. UnknownRegistration."""
        found = self._opened(_known(work.find(tags)))
        return _after_withdrawal(work, found, now) if found.record.number == number else None

    def _once(
        self, tags: Sequence[bytes], request: Request, now: datetime, do: Callable[[RegistrationWork], Outcome | None]
    ) -> Callable[[RegistrationWork], Outcome | None]:
        """Return the operation that does what a request about a user asks, unless it was done before."""

        def operation(work: RegistrationWork) -> Outcome | None:
            return self._requests.once(work, self._opened(_known(work.find(tags))), request, now, lambda: do(work))

        return operation

    def _opened(self, row: RegistrationRow) -> Registration:
        return Registration(row, self._vault.open(row))


def _after_withdrawal(work: RegistrationWork, found: Registration, now: datetime) -> Registration:
    row = follow_withdrawal(work, found.row, found.record.number, microseconds(now))
    return found._replace(row=row)


def _unchanged(work: RegistrationWork, registration: Registration) -> Outcome:
    """Return the answer to who wants the number that they have; a change to another one that waits is over."""
    row = registration.row
    newest = None if row.verification_id is None else work.verifications.get(row.verification_id)
    if newest is not None and newest.sealed_change is not None:
        work.verifications.end_of({row.registration_id: work.revision + 1}, VerificationState.ENDED)
    return Outcome(registration, problem=Problem.NUMBER_UNCHANGED)


def checked_moment(value: datetime, field: str) -> datetime:
    """Return the moment, in UTC; BadRegistration if it lies before 1970."""
    if value < EPOCH:
        raise BadRegistration(field, "the moment is before 1970")
    return value.astimezone(UTC)


def _try_us(value: datetime | None) -> int | None:
    return None if value is None else microseconds(value)


def _known(found: T | None) -> T:
    if found is None:
        raise UnknownRegistration("the service has no registration of this user_id")
    return found


def _with_record(row: RegistrationRow, record: Record | StoreDamaged) -> Registration | StoreDamaged:
    return record if isinstance(record, StoreDamaged) else Registration(row, record)


def _fitting(rows: Sequence[RegistrationRow]) -> int:
    """Return how many of the rows, at least one, fit into a page."""
    size = 0
    for count, row in enumerate(rows):
        size += len(row.sealed_record or b"")
        if size > PAGE_SIZE_MAX and count:
            return count
    return len(rows)
