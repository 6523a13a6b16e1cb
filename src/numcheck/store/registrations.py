"""Registrations as they are found and read; what is written about one is `registration_work.py`'s."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple, TypeVar

import structlog
from sqlalchemy import ColumnElement, Connection, Select, case, func, select, tuple_

from numcheck.errors import StoreDamaged
from numcheck.steps import Step, Together
from numcheck.store import confirmations, identifications, imports, leases, recorded, sends, withdrawals
from numcheck.store import verifications as verification_rows
from numcheck.store.acts import LOCAL, Act, Acts
from numcheck.store.bulk import (
    VALUES_PER_STATEMENT,
    pieces,
    rows_where,
)
from numcheck.store.confirmations import Confirmation, as_confirmed
from numcheck.store.data_bindings import binding_of_revisions
from numcheck.store.database import Database, take_turn
from numcheck.store.events import Chain, EventAppender, EventLog
from numcheck.store.groups import GroupCommit, Operation
from numcheck.store.heads import check_operator
from numcheck.store.identifications import Sent
from numcheck.store.imports import ImportProgress, NewRegistrations, RefusedRow
from numcheck.store.leases import Lease
from numcheck.store.registration_rows import (
    NumberRow,
    RegistrationRow,
    SealedRow,
    VerificationRow,
)
from numcheck.store.registration_work import (
    ROW_BY_USER,
    ROWS,
    WHOLE,
    Needs,
    RegistrationWork,
    are_any,
    checked,
    damage_of,
)
from numcheck.store.schema import (
    recorded_withdrawals,
    registrations,
    trusted_time,
    verifications,
)
from numcheck.store.schema import withdrawals as withdrawn_rows
from numcheck.store.withdrawals import Withdrawn, WithdrawnChunk

log = structlog.get_logger()

COUNTED_AT_ONCE = 20_000
ROWS_AT_ONCE = 50  # that are read of a page: 1 MiB, if each is as large as it may be

T = TypeVar("T")


class PageBounds(NamedTuple):
    """Bounds of a page: its count of rows, and the bytes of their sealed columns."""

    count_max: int
    size_max: int


class Selection(NamedTuple):
    """A selection of a service's registrations: by state, and, unless None, by tags of their numbers, due before one
    moment, registered after another."""

    states: Sequence[int]
    number_tags: Sequence[bytes] | None = None
    due_before_us: int | None = None
    registered_after_us: int | None = None


def _conditions(which: Selection) -> Iterator[ColumnElement[bool]]:
    yield registrations.c.state.in_(which.states)
    if which.number_tags is not None:
        yield registrations.c.number_tag.in_(which.number_tags)
    if which.due_before_us is not None:
        yield registrations.c.due_at_us < which.due_before_us
    if which.registered_after_us is not None:
        yield registrations.c.registered_at_us > which.registered_after_us


# Made once: to make a statement takes as long as to run it.
NUMBERS = select(*(registrations.c[name] for name in NumberRow._fields))
ID_BY_NUMBER = "SELECT number_tag, registration_id FROM registrations WHERE number_tag IN"
SEALED_BY_ID = (
    "SELECT registration_id, key_id, sealed_record FROM registrations "
    "WHERE sealed_record IS NOT NULL AND registration_id IN"
)


class Registrations:
    """The registrations of an installation. Safe to ask from any thread."""

    def __init__(self, database: Database, chain: Chain) -> None:
        self._database, self._chain = database, chain
        self.events = EventLog(database)
        self._groups: GroupCommit[RegistrationWork] = GroupCommit(self._begin)
        self._subscribers: list[Callable[[set[str]], None]] = []
        self._lease_of: Callable[[], Lease] | None = None

    def under(self, lease_of: Callable[[], Lease]) -> "Registrations":
        """Return these registrations, to be written under a lease by one operation at a time: LeaseLost, and nothing is
        written, once another node has it."""
        fenced = copy(self)
        fenced._lease_of = lease_of
        return fenced

    def subscribe(self, notify: Callable[[set[str]], None]) -> None:
        """Call `notify` after each commit from now on, with the services that have events; it must return at once."""
        self._subscribers.append(notify)

    @contextmanager
    def _begin(self) -> Iterator[RegistrationWork]:
        # The chain's head is free for other nodes while this one waits for the disk.
        with self._database.settling() as connection:
            work = RegistrationWork(connection, self._chain)
            yield work
        for registration_id in work.damaged:
            log.error("a registration is not what was written", registration_id=registration_id.hex())
        for notify in self._subscribers:
            notify(work.services)

    def write(self, operation: Callable[[RegistrationWork], T]) -> T:
        """Run an operation in a transaction that it may share; durable when this returns, nothing left if it raises."""
        if self._lease_of is None:
            return self._groups.run(operation)
        lease = self._lease_of()

        def under_lease(work: RegistrationWork) -> T:
            work.check_lease(lease)
            return operation(work)

        return self._groups.run(under_lease)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """Open a transaction that no other operation shares."""
        with self._database.writing() as connection:
            if self._lease_of is not None:
                leases.check(connection, self._lease_of())
            yield connection

    def writing(self, operation: Callable[[RegistrationWork], object], needs: Needs | None = None) -> Step:
        """Return the step that is `write`, in one transaction with those of other calls; what the operation needs
        is read together with what theirs do."""
        return Together(self.write_each, Operation(operation, needs))

    def write_each(self, operations: Sequence[Operation[RegistrationWork]]) -> Sequence[Any]:
        """Return what each operation comes to, its result or an exception, once that is durable: they share a
        transaction."""
        return self._groups.run_each(operations)

    def came_back(self, verification_ids: Sequence[bytes]) -> dict[bytes, bool]:
        """Return for each of these verifications, if its code is still known, True if the code came back."""
        with self._database.reading() as connection:
            return sends.read_completed(connection, verification_ids)

    def trusted_time(self) -> int | None:
        """Return the time that due times were last judged by, or None."""
        with self._database.reading() as connection:
            found: int | None = connection.scalar(select(trusted_time.c.at_us))
        return found

    def withdrawn(self, *, bulk: bool, count_max: int, piece_size: int) -> list[Withdrawn]:
        """Return the next numbers that bulk, or other, changes took and that are not done, in pieces, oldest first."""
        with self._database.reading() as connection:
            return withdrawals.waiting(connection, bulk=bulk, count_max=count_max, piece_size=piece_size)

    def try_withdrawn_in_bulk(self) -> WithdrawnChunk | None:
        """Return what bulk changes took and is not done of a chunk, the oldest first; None if all is done."""
        with self._database.reading() as connection:
            return withdrawals.try_bulk(connection)

    def are_withdrawals_waiting(self) -> bool:
        """Return whether numbers wait that were taken, not by a bulk change."""
        with self._database.reading() as connection:
            return withdrawals.are_waiting(connection, bulk=False)

    def drop_withdrawn(self, *, before_us: int, at_us: int) -> None:
        """Forget numbers that were taken before a moment and are done, and tell so.

        In a transaction of its own, as it locks the installation's row, which comes before the chain's head.
        """
        with self._alone() as connection:
            dropped, revisions = withdrawals.drop(connection, before_us=before_us)
            if not revisions:
                return
            events = EventAppender(connection, self._chain)
            for told in binding_of_revisions(connection, self._chain, withdrawn_rows, revisions):
                details = Acts.details(LOCAL, withdrawals_dropped=dropped, **told)
                events.append(at_us, "", b"", Act.WITHDRAWALS_DROPPED.value, 0, details)
            events.flush()

    def identified(self, operator_id: int, position: int, *, count_max: int) -> list[Sent]:
        """Return what an operator is told next behind a position; UnknownOperator if there is no such operator."""
        with self._database.reading() as connection:
            check_operator(connection, operator_id)
            found = identifications.of_operator(connection, operator_id, position, count_max=count_max)
        if found:
            self._database.settle()
        return found

    def identifications_under_other_keys(self, key_id: int, *, after: int, count_max: int) -> list[Sent]:
        """Return the next of what operators are told, behind a position, whose number lies under another key."""
        with self._database.reading() as connection:
            return identifications.under_other_keys(connection, key_id, after, count_max=count_max)

    def tidy_record(self, *, kept_since_us: int, joined_before_us: int, at_us: int) -> None:
        """Tidy the record of withdrawals, a piece a transaction, and tell so; a transaction of its own, for the same
        reason."""
        more = True
        while more:
            with self._alone() as connection:
                take_turn(connection)
                done = recorded.tidy(connection, kept_since_us=kept_since_us, joined_before_us=joined_before_us)
                if not done.anything:
                    return
                more, events = done.more, EventAppender(connection, self._chain)
                macs = list(binding_of_revisions(connection, self._chain, recorded_withdrawals, done.revisions))
                for told in macs or [{}]:
                    details = Acts.details(LOCAL, recorded_since_us=done.since_us, **told)
                    events.append(at_us, "", b"", Act.RECORD_TIDIED.value, 0, details)
                events.flush()

    def new_registrations(
        self, common: Mapping[str, Any], columns: Mapping[str, Sequence[Any]], told: Sequence[tuple[str, str]]
    ) -> NewRegistrations:
        """Return registrations that `insert_each` can add, made before its transaction: the values that all of them
        have and the columns of the others, and the kind and the details of each one's event."""
        kinds, details = zip(*told, strict=True) if told else ((), ())
        return NewRegistrations(common, columns, kinds, details).with_contents(self._chain)

    def import_progress(self, import_tags: Sequence[bytes]) -> tuple[bytes, ImportProgress]:
        """Return how far an import has come, and the tag that it is under."""
        with self._database.reading() as connection:
            found = imports.read_progress(connection, import_tags)
        self._database.settle()
        return found

    def refused_rows(self, import_tag: bytes, *, after: int, count_max: int) -> list[RefusedRow]:
        """Return the next rows of an import behind a place that were refused."""
        with self._database.reading() as connection:
            return imports.read_refused(connection, import_tag, after=after, count_max=count_max)

    def are_any(self) -> bool:
        """Return True if there is any registration."""
        with self._database.reading() as connection:
            return are_any(connection)

    def on_numbers(self, number_tags: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """Return the number's tag and the id of every registration on any of these numbers."""
        found: list[tuple[bytes, bytes]] = []
        ordered = sorted(number_tags)  # so that the index is read along, and not here and there
        for some in pieces(ordered, VALUES_PER_STATEMENT):
            with self._database.reading() as connection:  # others read in between
                found += ((tag, one) for tag, one in rows_where(connection, ID_BY_NUMBER, some))
        return found

    def any_awaited(self, now_us: int) -> bool:
        """Return True if time has something to do to any registration by now."""
        with self._database.reading() as connection:
            first = connection.scalar(select(func.min(registrations.c.next_at_us)))
        return first is not None and first <= now_us

    def finding(self, user_tags: Sequence[bytes]) -> Step:
        """Return the step that looks for the registration of a user, under whichever of their tags; None: there is
        none. StoreDamaged."""
        return Together(self.find_each, user_tags)

    def find_each(self, wanted: Sequence[Sequence[bytes]]) -> list[RegistrationRow | StoreDamaged | None]:
        """Return the registration of each user, under whichever of their tags; None where there is none, or that it is
        not what was written."""
        tags = [tag for user_tags in wanted for tag in user_tags]
        with self._database.reading() as connection:
            rows = [RegistrationRow._make(row) for row in rows_where(connection, ROW_BY_USER, tags)]
            confirming = {row.service for row in rows if row.confirmed_by is not None}
            found = {service: confirmations.read(connection, self._chain, service) for service in confirming}
        self._settle(rows)
        checked = self._checked_each(rows, [found.get(row.service, ()) for row in rows])
        by_tag = {row.user_tag: one for row, one in zip(rows, checked, strict=True)}
        return [next((by_tag[tag] for tag in user_tags if tag in by_tag), None) for user_tags in wanted]

    def confirmations(self, service: str) -> list[Confirmation]:
        """Return a service's confirmations. Read them before the registrations that they may cover, not after."""
        with self._database.reading() as connection:
            return confirmations.read(connection, self._chain, service)

    def every_confirmation(self) -> Iterator[tuple[Confirmation, bool]]:
        """Yield each confirmation and whether it is what was written, by ascending ids."""
        with self._database.reading() as connection:
            rows = confirmations.read_all(connection)
        return ((row, confirmations.BINDING.is_whole(self._chain, row)) for row in rows)

    def checked_each(
        self, rows: Sequence[RegistrationRow], found: Sequence[Confirmation]
    ) -> list[RegistrationRow | StoreDamaged]:
        """Return each row as these confirmations say, or that it is not what was written."""
        return self._checked_each(rows, [found] * len(rows))

    def checked(self, row: RegistrationRow, found: Sequence[Confirmation]) -> RegistrationRow:
        """Return the row as these confirmations say; StoreDamaged if it is not what was written."""
        return as_confirmed(checked(self._chain, row), found)

    def _checked_each(
        self, rows: Sequence[RegistrationRow], found: Sequence[Sequence[Confirmation]]
    ) -> list[RegistrationRow | StoreDamaged]:
        whole = WHOLE.are_whole(self._chain, rows)
        return [
            as_confirmed(row, of_row) if whole or WHOLE.is_whole(self._chain, row) else damage_of(row)
            for row, of_row in zip(rows, found, strict=True)
        ]

    def _settle(self, rows: Sequence[RegistrationRow]) -> None:
        """Wait until these rows are durable, before anybody is told of them: the next event after the one that stands
        in a row is of the transaction that wrote it."""
        self._database.settle_up_to(max((row.sequence + 1 for row in rows), default=0))

    def verifications_of(
        self, number_tags: Sequence[bytes], method: str, *, states: Sequence[int], now_us: int
    ) -> list[VerificationRow]:
        """Return the verifications of a number by a method that are in one of these states and not expired."""
        statement = verification_rows.ROWS.where(
            verifications.c.number_tag.in_(number_tags),
            verifications.c.state.in_(states),
            verifications.c.method == method,
            verifications.c.expires_at_us > now_us,
        )
        with self._database.reading() as connection:
            return list(map(VerificationRow._make, connection.execute(statement)))

    def sealed_records(self, registration_ids: Sequence[bytes]) -> list[SealedRow]:
        """Return what lies sealed of the registrations of these ids, as far as they are there and not erased."""
        with self._database.reading() as connection:
            return list(map(SealedRow._make, rows_where(connection, SEALED_BY_ID, registration_ids)))

    def page(
        self, service: str, which: Selection, *, after: tuple[int, bytes], within: PageBounds
    ) -> list[RegistrationRow]:
        """Return the next registrations of a service after a place, which is a due time and an id.

        They come in the order in which they were made; those that are selected by due time, in the order in which they
        are due. The last is the first with which more bytes lie sealed than a page has: no more are read.
        """
        due, made = registrations.c.due_at_us, registrations.c.registration_id
        by_due = which.due_before_us is not None
        behind = tuple_(due, made) > tuple_(*after) if by_due else made > after[1]
        statement = (
            ROWS.where(registrations.c.service == service, behind, *_conditions(which))
            .order_by(*((due, made) if by_due else (made,)))
            .limit(within.count_max)
        )
        return self._rows_within(statement, within.size_max)

    def numbers(
        self, service: str, *, state: int, due_before_us: int | None, after: bytes, count_max: int
    ) -> list[NumberRow]:
        """Return what bulk verification needs of the next registrations of a service in a state, as they were made."""
        return self._numbers(self._wanted(service, state, due_before_us), after, count_max)

    def every_number(self, states: Sequence[int], *, after: bytes, count_max: int) -> list[NumberRow]:
        """Return the same of the next registrations of all services that are in one of these states."""
        return self._numbers(registrations.c.state.in_(states), after, count_max)

    def _numbers(self, wanted: ColumnElement[bool], after: bytes, count_max: int) -> list[NumberRow]:
        statement = (
            NUMBERS.where(wanted, registrations.c.registration_id > after)
            .order_by(registrations.c.registration_id)
            .limit(count_max)
        )
        with self._database.reading() as connection:
            # As the driver has them: SQLAlchemy takes a third of the time to make rows of its own of them.
            cursor: Any = connection.execute(statement).cursor
            return list(map(NumberRow._make, cursor.fetchall()))

    def count(self, service: str, *, state: int, due_before_us: int | None, after: bytes) -> int:
        """Return how many registrations `numbers` would give, page after page."""
        wanted = self._wanted(service, state, due_before_us) & (registrations.c.registration_id > after)
        with self._database.reading() as connection:
            return int(connection.scalar(select(func.count()).select_from(registrations).where(wanted)) or 0)

    def counts(self, service: str, states: Sequence[int], *, due: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
        """Yield counts of a service's registrations, of some at a time: a state, how many are in it, and how many of
        them are due between these moments."""
        own, made = registrations.c.service == service, registrations.c.registration_id
        due_count = func.sum(case((registrations.c.due_at_us.between(*due), 1), else_=0))
        after: bytes | None = b""
        while after is not None:
            wanted = own & (made > after)
            last = select(made).where(wanted).order_by(made).offset(COUNTED_AT_ONCE - 1).limit(1)
            with self._database.reading() as connection:  # others read in between
                after = connection.scalar(last)
                some = wanted if after is None else wanted & (made <= after)
                state = registrations.c.state
                rows = connection.execute(select(state, func.count(), due_count).where(some).group_by(state)).all()
            yield from ((row[0], int(row[1]), int(row[2])) for row in rows if row[0] in states)

    @staticmethod
    def _wanted(service: str, state: int, due_before_us: int | None) -> ColumnElement[bool]:
        wanted = (registrations.c.service == service) & (registrations.c.state == state)
        return wanted if due_before_us is None else wanted & (registrations.c.due_at_us < due_before_us)

    def _rows_within(self, statement: Select[Any], size_max: int) -> list[RegistrationRow]:
        found: list[RegistrationRow] = []
        with self._database.reading() as connection:
            # As the driver has them: SQLAlchemy takes a third of the time to make rows of its own of them.
            cursor: Any = connection.execute(statement).cursor
            while size_max >= 0 and (rows := cursor.fetchmany(ROWS_AT_ONCE)):
                for row in map(RegistrationRow._make, rows):
                    found.append(row)
                    size_max -= len(row.sealed_record or b"")
                    if size_max < 0:
                        break
        self._settle(found)
        return found

    def _rows(self, statement: Select[Any]) -> list[RegistrationRow]:
        with self._database.reading() as connection:
            rows = list(map(RegistrationRow._make, connection.execute(statement)))
        self._settle(rows)
        return rows

    def every_registration(self) -> Iterator[tuple[RegistrationRow, bool]]:
        """Yield each registration and whether it is what was written, by ascending ids."""
        for row in self._every(ROWS, registrations.c.registration_id):
            registration = RegistrationRow._make(row)
            yield registration, WHOLE.is_whole(self._chain, registration)

    def every_verification(self) -> Iterator[tuple[VerificationRow, bool]]:
        """Yield each verification and whether it is what was written, by ascending ids."""
        for row in self._every(verification_rows.ROWS, verifications.c.verification_id):
            verification = VerificationRow._make(row)
            yield verification, verification_rows.BINDING.is_whole(self._chain, verification)

    def _every(self, statement: Select[Any], key: ColumnElement[bytes]) -> Iterator[Any]:
        """Yield every row, read by pages; its key is its first column."""
        after = b""
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(statement.where(key > after).order_by(key).limit(ROWS_AT_ONCE)).all()
            yield from rows
            if len(rows) < ROWS_AT_ONCE:
                return
            after = rows[-1][0]

    def under_other_keys(self, key_id: int, *, after: bytes, count_max: int) -> list[RegistrationRow]:
        """Return the next registrations that lie under another key, erased ones as well, as they were made."""
        statement = (
            ROWS.where(registrations.c.key_id != key_id)
            .where(registrations.c.registration_id > after)
            .order_by(registrations.c.registration_id)
            .limit(count_max)
        )
        return self._rows(statement)
