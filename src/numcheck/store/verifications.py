"""Verifications as rows: their states and tries, the assertions that they used up, and the requests that began them.

A part of the transaction of registrations, as `RegistrationWork.verifications`.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter

from sqlalchemy import ColumnElement, Connection, delete, select

from numcheck.errors import StoreDamaged
from numcheck.store.bindings import GONE, Bound, RowBinding, Written
from numcheck.store.bulk import fetch, insert_rows, rows_where, run, write_each
from numcheck.store.events import Chain
from numcheck.store.registration_rows import RequestRow, VerificationRow
from numcheck.store.schema import assertions, requests, verifications

WAITING = 1
"""The state of a verification that waits for its user: the only one that the queries here know."""

ROWS = select(*(verifications.c[name] for name in VerificationRow._fields))
BY_ID = f"SELECT {', '.join(VerificationRow._fields)} FROM verifications WHERE verification_id IN"
CHANGES = ("verification_id", "state", "tries", "given", "channel", "sealed_change", "mac")
WAITING_BY_REGISTRATION = (
    f"SELECT {', '.join(VerificationRow._fields)} FROM verifications WHERE state = {WAITING} AND registration_id IN"
)
REQUEST = f"SELECT {', '.join(RequestRow._fields)} FROM requests WHERE request_tag IN ?"
ASSERTION = "SELECT 1 FROM assertions WHERE assertion_tag IN ?"

BINDING = RowBinding(verifications, VerificationRow._fields)
CHANGED = attrgetter(*CHANGES)


class Verifications:
    """The verifications of one transaction.

    Rows are read only as they were written, StoreDamaged otherwise, and the transaction binds those that it wrote. What
    is written is put off until a statement has to find it, and the rows that were read or changed are known until then.
    """

    def __init__(self, connection: Connection, chain: Chain, written: Written) -> None:
        """Read and write by this connection, and note in `written` what was."""
        self._connection, self._chain, self._written = connection, chain, written
        self._new: list[VerificationRow] = []  # to be inserted with the transaction's others
        self._changed: dict[bytes, VerificationRow] = {}  # to be written with the transaction's others
        self._known: dict[bytes, VerificationRow] = {}  # as they are now, but for their macs
        self._waiting: dict[bytes, list[VerificationRow]] = {}  # by registration: all of it that wait, damaged ones too

    def look_ahead(self, verification_ids: Sequence[bytes]) -> list[VerificationRow]:
        """Read the verifications that operations will ask for; a damaged row is left out."""
        found = map(VerificationRow._make, rows_where(self._connection, BY_ID, verification_ids))
        rows = [row for row in found if BINDING.is_whole(self._chain, row)]
        self._known.update((row.verification_id, row) for row in rows)
        return rows

    def look_ahead_for_waiting(self, registration_ids: Sequence[bytes]) -> None:
        """Read the verifications under way of registrations of which operations will end them."""
        self._waiting.update((one, []) for one in registration_ids)
        for row in map(VerificationRow._make, rows_where(self._connection, WAITING_BY_REGISTRATION, registration_ids)):
            self._waiting[row.registration_id].append(row)

    def get(self, verification_id: bytes) -> VerificationRow | None:
        """Return the verification of that id."""
        if verification_id not in self._known:
            self.flush()
            found = rows_where(self._connection, BY_ID, [verification_id])
            if not found:
                return None
            self._known[verification_id] = self._checked(VerificationRow._make(found[0]))
        return self._known[verification_id]

    def _checked(self, row: VerificationRow) -> VerificationRow:
        if not BINDING.is_whole(self._chain, row):
            raise StoreDamaged(f"verification {row.verification_id.hex()} is not what was written")
        return row

    def insert(self, row: VerificationRow) -> None:
        """Add a verification."""
        self._written.count += 1
        self._new.append(row)
        self._waiting.pop(row.registration_id, None)

    def change(self, row: VerificationRow) -> None:
        """Write a verification that this transaction has read, as it is now."""
        self._written.count += 1
        self._known[row.verification_id] = self._changed[row.verification_id] = row
        self._waiting.pop(row.registration_id, None)

    def flush(self) -> None:
        """Write what was put off."""
        if self._new:
            insert_rows(self._connection, verifications, list(map(self._bound, self._new)))
            self._new.clear()
        if self._changed:
            rows = list(map(CHANGED, map(self._bound, self._changed.values())))
            write_each(self._connection, verifications, CHANGES, rows)
            self._changed.clear()

    def _bound(self, row: VerificationRow) -> VerificationRow:
        row = row._replace(mac=BINDING.mac(self._chain, row))
        self._written.note(Bound.VERIFICATIONS, row.verification_id, row.mac)
        return row

    def end_of(self, begun_before: Mapping[bytes, int], ended: int, *, changes: bool = True) -> None:
        """End the verifications under way of these registrations that began before a revision each; without `changes`,
        only those of the numbers that they have.

        A damaged row is left alone, and proves nothing to anybody.
        """
        if not self._waiting.keys() >= begun_before.keys():
            self.flush()
            self.look_ahead_for_waiting(list(begun_before))
        found = [row for registration_id in begun_before for row in self._waiting[registration_id]]
        wanted = (row for row in found if changes or row.sealed_change is None)
        for row in (row for row in wanted if row.as_of_revision < begun_before[row.registration_id]):
            if BINDING.is_whole(self._chain, row):
                self.change(row._replace(state=ended))

    def set_state(self, verification_id: bytes, *, from_state: int, to_state: int) -> bool:
        """Move a verification from one state to another; False if it was in another."""
        row = self.get(verification_id)
        if row is None or row.state != from_state:
            return False
        self.change(row._replace(state=to_state))
        return True

    def take_try(self, row: VerificationRow, *, tries_max: int, now_us: int) -> bool:
        """Count a try if a verification that this transaction has read waits and has one left. Transactions that write
        take turns."""
        if row.state != WAITING or row.tries >= tries_max or row.expires_at_us <= now_us:
            return False
        self.change(row._replace(tries=row.tries + 1))
        return True

    def take_assertion(self, assertion_tags: Sequence[bytes], at_us: int) -> bool:
        """Keep that an assertion was used, under the first of its tags; False if it was before, under any."""
        self._written.count += 1
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
        self._written.count += 1
        insert_rows(self._connection, requests, [row])

    def set_request_problem(self, request_tag: bytes, problem: str) -> None:
        """Note why no code of a request was sent."""
        self._written.count += 1
        run(self._connection, "UPDATE requests SET problem = ? WHERE request_tag = ?", problem, request_tag)

    def prune(self, *, before_us: int) -> None:
        """Remove verifications, assertions and requests of before a moment: ids begin with their times."""
        self._forget_known()
        self._written.count += 1
        for table in (assertions, requests):
            self._connection.execute(delete(table).where(table.c.at_us < before_us))
        first_kept = first_id_at(before_us)
        if self._connection.execute(delete(verifications).where(verifications.c.verification_id < first_kept)).rowcount:
            self._written.note_dropped(first_kept)

    def forget(self, registration_id: bytes) -> None:
        """Remove a registration's verifications: a part of its erasure. Rows that bound codes stay for their time."""
        self._forget(verifications.c.registration_id == registration_id)

    def forget_under_other_keys(self, key_id: int) -> None:
        """Remove the verifications that lie under any other key."""
        self._forget(verifications.c.key_id != key_id)

    def _forget(self, unwanted: ColumnElement[bool]) -> None:
        self._forget_known()
        self._written.count += 1
        for verification_id in self._connection.scalars(select(verifications.c.verification_id).where(unwanted)).all():
            self._written.note(Bound.VERIFICATIONS, verification_id, GONE)
        self._connection.execute(delete(verifications).where(unwanted))

    def _forget_known(self) -> None:
        """Write what was put off, and read anew what is asked for from now on."""
        self.flush()
        self._known.clear()
        self._waiting.clear()


def first_id_at(at_us: int) -> bytes:
    """Return the least id that a verification of a moment can have: ids begin with their times, in milliseconds."""
    return ((at_us // 1_000) << 80).to_bytes(16, "big")
