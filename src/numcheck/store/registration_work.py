"""Registrations as rows: one transaction that operations on them share.

It knows nothing of what is sealed in a row, and of no rule: operations decide, through `RegistrationWork`, what becomes
of what they read. Every operation sees the others' writes: on an engine with many writers the chain's head, locked
first, makes them take turns.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from numcheck.errors import StoreDamaged
from numcheck.store import confirmations, identifications, imports, leases, sends, withdrawals
from numcheck.store import verifications as verification_rows
from numcheck.store.acts import LOCAL, Act, Acts
from numcheck.store.bindings import (
    CONTENT,
    GONE,
    Bound,
    RegistrationBinding,
    Written,
    rows_of,
)
from numcheck.store.bulk import (
    change_each,
    fetch,
    insert_values,
    rows_at_once,
    rows_where,
    run,
    write_each,
)
from numcheck.store.confirmations import Confirmation, as_confirmed
from numcheck.store.data_bindings import binding_of_all, binding_of_revisions, check_data
from numcheck.store.events import Chain, EventAppender
from numcheck.store.identifications import Sent
from numcheck.store.imports import ImportProgress, NewRegistrations, RefusedRow
from numcheck.store.leases import Lease
from numcheck.store.registration_rows import (
    RegistrationRow,
    Standing,
)
from numcheck.store.schema import (
    key_checks,
    registrations,
    trusted_time,
)
from numcheck.store.schema import withdrawals as withdrawn_rows
from numcheck.store.sends import CodeTags
from numcheck.store.withdrawals import Cause, Withdrawn

S = TypeVar("S", RegistrationRow, Standing)

# Made once: to make a statement takes as long as to run it.
ROWS = select(*(registrations.c[name] for name in RegistrationRow._fields))
ANY = select(registrations.c.registration_id).limit(1)
STANDING_BY_ID = f"SELECT {', '.join(Standing._fields)} FROM registrations WHERE registration_id IN"
STAND_EACH = (
    "UPDATE registrations SET sequence = ?, mac = changed.column2, state = CAST(changed.column3 AS INTEGER), "
    "evidence = CAST(changed.column4 AS VARCHAR), confirmed_by = CAST(changed.column5 AS INTEGER) "
    "FROM ({values}) AS changed WHERE registration_id = changed.column1"
)
AWAIT_NOTHING = "UPDATE registrations SET next_at_us = NULL WHERE registration_id IN ?"
STANDS = ("registration_id", "mac", "state", "evidence", "confirmed_by")  # the values of each
ROW_BY_USER = f"SELECT {', '.join(RegistrationRow._fields)} FROM registrations WHERE user_tag IN"
ROW_BY_ID = f"SELECT {', '.join(RegistrationRow._fields)} FROM registrations WHERE registration_id IN"
# By the number alone: by the service SQLite would look through everything that it has.
VERIFIED_ON_NUMBER = (
    f"SELECT {', '.join(RegistrationRow._fields)} FROM registrations "
    f"WHERE state = {identifications.VERIFIED} AND number_tag IN"
)
REVISION = "SELECT revision FROM installation"

WHOLE = RegistrationBinding(RegistrationRow._fields)
STOOD = RegistrationBinding(Standing._fields)
STATE = Standing._fields.index("state")
CONTENT_NAMES = frozenset(CONTENT)
# The evidence as well: what was read may have had it of a confirmation, which does not cover this row any more.
ALWAYS_WRITTEN = {"evidence", "sequence", "content", "mac"}


class Needs(NamedTuple):
    """The rows that an operation needs, as far as they are known before it: the registration of a user and the limits
    of a code for it, or a verification, its registration, the wrong tries at its number and those VERIFIED on that."""

    user_tags: Sequence[bytes] = ()
    code: CodeTags | None = None
    verification_id: bytes = b""
    tries: bool = False
    holders: bool = False


class RegistrationWork:
    """One transaction. `write_count` rises with every write.

    Rows are read only as they were written, StoreDamaged otherwise, and the closing event of the transaction binds
    those that it wrote. `verifications` and `sends` are its other parts.
    """

    def __init__(self, connection: Connection, chain: Chain) -> None:
        self._connection, self._chain = connection, chain
        self._events = EventAppender(connection, chain)
        self._outbox = identifications.Outbox(connection)
        self._new: dict[bytes, RegistrationRow] = {}  # by user tag, to be inserted with the transaction's others
        self._changed: dict[bytes, tuple[set[str], RegistrationRow]] = {}  # what is to be written of rows, by their ids
        self._known: dict[bytes, RegistrationRow] = {}  # as they are now
        self._ids: dict[bytes, bytes] = {}  # of registrations that are known, by user tag
        self._unknown: set[bytes] = set()  # tags of users who have no registration
        self._holders: dict[bytes, list[RegistrationRow]] = {}  # who is VERIFIED on a number, by its tag; unchecked
        # Read once: what is withdrawn later finds what is written here.
        self._newest_withdrawal: int | None = None
        self._revision: int | None = None
        self._any_withdrawals: bool | None = None
        self._confirmations: dict[str, list[Confirmation]] = {}  # by service, as they were before this transaction
        self._written = Written()
        self._followed: set[int] = set()  # revisions of which withdrawn numbers are done
        self.verifications = verification_rows.Verifications(connection, chain, self._written)
        self.sends = sends.Sends(connection, self._written)
        self.services: set[str] = set()  # that have events in this transaction
        self.damaged: set[bytes] = set()  # registrations that an operation on many has left alone

    @property
    def write_count(self) -> int:
        """Number of writes so far."""
        return self._written.count

    def check_lease(self, lease: Lease) -> None:
        """Raise LeaseLost unless a lease still is in that term; it stays so until the transaction ends."""
        leases.check(self._connection, lease)

    # --- keys

    def keep_key_check(self, key_id: int, check_value: bytes) -> None:
        """Keep what tells a key again."""
        self._written.count += 1
        self._connection.execute(insert(key_checks).values(key_id=key_id, check_value=check_value))

    def drop_key_checks(self, *, but: int) -> None:
        """Forget every key but one."""
        self._written.count += 1
        self._connection.execute(delete(key_checks).where(key_checks.c.key_id != but))

    def key_checks(self) -> dict[int, bytes]:
        """Return what tells each key that is in use, by its id."""
        return read_key_checks(self._connection)

    # --- registrations

    def look_ahead(self, needs: Sequence[Needs]) -> None:
        """Read at once what operations will ask for."""
        user_tags = [tag for one in needs for tag in one.user_tags]
        found = self._look_for(ROW_BY_USER, user_tags)
        self._unknown.update(set(user_tags).difference(row.user_tag or b"" for row in found))
        self.verifications.look_ahead_for_waiting([row.registration_id for row in found if row.verification_id])
        self.sends.look_ahead_for_codes([one.code for one in needs if one.code is not None])
        tags_of = {
            row.verification_id: (row.number_tag, row.registration_id)
            for row in self.verifications.look_ahead([one.verification_id for one in needs if one.verification_id])
        }
        self._look_for(ROW_BY_ID, list({registration_id for _, registration_id in tags_of.values()}))
        needs = [one for one in needs if one.verification_id in tags_of]
        self.sends.look_ahead_for_tries([tags_of[one.verification_id][0] for one in needs if one.tries])
        self._look_for_holders([tags_of[one.verification_id][0] for one in needs if one.holders])

    def _look_for(self, selection: str, values: Sequence[bytes]) -> list[RegistrationRow]:
        """Read registrations, and return them as they lie there; those that are what was written are known then."""
        found = list(map(RegistrationRow._make, rows_where(self._connection, selection, values)))
        whole, _ = WHOLE.separate(self._chain, found)
        for row in map(self._as_confirmed, whole):
            self._know(row)
        return found

    def _look_for_holders(self, number_tags: Sequence[bytes]) -> None:
        """Read who is VERIFIED on numbers."""
        self._holders.update((tag, []) for tag in number_tags)
        for row in map(RegistrationRow._make, rows_where(self._connection, VERIFIED_ON_NUMBER, number_tags)):
            self._holders[row.number_tag or b""].append(row)

    def _know(self, row: RegistrationRow) -> RegistrationRow:
        self._known[row.registration_id] = row
        if row.user_tag is not None:
            self._ids[row.user_tag] = row.registration_id
        return row

    def find(self, user_tags: Sequence[bytes]) -> RegistrationRow | None:
        """Return the registration of a user, under whichever of its tags."""
        for tag in user_tags:
            if tag in self._ids:
                return self._known[self._ids[tag]]
        if self._new.keys().isdisjoint(user_tags) and self._unknown.issuperset(user_tags):
            return None
        self._flush_rows()
        return self._checked(try_find(self._connection, user_tags))

    def get(self, registration_id: bytes) -> RegistrationRow | None:
        """Return the registration of that id."""
        if registration_id in self._known:
            return self._known[registration_id]
        self._flush_rows()
        found = rows_where(self._connection, ROW_BY_ID, [registration_id])
        return self._checked(RegistrationRow._make(found[0]) if found else None)

    def verified_on(self, service: str, number_tags: Sequence[bytes]) -> list[RegistrationRow]:
        """Return the VERIFIED registrations of a service on any of these numbers; a damaged one is left out."""
        if not self._holders.keys() >= set(number_tags):
            self._flush_rows()
            self._look_for_holders(number_tags)
        own = [row for tag in number_tags for row in self._holders[tag] if row.service == service]
        damaged = {row.registration_id for row in own if not WHOLE.is_whole(self._chain, row)}
        self.damaged |= damaged
        return [self._as_confirmed(row) for row in own if row.registration_id not in damaged]

    def _checked(self, row: RegistrationRow | None) -> RegistrationRow | None:
        """Return the row as it is confirmed by now; StoreDamaged if it is not what was written."""
        return None if row is None else self._know(self._as_confirmed(checked(self._chain, row)))

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
        self._flush_rows()
        due = registrations.c.next_at_us <= now_us
        statement = ROWS.where(due).order_by(registrations.c.next_at_us).limit(count_max)
        rows = list(map(RegistrationRow._make, self._connection.execute(statement)))
        damaged = [row.registration_id for row in rows if not WHOLE.is_whole(self._chain, row)]
        self.await_nothing(damaged)
        self.damaged.update(damaged)
        return [self._as_confirmed(row) for row in rows if row.registration_id not in damaged]

    def await_nothing(self, registration_ids: Sequence[bytes]) -> None:
        """Take registrations out of the index of what time has something to do to."""
        if registration_ids:
            self._written.count += 1
            self._forget_known()
            run(self._connection, AWAIT_NOTHING, list(registration_ids))

    def trust_time(self, at_us: int) -> None:
        """Keep the time that due times are judged by."""
        self._written.count += 1
        if not self._connection.execute(update(trusted_time).values(at_us=at_us)).rowcount:
            self._connection.execute(insert(trusted_time).values(id=1, at_us=at_us))

    def standings(self, registration_ids: Sequence[bytes], *, states: Sequence[int]) -> list[Standing]:
        """Return where those of the registrations stand that are in one of these states, as they were written."""
        self._flush_rows()
        rows = rows_where(self._connection, STANDING_BY_ID, registration_ids)
        whole, damaged = STOOD.separate(self._chain, [row for row in rows if row[STATE] in states])
        self.damaged.update(damaged)
        return [self._as_confirmed(row) for row in map(Standing._make, whole)]

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
        self._written.count += 1
        self._forget_known()
        sequence = self._events.first_sequence
        read: dict[str, Iterable[Any]] = dict(zip(Standing._fields, zip(*rows, strict=True), strict=True))
        columns = read | {name: repeat(value) for name, value in changes.items()} | {"sequence": repeat(sequence)}
        columns["mac"] = STOOD.macs(self._chain, list(rows_of(columns, Standing._fields)), columns["content"])
        change_each(self._connection, STAND_EACH, [sequence], list(rows_of(columns, STANDS)))
        self._written.note_all(Bound.REGISTRATIONS, rows_of(columns, ("registration_id", "mac")))
        return list(map(Standing._make, rows_of(columns, Standing._fields)))

    # --- confirmations of many registrations

    def confirm(self, confirmation: Confirmation, at_us: int) -> None:
        """Write a confirmation, or what has become of it; those that it supersedes are removed."""
        self._written.count += 1
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
            self._written.count += 1
            confirmations.remove(self._connection, [one.confirmation_id for one in unwanted])
            self._written.note_all(Bound.CONFIRMATIONS, ((one.confirmation_id, GONE) for one in unwanted))

    # --- numbers that were taken from their operator

    def set_withdrawn_done(self, done: Withdrawn, at_us: int) -> bool:
        """Keep that these numbers are done; False if another node was first."""
        self._written.count += 1
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

    def insert(self, row: RegistrationRow) -> None:
        """Add a registration, which begins after all that was taken up to now."""
        self._written.count += 1
        if row.user_tag is None or row.user_tag in self._new:
            raise ValueError("a new registration has a user, who has no other")
        self._unknown.discard(row.user_tag)
        self._holders.pop(row.number_tag or b"", None)
        self._new[row.user_tag] = row

    def replace(self, before: RegistrationRow, after: RegistrationRow) -> RegistrationRow:
        """Write what has changed of a registration that this transaction has read; the row with its digests."""
        names = [name for name, old, new in zip(after._fields, before, after, strict=True) if new != old]
        if not names:
            return after
        self._written.count += 1
        is_recorded_anew = not CONTENT_NAMES.isdisjoint(names)
        after = self._bound(after, WHOLE.content(self._chain, after) if is_recorded_anew else after.content)
        for row in (before, after):  # what was looked for of either may be another by now
            self._ids.pop(row.user_tag or b"", None)
            self._unknown.discard(row.user_tag or b"")
            self._holders.pop(row.number_tag or b"", None)
        earlier, _ = self._changed.get(after.registration_id, ((), after))
        self._changed[after.registration_id] = {*earlier, *names}, after
        return self._know(after)

    def _bound(self, row: RegistrationRow, content: bytes) -> RegistrationRow:
        """Return the row with its digests, of which the closing event tells the mac."""
        row = RegistrationRow._make((*row[:-3], self._events.first_sequence, content, b""))
        row = RegistrationRow._make((*row[:-1], WHOLE.mac(self._chain, row)))
        self._written.note(Bound.REGISTRATIONS, row.registration_id, row.mac)
        return row

    def append_event(
        self, at_us: int, service: str, registration_id: bytes, kind: str, state: int, details: str
    ) -> None:
        """Append an event to the chain."""
        self._written.count += 1
        self.services.add(service)
        self._events.append(at_us, service, registration_id, kind, state, details)

    def append_events(self, at_us: int, service: str, kind: str, told: Sequence[tuple[Standing, str]]) -> None:
        """Append an event about each of many registrations of a service, as it stands, with its details."""
        self._written.count += 1
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
        self._written.count += 1
        identifications.forget(self._connection, before_us=before_us)

    def seal_identifications(self, rows: Sequence[Sent]) -> None:
        """Write the sealed numbers of what operators are told, and their keys."""
        self._written.count += 1
        identifications.seal_anew(self._connection, rows)

    def record_act(self, act: Act, by: str, at_us: int, **details: Any) -> None:
        """Append an act of administration to the chain."""
        self._written.count += 1
        self._events.append(at_us, "", b"", act.value, 0, Acts.details(by, **details))

    def check_data(self) -> None:
        """Raise EventsAltered unless the operators' data is what the acts have left."""
        check_data(self._connection, self._chain)

    def bind_data(self, by: str, at_us: int) -> None:
        """Tell the operators' data that there is, under the newest key."""
        for told in binding_of_all(self._connection, self._chain):
            self.record_act(Act.DATA_BOUND, by, at_us, **told)

    def flush(self) -> None:
        """Write what was put off."""
        self._flush_rows()
        self.verifications.flush()
        self.sends.flush()
        self._outbox.flush()
        for told in binding_of_revisions(self._connection, self._chain, withdrawn_rows, self._followed):
            self.record_act(Act.WITHDRAWALS_FOLLOWED, LOCAL, self._events.at_us, **told)
        self._followed.clear()
        self._events.bind(self._written)
        self._events.flush()

    def _flush_rows(self) -> None:
        """Write the registrations that were put off: those that are new behind those that gave up their users."""
        self._flush_changed()
        self._flush_new()

    def _flush_changed(self) -> None:
        """Write what has changed, all that has changed in the same columns at once."""
        by_names = defaultdict[tuple[str, ...], list[RegistrationRow]](list)
        for names, row in self._changed.values():
            by_names["registration_id", *sorted(names | ALWAYS_WRITTEN)].append(row)
        for written, rows in by_names.items():
            write_each(self._connection, registrations, written, list(map(attrgetter(*written), rows)))
        self._changed.clear()

    def _flush_new(self) -> None:
        if not self._new:
            return
        rows = [(*row[:-4], self.revision, self._events.first_sequence) for row in self._new.values()]
        contents = WHOLE.contents(self._chain, rows)
        macs = WHOLE.macs(self._chain, rows, contents)
        bound = [(*row, content, mac) for row, content, mac in zip(rows, contents, macs, strict=True)]
        self._written.note_all(Bound.REGISTRATIONS, zip((row[0] for row in rows), macs, strict=True))
        insert_values(self._connection, registrations, RegistrationRow._fields, bound, at_once=rows_at_once(len(bound)))
        self._new.clear()

    def _forget_known(self) -> None:
        """Write what was put off, and read anew what is asked for from now on."""
        self._flush_rows()
        for known in (self._known, self._ids, self._holders):
            known.clear()

    # --- imports

    def import_progress(self, import_tags: Sequence[bytes]) -> tuple[bytes, ImportProgress]:
        """Return how far an import has come, and the tag that it is under."""
        return imports.read_progress(self._connection, import_tags)

    def keep_import(
        self, import_tag: bytes, progress: ImportProgress, refused: Sequence[RefusedRow], at_us: int
    ) -> None:
        """Keep how far an import has come, and which rows were refused on the way."""
        self._written.count += 1
        imports.write_progress(self._connection, import_tag, progress, at_us)
        imports.write_refused(self._connection, import_tag, refused)

    def requests_of(self, user_tags: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """Return the tag of the request that made each registration of these users, by the user's tag."""
        self._flush_rows()
        return imports.requests_of(self._connection, user_tags)

    def begin(self, row: RegistrationRow, told: Sequence[tuple[str, int, str]]) -> None:
        """Add a registration with its first events, at the moment of the row: the kind, state and details of each."""
        self.insert(row)
        self.services.add(row.service)
        self._events.append_about(row.registered_at_us, row.service, row.registration_id, told)
        self._outbox.note(row, row.registered_at_us, anew=True)

    def insert_each(self, new: NewRegistrations, at_us: int) -> None:
        """Add registrations of a service whose users have none, each with its event."""
        if not new.kinds:
            return
        self._written.count += 1
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
        self._forget_known()
        insert_values(self._connection, registrations, RegistrationRow._fields, rows, at_once=rows_at_once(len(rows)))
        self._events.flush_rows()

    def prune(self, *, before_us: int) -> None:
        """Remove what bounds imports, codes and verifications, and is of before a moment."""
        imports.prune(self._connection, before_us=before_us)
        self.sends.prune(before_us=before_us)
        self.verifications.prune(before_us=before_us)


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
