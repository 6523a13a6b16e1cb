"""Registrations as rows: what is written about one, in a transaction that calls share, and how they are found.

It knows nothing of what is sealed in a row, and of no rule: operations decide, through `RegistrationWork`, what becomes
of what they read. Every operation sees the others' writes: on an engine with many writers the chain's head, locked
first, makes them take turns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

import structlog
from sqlalchemy import ColumnElement, Connection, Select, case, delete, func, insert, select, tuple_, update

from numcheck.errors import StoreDamaged
from numcheck.steps import Step, Together
from numcheck.store import confirmations, identifications, imports, recorded, withdrawals
from numcheck.store.acts import LOCAL, Act, Acts
from numcheck.store.bindings import (
    CONTENT,
    GONE,
    Bound,
    RegistrationBinding,
    RowBinding,
    Written,
    rows_of,
)
from numcheck.store.bulk import (
    VALUES_PER_STATEMENT,
    change_each,
    fetch,
    insert_rows,
    insert_values,
    pieces,
    rows_at_once,
    rows_where,
    run,
)
from numcheck.store.confirmations import Confirmation, as_confirmed
from numcheck.store.data_bindings import check_data, told_of_all, told_of_revisions
from numcheck.store.database import Database, take_turn
from numcheck.store.events import Chain, EventAppender, EventLog
from numcheck.store.groups import GroupCommit, Operation
from numcheck.store.heads import check_operator
from numcheck.store.identifications import Sent
from numcheck.store.imports import ImportProgress, NewRegistrations, RefusedRow
from numcheck.store.registration_rows import (
    Asked,
    NumberRow,
    RegistrationRow,
    RequestRow,
    SealedRow,
    SendRow,
    Standing,
    TryRow,
    VerificationRow,
)
from numcheck.store.schema import (
    assertions,
    code_sends,
    code_tries,
    key_checks,
    recorded_withdrawals,
    registrations,
    requests,
    trusted_time,
    verifications,
)
from numcheck.store.schema import withdrawals as withdrawn_rows
from numcheck.store.withdrawals import Cause, Withdrawn, WithdrawnChunk

log = structlog.get_logger()

COUNTED_AT_ONCE = 20_000
ROWS_AT_ONCE = 50  # that are read of a page: 1 MiB, if each is as large as it may be

T = TypeVar("T")
S = TypeVar("S", RegistrationRow, Standing)


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
ROWS = select(*(registrations.c[name] for name in RegistrationRow._fields))
NUMBERS = select(*(registrations.c[name] for name in NumberRow._fields))
VERIFICATIONS = select(*(verifications.c[name] for name in VerificationRow._fields))
ANY = select(registrations.c.registration_id).limit(1)
ID_BY_NUMBER = "SELECT number_tag, registration_id FROM registrations WHERE number_tag IN"
STANDING_BY_ID = f"SELECT {', '.join(Standing._fields)} FROM registrations WHERE registration_id IN"
STAND_EACH = (
    "UPDATE registrations SET sequence = ?, mac = changed.column2, state = CAST(changed.column3 AS INTEGER), "
    "evidence = CAST(changed.column4 AS VARCHAR), confirmed_by = CAST(changed.column5 AS INTEGER) "
    "FROM ({values}) AS changed WHERE registration_id = changed.column1"
)
WAITING_BY_REGISTRATION = (
    f"SELECT {', '.join(VerificationRow._fields)} FROM verifications WHERE state = 1 AND registration_id IN"
)
END_EACH = (
    "UPDATE verifications SET state = ?, mac = changed.column2 FROM ({values}) AS changed "
    "WHERE verification_id = changed.column1"
)
SEALED_BY_ID = (
    "SELECT registration_id, key_id, sealed_record FROM registrations "
    "WHERE sealed_record IS NOT NULL AND registration_id IN"
)
ROW_BY_USER = f"SELECT {', '.join(RegistrationRow._fields)} FROM registrations WHERE user_tag IN"
ROW_BY_ID = f"SELECT {', '.join(RegistrationRow._fields)} FROM registrations WHERE registration_id = ?"
# By the number alone: by the service SQLite would look through everything that it has.
VERIFIED_ON_NUMBER = (
    f"SELECT {', '.join(RegistrationRow._fields)} FROM registrations "
    f"WHERE state = {identifications.VERIFIED} AND number_tag IN"
)
REQUEST = f"SELECT {', '.join(RequestRow._fields)} FROM requests WHERE request_tag IN ?"
VERIFICATION_BY_ID = f"SELECT {', '.join(VerificationRow._fields)} FROM verifications WHERE verification_id = ?"
CHANGE_VERIFICATION = (
    "UPDATE verifications SET state = ?, tries = ?, given = ?, channel = ?, sealed_change = ?, mac = ? "
    "WHERE verification_id = ?"
)
ASSERTION = "SELECT 1 FROM assertions WHERE assertion_tag IN ?"
WRONG_TRIES = (
    "SELECT coalesce(sum(CASE WHEN network_tag IN ? THEN 1 ELSE 0 END), 0), "
    "coalesce(sum(CASE WHEN user_tag IN ? THEN 1 ELSE 0 END), 0) FROM code_tries "
    "WHERE number_tag IN ? AND service = ? AND at_us > ? AND wrong"
)
INSERT_TRY = (
    "INSERT INTO code_tries (service, number_tag, user_tag, network_tag, at_us, wrong) VALUES (?, ?, ?, ?, ?, ?) "
    "RETURNING try_id"
)
# Of all services: by one of them SQLite would look through everything that it has sent.
SENDS_TO_NUMBER = (
    "SELECT at_us, user_tag, network_tag, service FROM code_sends WHERE number_tag IN ? AND at_us > ? ORDER BY at_us"
)
SENDS_SINCE = "SELECT at_us FROM code_sends WHERE at_us > ?"
OUTCOMES = "SELECT completed FROM code_sends WHERE service = ? AND at_us <= ? ORDER BY at_us DESC LIMIT ?"
COMPLETED_BY_ID = "SELECT verification_id, completed FROM code_sends WHERE verification_id IN"
REVISION = "SELECT revision FROM installation"
KNOWN_USERS = "SELECT user_tag FROM registrations WHERE user_tag IN"

WHOLE = RegistrationBinding(RegistrationRow._fields)
STOOD = RegistrationBinding(Standing._fields)
VERIFICATION_BINDING = RowBinding(verifications, VerificationRow._fields)


class RegistrationWork:
    """One transaction. `write_count` rises with every write.

    Rows of registrations and verifications are read only as they were written, StoreDamaged otherwise, and the closing
    event of the transaction binds those that it wrote.
    """

    def __init__(self, connection: Connection, chain: Chain) -> None:
        self._connection, self._chain = connection, chain
        self._events = EventAppender(connection, chain)
        self._outbox = identifications.Outbox(connection)
        self._new: dict[bytes, RegistrationRow] = {}  # by user tag, to be inserted with the transaction's others
        self._unknown: set[bytes] = set()  # tags of users who have no registration
        # Read once: what is withdrawn later finds what is written here.
        self._newest_withdrawal: int | None = None
        self._revision: int | None = None
        self._any_withdrawals: bool | None = None
        self._confirmations: dict[str, list[Confirmation]] = {}  # by service, as they were before this transaction
        self._written = Written()
        self._followed: set[int] = set()  # revisions of which withdrawn numbers are done
        self.write_count = 0
        self.services: set[str] = set()  # that have events in this transaction
        self.damaged: set[bytes] = set()  # registrations that an operation on many has left alone

    # --- keys

    def keep_key_check(self, key_id: int, check_value: bytes) -> None:
        """Keep what tells a key again."""
        self.write_count += 1
        self._connection.execute(insert(key_checks).values(key_id=key_id, check_value=check_value))

    def drop_key_checks(self, *, but: int) -> None:
        """Forget every key but one."""
        self.write_count += 1
        self._connection.execute(delete(key_checks).where(key_checks.c.key_id != but))

    def key_checks(self) -> dict[int, bytes]:
        """Return what tells each key that is in use, by its id."""
        return read_key_checks(self._connection)

    # --- registrations

    def look_ahead(self, user_tags: Sequence[bytes]) -> None:
        """Look for all the users whom operations will ask for at once: most often there is none of them yet."""
        self._unknown.update(user_tags)
        self._unknown.difference_update(tag for (tag,) in rows_where(self._connection, KNOWN_USERS, user_tags))

    def find(self, user_tags: Sequence[bytes]) -> RegistrationRow | None:
        """Return the registration of a user, under whichever of its tags."""
        for tag in user_tags:
            if tag in self._new:
                return self._new[tag]
        if self._unknown.issuperset(user_tags):
            return None
        return self._checked(try_find(self._connection, user_tags))

    def get(self, registration_id: bytes) -> RegistrationRow | None:
        """Return the registration of that id."""
        self._flush_new()
        found = fetch(self._connection, ROW_BY_ID, registration_id)
        return self._checked(RegistrationRow._make(found[0]) if found else None)

    def verified_on(self, service: str, number_tags: Sequence[bytes]) -> list[RegistrationRow]:
        """Return the VERIFIED registrations of a service on any of these numbers; a damaged one is left out."""
        self._flush_new()
        rows = map(RegistrationRow._make, rows_where(self._connection, VERIFIED_ON_NUMBER, number_tags))
        own = [row for row in rows if row.service == service]
        damaged = {row.registration_id for row in own if not WHOLE.is_whole(self._chain, row)}
        self.damaged |= damaged
        return [self._as_confirmed(row) for row in own if row.registration_id not in damaged]

    def _checked(self, row: RegistrationRow | None) -> RegistrationRow | None:
        """Return the row as it is confirmed by now; StoreDamaged if it is not what was written."""
        return None if row is None else self._as_confirmed(checked(self._chain, row))

    def _as_confirmed(self, row: S) -> S:
        if row.confirmed_by is None:
            return row
        if row.service not in self._confirmations:
            self._confirmations[row.service] = confirmations.read(self._connection, self._chain, row.service)
        return as_confirmed(row, self._confirmations[row.service])

    def try_get(self, registration_id: bytes) -> RegistrationRow | None:
        """Return the registration of that id; None also if it is not what was written."""
        try:
            return self.get(registration_id)
        except StoreDamaged:
            self.damaged.add(registration_id)
            return None

    def awaited(self, now_us: int, *, count_max: int) -> list[RegistrationRow]:
        """Return the registrations that time has something to do to by now, the longest waiting first.

        A damaged row is left out, and waits for nothing any more.
        """
        self._flush_new()
        due = registrations.c.next_at_us <= now_us
        statement = ROWS.where(due).order_by(registrations.c.next_at_us).limit(count_max)
        rows = list(map(RegistrationRow._make, self._connection.execute(statement)))
        damaged = [row.registration_id for row in rows if not WHOLE.is_whole(self._chain, row)]
        for registration_id in damaged:
            self.await_nothing(registration_id)
        self.damaged.update(damaged)
        return [self._as_confirmed(row) for row in rows if row.registration_id not in damaged]

    def await_nothing(self, registration_id: bytes) -> None:
        """Take a registration out of the index of what time has something to do to."""
        self.write_count += 1
        self._connection.execute(update(registrations).where(_is(registration_id)).values(next_at_us=None))

    def trust_time(self, at_us: int) -> None:
        """Keep the time that due times are judged by."""
        self.write_count += 1
        if not self._connection.execute(update(trusted_time).values(at_us=at_us)).rowcount:
            self._connection.execute(insert(trusted_time).values(id=1, at_us=at_us))

    def standings(self, registration_ids: Sequence[bytes], *, states: Sequence[int]) -> list[Standing]:
        """Return where those of the registrations stand that are in one of these states, as they were written."""
        self._flush_new()
        rows = map(Standing._make, rows_where(self._connection, STANDING_BY_ID, registration_ids))
        return [self._as_confirmed(row) for row in rows if row.state in states and self._stood(row)]

    def _stood(self, row: Standing) -> bool:
        whole = STOOD.is_whole(self._chain, row)
        if not whole:
            self.damaged.add(row.registration_id)
        return whole

    def move_many(self, rows: Sequence[Standing], *, state: int) -> list[Standing]:
        """Put registrations into another state in which time does nothing to them; where they stand then.

        That time does nothing is found out when it comes: to take each out of the index of next times at once would be
        a third of the pages to write.
        """
        return self._stand(rows, state=state)

    def set_evidence(self, rows: Sequence[Standing], evidence: str, confirmed_by: int) -> None:
        """Keep one evidence for many registrations."""
        self._stand(rows, evidence=evidence, confirmed_by=confirmed_by)

    def keep_evidence(self, rows: Sequence[Standing]) -> None:
        """Keep the evidence that registrations have by now, so that no confirmation of this transaction covers them."""
        self._stand(rows)

    def _stand(self, rows: Sequence[Standing], **changes: Any) -> list[Standing]:
        """Write where registrations stand that this transaction has read, with changes; return that."""
        if not rows:
            return []
        self.write_count += 1
        changes["sequence"] = self._events.first_sequence
        moved = [row._replace(**changes) for row in rows]
        values = [
            (row.registration_id, mac, row.state, row.evidence, row.confirmed_by)
            for row, mac in zip(moved, STOOD.macs(self._chain, moved), strict=True)
        ]
        change_each(self._connection, STAND_EACH, [changes["sequence"]], values)
        self._written.note_all(Bound.REGISTRATIONS, ((one[0], one[1]) for one in values))
        return moved

    # --- confirmations of many registrations

    def confirm(self, confirmation: Confirmation, at_us: int) -> None:
        """Write a confirmation, or what has become of it; those that it supersedes are removed."""
        self.write_count += 1
        self._events.at_us = at_us
        row = confirmation._replace(key_id=self._chain.newest_key_id)
        row = row._replace(mac=confirmations.BINDING.mac(self._chain, row))
        others = confirmations.read(self._connection, self._chain, row.service)
        self._remove_confirmations(
            [one for one in others if one.confirmation_id != row.confirmation_id and row.supersedes(one)]
        )
        confirmations.write(self._connection, row)
        self._written.note(Bound.CONFIRMATIONS, row.confirmation_id, row.mac)

    def remove_confirmations(self) -> None:
        """Remove every confirmation: nothing is left that they cover."""
        self._remove_confirmations(confirmations.read_all(self._connection))

    def _remove_confirmations(self, unwanted: Sequence[Confirmation]) -> None:
        if unwanted:
            self.write_count += 1
            confirmations.remove(self._connection, [one.confirmation_id for one in unwanted])
            self._written.note_all(Bound.CONFIRMATIONS, ((one.confirmation_id, GONE) for one in unwanted))

    # --- numbers that were taken from their operator

    def set_withdrawn_done(self, done: Withdrawn, at_us: int) -> bool:
        """Keep that these numbers are done; False if another node was first."""
        self.write_count += 1
        self._events.at_us = at_us
        is_first = withdrawals.set_done(self._connection, done)
        if is_first:
            self._followed.add(done.revision)
        return is_first

    def withdrawn_since(self, number: int, revision: int) -> int:
        """Return the newest change after a revision that took a number, or may have; 0 if none did."""
        if self._newest_withdrawal is None:
            self._newest_withdrawal = withdrawals.newest(self._connection)
        if revision >= self._newest_withdrawal:
            return 0
        return withdrawals.withdrawn_since(self._connection, number, revision)

    @property
    def revision(self) -> int:
        """The installation's revision: what was taken up to it was taken before this transaction."""
        if self._revision is None:
            ((self._revision,),) = fetch(self._connection, REVISION)
        return self._revision

    def try_waiting_withdrawal(self, number: int, revision: int) -> tuple[int, Cause] | None:
        """Return the newest change after a revision that took a number and has not been followed yet, and its cause."""
        if self._any_withdrawals is None:
            self._any_withdrawals = withdrawals.are_waiting(self._connection, bulk=True)
        return withdrawals.try_waiting(self._connection, number, revision) if self._any_withdrawals else None

    def insert(self, row: RegistrationRow) -> RegistrationRow:
        """Add a registration; the row with its digests."""
        self.write_count += 1
        if row.user_tag is None or row.user_tag in self._new:
            raise ValueError("a new registration has a user, who has no other")
        self._unknown.discard(row.user_tag)
        self._new[row.user_tag] = bound = self._bound(row, WHOLE.content(self._chain, row))
        return bound

    def replace(self, before: RegistrationRow, after: RegistrationRow) -> RegistrationRow:
        """Write what has changed of a registration that this transaction has read; the row with its digests."""
        names = [name for name, old, new in zip(after._fields, before, after, strict=True) if new != old]
        if not names:
            return after
        self._flush_new()
        self.write_count += 1
        self._unknown.discard(after.user_tag or b"")
        changed = not set(names).isdisjoint(CONTENT)
        after = self._bound(after, WHOLE.content(self._chain, after) if changed else after.content)
        # The evidence as well: what was read may have had it of a confirmation, which does not cover this row any more.
        written = sorted({*names, "evidence", "sequence", "content", "mac"})
        change = f"UPDATE registrations SET {', '.join(f'{name} = ?' for name in written)} WHERE registration_id = ?"
        run(self._connection, change, *(getattr(after, name) for name in written), before.registration_id)
        return after

    def _bound(self, row: RegistrationRow, content: bytes) -> RegistrationRow:
        """Return the row with its digests, of which the closing event tells the mac."""
        row = RegistrationRow._make((*row[:-4], self._events.first_sequence, row.reminded_of_us, content, b""))
        row = RegistrationRow._make((*row[:-1], WHOLE.mac(self._chain, row)))
        self._written.note(Bound.REGISTRATIONS, row.registration_id, row.mac)
        return row

    def append_event(
        self, at_us: int, service: str, registration_id: bytes, kind: str, state: int, details: str
    ) -> None:
        """Append an event to the chain."""
        self.write_count += 1
        self.services.add(service)
        self._events.append(at_us, service, registration_id, kind, state, details)

    def append_events(self, at_us: int, service: str, kind: str, told: Sequence[tuple[Standing, str]]) -> None:
        """Append an event about each of many registrations of a service, as it stands, with its details."""
        self.write_count += 1
        self.services.add(service)
        ids, states = [row.registration_id for row, _ in told], [row.state for row, _ in told]
        self._events.append_each(at_us, service, ids, repeat(kind), states, [details for _, details in told])

    def tells_operators_of(self, service: str) -> bool:
        """Return True if any operator is told of a service's users."""
        return self._outbox.concerns(service)

    def note_identification(self, row: RegistrationRow | Standing, at_us: int, *, anew: bool) -> None:
        """Note where a registration stands after an event, for the operators who are told of it (E.4); `anew` if the
        event identified its user."""
        self._outbox.note(row, at_us, anew=anew)

    def forget_identifications(self, *, before_us: int) -> None:
        """Forget what operators were told of and ended before a moment."""
        self.write_count += 1
        identifications.forget(self._connection, before_us=before_us)

    def seal_identifications(self, rows: Sequence[Sent]) -> None:
        """Write the sealed numbers of what operators are told, and their keys."""
        self.write_count += 1
        identifications.seal_anew(self._connection, rows)

    def tell_act(self, act: Act, by: str, at_us: int, **details: Any) -> None:
        """Append an act of administration to the chain."""
        self.write_count += 1
        self._events.append(at_us, "", b"", act.value, 0, Acts.details(by, **details))

    def check_data(self) -> None:
        """Raise EventsAltered unless the operators' data is what the acts have left."""
        check_data(self._connection, self._chain)

    def bind_data(self, by: str, at_us: int) -> None:
        """Tell the operators' data that there is, under the newest key."""
        for told in told_of_all(self._connection, self._chain):
            self.tell_act(Act.DATA_BOUND, by, at_us, **told)

    def flush(self) -> None:
        """Write what was put off."""
        self._flush_new()
        self._outbox.flush()
        for told in told_of_revisions(self._connection, self._chain, withdrawn_rows, self._followed):
            self.tell_act(Act.WITHDRAWALS_FOLLOWED, LOCAL, self._events.at_us, **told)
        self._followed.clear()
        self._events.bind(self._written)
        self._events.flush()

    def _flush_new(self) -> None:
        if self._new:
            insert_rows(self._connection, registrations, list(self._new.values()))
            self._new.clear()

    # --- imports

    def import_progress(self, import_tags: Sequence[bytes]) -> tuple[bytes, ImportProgress]:
        """Return how far an import has come, and the tag that it is under."""
        return imports.read_progress(self._connection, import_tags)

    def keep_import(
        self, import_tag: bytes, progress: ImportProgress, refused: Sequence[RefusedRow], at_us: int
    ) -> None:
        """Keep how far an import has come, and which rows were refused on the way."""
        self.write_count += 1
        imports.write_progress(self._connection, import_tag, progress, at_us)
        imports.write_refused(self._connection, import_tag, refused)

    def requests_of(self, user_tags: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """Return the tag of the request that made each registration of these users, by the user's tag."""
        self._flush_new()
        return imports.requests_of(self._connection, user_tags)

    def insert_each(self, new: NewRegistrations, at_us: int) -> None:
        """Add registrations of a service whose users have none, each with its event."""
        if not new.kinds:
            return
        self.write_count += 1
        self.services.add(new.service)
        columns = new.bound(self._chain, self._events.first_sequence)
        rows = list(rows_of(columns, RegistrationRow._fields))
        ids, states = new.columns["registration_id"], new.columns["state"]
        self._events.append_each(at_us, new.service, ids, new.kinds, states, new.details)
        if self._outbox.concerns(new.service):
            for row in map(RegistrationRow._make, rows):
                self._outbox.note(row, at_us, anew=True)
        self._written.note_all(Bound.REGISTRATIONS, rows_of(columns, ("registration_id", "mac")))
        self._unknown.difference_update(new.columns["user_tag"])
        insert_values(self._connection, registrations, RegistrationRow._fields, rows, at_once=rows_at_once(len(rows)))
        self._events.flush_rows()

    # --- verifications

    def verification(self, verification_id: bytes) -> VerificationRow | None:
        """Return the verification of that id."""
        found = fetch(self._connection, VERIFICATION_BY_ID, verification_id)
        return self._checked_verification(VerificationRow._make(found[0])) if found else None

    def _checked_verification(self, row: VerificationRow) -> VerificationRow:
        if not VERIFICATION_BINDING.is_whole(self._chain, row):
            raise StoreDamaged(f"verification {row.verification_id.hex()} is not what was written")
        return row

    def insert_verification(self, row: VerificationRow) -> None:
        """Add a verification."""
        self.write_count += 1
        insert_rows(self._connection, verifications, [self._bound_verification(row)])

    def _bound_verification(self, row: VerificationRow) -> VerificationRow:
        row = row._replace(mac=VERIFICATION_BINDING.mac(self._chain, row))
        self._written.note(Bound.VERIFICATIONS, row.verification_id, row.mac)
        return row

    def change_verification(self, row: VerificationRow) -> None:
        """Write a verification that this transaction has read, as it is now."""
        self.write_count += 1
        row = self._bound_verification(row)
        changed = (row.state, row.tries, row.given, row.channel, row.sealed_change, row.mac)
        run(self._connection, CHANGE_VERIFICATION, *changed, row.verification_id)

    def end_verifications_of(self, begun_before: Mapping[bytes, int], ended: int, *, changes: bool = True) -> None:
        """End the verifications under way of these registrations that began before a revision each; without `changes`,
        only those of the numbers that they have.

        A damaged row is left alone, and proves nothing to anybody.
        """
        found = map(VerificationRow._make, rows_where(self._connection, WAITING_BY_REGISTRATION, list(begun_before)))
        wanted = (row for row in found if changes or row.sealed_change is None)
        before = (row for row in wanted if row.as_of_revision < begun_before[row.registration_id])
        rows = [row for row in before if VERIFICATION_BINDING.is_whole(self._chain, row)]
        if rows:
            self.write_count += 1
            moved = [self._bound_verification(row._replace(state=ended)) for row in rows]
            change_each(self._connection, END_EACH, [ended], [(row.verification_id, row.mac) for row in moved])

    def set_verification(self, verification_id: bytes, *, from_state: int, to_state: int) -> bool:
        """Move a verification from one state to another; whether it was there."""
        row = self.verification(verification_id)
        if row is None or row.state != from_state:
            return False
        self.change_verification(row._replace(state=to_state))
        return True

    def take_try(self, verification_id: bytes, *, tries_max: int, now_us: int) -> bool:
        """Count a try if the verification waits and has one left. Transactions that write take turns."""
        row = self.verification(verification_id)
        if row is None or row.state != WAITING or row.tries >= tries_max or row.expires_at_us <= now_us:
            return False
        self.change_verification(row._replace(tries=row.tries + 1))
        return True

    def take_assertion(self, assertion_tags: Sequence[bytes], at_us: int) -> bool:
        """Keep that an assertion was used, under the first of its tags; False if it was before, under any."""
        self.write_count += 1
        if fetch(self._connection, ASSERTION, list(assertion_tags)):
            return False
        run(self._connection, "INSERT INTO assertions (assertion_tag, at_us) VALUES (?, ?)", assertion_tags[0], at_us)
        return True

    def request(self, request_tags: Sequence[bytes]) -> RequestRow | None:
        """Return the request under any of its tags; None if it was not made before."""
        found = fetch(self._connection, REQUEST, list(request_tags))
        return RequestRow._make(found[0]) if found else None

    def insert_request(self, row: RequestRow) -> None:
        """Note a request."""
        self.write_count += 1
        insert_rows(self._connection, requests, [row])

    def set_request_problem(self, request_tag: bytes, problem: str) -> None:
        """Note why no code of a request was sent."""
        self.write_count += 1
        run(self._connection, "UPDATE requests SET problem = ? WHERE request_tag = ?", problem, request_tag)

    # --- tries and sends

    def wrong_tries(
        self,
        service: str,
        number_tags: Sequence[bytes],
        network_tags: Sequence[bytes],
        user_tags: Sequence[bytes],
        *,
        since_us: int,
    ) -> tuple[int, int]:
        """Return how many wrong tries at a number there were in a service: from a network, and of a user.

        Those that were not compared yet count.
        """
        values = list(network_tags), list(user_tags), list(number_tags), service, since_us
        ((of_network, of_user),) = fetch(self._connection, WRONG_TRIES, *values)
        return int(of_network), int(of_user)

    def insert_try(self, row: TryRow) -> int:
        """Count a try as wrong; its id."""
        self.write_count += 1
        ((try_id,),) = fetch(self._connection, INSERT_TRY, *row, True)
        return int(try_id)

    def clear_try(self, try_id: int) -> None:
        """Note that the try was right."""
        self.write_count += 1
        run(self._connection, "UPDATE code_tries SET wrong = ? WHERE try_id = ?", False, try_id)

    def sends_to_number(self, service: str, number_tags: Sequence[bytes], *, since_us: int) -> list[Asked]:
        """Return when a service sent codes to a number, ascending, and who had asked for each."""
        rows = fetch(self._connection, SENDS_TO_NUMBER, list(number_tags), since_us)
        return [Asked._make(row[:-1]) for row in rows if row[-1] == service]

    def nth_send(self, nth: int, *, since_us: int, **wanted: str | Sequence[bytes]) -> int | None:
        """Return when the n-th newest code after a moment was sent, of those with these values in their columns, or one
        of these; None: there are fewer."""
        conditions = "".join(f" AND {name} {'=' if isinstance(one, str) else 'IN'} ?" for name, one in wanted.items())
        selection = f"{SENDS_SINCE}{conditions} ORDER BY at_us DESC LIMIT 1 OFFSET ?"
        values = (one if isinstance(one, str) else list(one) for one in wanted.values())
        found = fetch(self._connection, selection, since_us, *values, nth - 1)
        return int(found[0][0]) if found else None

    def outcomes(self, service: str, *, before_us: int, count_max: int) -> list[bool]:
        """Return for each of a service's last codes before a moment whether it was completed, the newest first."""
        return [bool(one) for (one,) in fetch(self._connection, OUTCOMES, service, before_us, count_max)]

    def newest_send(self, service: str) -> int | None:
        """Return when a service's last code was sent."""
        ((newest,),) = fetch(self._connection, "SELECT max(at_us) FROM code_sends WHERE service = ?", service)
        return None if newest is None else int(newest)

    def insert_send(self, row: SendRow) -> None:
        """Record that a code is sent."""
        self.write_count += 1
        insert_rows(self._connection, code_sends, [row])

    def complete_send(self, verification_id: bytes) -> None:
        """Record that a code came back."""
        self.write_count += 1
        run(self._connection, "UPDATE code_sends SET completed = ? WHERE verification_id = ?", True, verification_id)

    def prune(self, *, before_us: int) -> None:
        """Remove what bounds verifications, and is of before a moment: ids begin with their times."""
        self.write_count += 1
        first_kept = ((before_us // 1_000) << 80).to_bytes(16, "big")
        imports.prune(self._connection, before_us=before_us)
        for table in (code_tries, assertions, requests):
            self._connection.execute(delete(table).where(table.c.at_us < before_us))
        self._connection.execute(delete(code_sends).where(code_sends.c.verification_id < first_kept))
        if self._connection.execute(delete(verifications).where(verifications.c.verification_id < first_kept)).rowcount:
            self._written.note_dropped(first_kept)

    def forget(self, registration_id: bytes) -> None:
        """Remove a registration's verifications: a part of its erasure. Rows that bound codes stay for their time."""
        self._forget(verifications.c.registration_id == registration_id)

    def forget_under_other_keys(self, key_id: int) -> None:
        """Remove the verifications that lie under any other key."""
        self._forget(verifications.c.key_id != key_id)

    def _forget(self, unwanted: ColumnElement[bool]) -> None:
        self.write_count += 1
        for verification_id in self._connection.scalars(select(verifications.c.verification_id).where(unwanted)).all():
            self._written.note(Bound.VERIFICATIONS, verification_id, GONE)
        self._connection.execute(delete(verifications).where(unwanted))


WAITING = 1
"""The state of a verification that waits for its user: the only one that the queries here know."""


class Registrations:
    """The registrations of an installation. Safe to ask from any thread."""

    def __init__(self, database: Database, chain: Chain) -> None:
        self._database, self._chain = database, chain
        self.events = EventLog(database)
        self._groups: GroupCommit[RegistrationWork] = GroupCommit(self._begin)
        self._followers: list[Callable[[set[str]], None]] = []

    def follow(self, tell: Callable[[set[str]], None]) -> None:
        """Call `tell` after each commit from now on, with the services that have events; it must return at once."""
        self._followers.append(tell)

    @contextmanager
    def _begin(self) -> Iterator[RegistrationWork]:
        with self._database.writing() as connection:
            work = RegistrationWork(connection, self._chain)
            yield work
        for registration_id in work.damaged:
            log.error("a registration is not what was written", registration_id=registration_id.hex())
        for tell in self._followers:
            tell(work.services)

    def write(self, operation: Callable[[RegistrationWork], T]) -> T:
        """Run an operation in a transaction that it may share; durable when this returns, nothing left if it raises."""
        return self._groups.run(operation)

    def writing(self, operation: Callable[[RegistrationWork], object], user_tags: Sequence[bytes] = ()) -> Step:
        """Return the step that is `write`, in one transaction with those of other calls.

        `user_tags` are those that the operation will find: those of a whole transaction are looked for together.
        """
        return Together(self._groups.run_each, Operation(operation, user_tags))

    def came_back(self, verification_ids: Sequence[bytes]) -> dict[bytes, bool]:
        """Return for each of these verifications whose code is still known whether that came back."""
        with self._database.reading() as connection:
            found = rows_where(connection, COMPLETED_BY_ID, verification_ids)
        return {bytes(verification_id): bool(completed) for verification_id, completed in found}

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
        with self._database.writing() as connection:
            dropped, revisions = withdrawals.drop(connection, before_us=before_us)
            if not revisions:
                return
            events = EventAppender(connection, self._chain)
            for told in told_of_revisions(connection, self._chain, withdrawn_rows, revisions):
                details = Acts.details(LOCAL, withdrawals_dropped=dropped, **told)
                events.append(at_us, "", b"", Act.WITHDRAWALS_DROPPED.value, 0, details)
            events.flush()

    def identified(self, operator_id: int, position: int, *, count_max: int) -> list[Sent]:
        """Return what an operator is told next behind a position; UnknownOperator if there is no such operator."""
        with self._database.reading() as connection:
            check_operator(connection, operator_id)
            return identifications.of_operator(connection, operator_id, position, count_max=count_max)

    @property
    def newest_identification(self) -> int:
        """The newest position of what operators are told; 0 before the first."""
        with self._database.reading() as connection:
            return identifications.newest_position(connection)

    def identifications_under_other_keys(self, key_id: int, *, after: int, count_max: int) -> list[Sent]:
        """Return the next of what operators are told, behind a position, whose number lies under another key."""
        with self._database.reading() as connection:
            return identifications.under_other_keys(connection, key_id, after, count_max=count_max)

    def tidy_record(self, *, kept_since_us: int, joined_before_us: int, at_us: int) -> None:
        """Tidy the record of withdrawals, a piece a transaction, and tell so; a transaction of its own, for the same
        reason."""
        more = True
        while more:
            with self._database.writing() as connection:
                take_turn(connection)
                done = recorded.tidy(connection, kept_since_us=kept_since_us, joined_before_us=joined_before_us)
                if not done.anything:
                    return
                more, events = done.more, EventAppender(connection, self._chain)
                macs = list(told_of_revisions(connection, self._chain, recorded_withdrawals, done.revisions))
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
            return imports.read_progress(connection, import_tags)

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

    def verifications_of(
        self, number_tags: Sequence[bytes], method: str, *, states: Sequence[int], now_us: int
    ) -> list[VerificationRow]:
        """Return the verifications of a number by a method that are in one of these states and not expired."""
        statement = VERIFICATIONS.where(
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
        return found

    def _rows(self, statement: Select[Any]) -> list[RegistrationRow]:
        with self._database.reading() as connection:
            return list(map(RegistrationRow._make, connection.execute(statement)))

    def every_registration(self) -> Iterator[tuple[RegistrationRow, bool]]:
        """Yield each registration and whether it is what was written, by ascending ids."""
        for row in self._every(ROWS, registrations.c.registration_id):
            registration = RegistrationRow._make(row)
            yield registration, WHOLE.is_whole(self._chain, registration)

    def every_verification(self) -> Iterator[tuple[VerificationRow, bool]]:
        """Yield each verification and whether it is what was written, by ascending ids."""
        for row in self._every(VERIFICATIONS, verifications.c.verification_id):
            verification = VerificationRow._make(row)
            yield verification, VERIFICATION_BINDING.is_whole(self._chain, verification)

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


def checked(chain: Chain, row: RegistrationRow) -> RegistrationRow:
    """Return the row; StoreDamaged if it is not what was written."""
    if not WHOLE.is_whole(chain, row):
        raise damage_of(row)
    return row


def damage_of(row: RegistrationRow) -> StoreDamaged:
    """Return the error of a row that is not what was written."""
    registration_id = row.registration_id.hex()
    return StoreDamaged(f"registration {registration_id} is not what was written", registration_id=registration_id)


def are_any(connection: Connection) -> bool:
    """Return True if there is any registration."""
    return connection.scalar(ANY) is not None


def read_key_checks(connection: Connection) -> dict[int, bytes]:
    """Return what tells each key that is in use, by its id."""
    rows = connection.execute(select(key_checks.c.key_id, key_checks.c.check_value))
    return {row.key_id: row.check_value for row in rows}


def try_find(connection: Connection, user_tags: Sequence[bytes]) -> RegistrationRow | None:
    """Return the registration of a user, or None."""
    found = fetch(connection, f"{ROW_BY_USER} ?", list(user_tags))
    return RegistrationRow._make(found[0]) if found else None


def _is(registration_id: bytes) -> ColumnElement[bool]:
    return registrations.c.registration_id == registration_id
