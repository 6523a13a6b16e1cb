"""Callers, their tokens and the agreements of services in the store; and the calls that were denied.

Invariants: a URI names one caller for ever: one that was revoked is never given to another; of a token only a keyed
hash is kept (its key is a file outside of the database), so that whoever reads the database can call nothing; a row of
a caller or an agreement has a MAC under a key outside of the database, and all of them together have a head: a
revision, raised by every transaction that changes the set, and a digest, under a MAC as well. The newest head that a
node has seen is its floor, outside of the database. So whoever writes to the database, or puts back what was in it, can
let in nobody: a set that is not the last one, whole, is refused until an administrator confirms it.
"""

import hashlib
import hmac
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, true, update

from numcheck.access import Caller, Role, check_caller
from numcheck.access.rules import check_service
from numcheck.errors import BadCaller, CallersRefused, StoreDamaged, UnknownCaller
from numcheck.moments import microseconds, moment
from numcheck.store import identifications as outbox
from numcheck.store.acts import LOCAL, Act, Acts
from numcheck.store.database import Database, take_turn
from numcheck.store.failures import again_if_undone
from numcheck.store.floor import Floor, FloorFile
from numcheck.store.heads import check_operator
from numcheck.store.schema import agreements, callers, callers_head, denials

DENIALS_KEPT = 10_000  # then the oldest go: who is denied again and again must not fill the disk
DENIALS_PER_CALLER_MAX = 100  # rows of a caller, and of an address: then its own oldest go, and nobody else's
NAME_LENGTH_MAX = 256  # characters that are kept of a name that a stranger shows


@dataclass(frozen=True, slots=True)
class KnownCaller:
    """A caller as the store has it. `token_tag` is the keyed hash of its token."""

    caller: Caller
    token_tag: bytes | None
    added_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Denial:
    """A call that was denied, `count` times: when last, to whom as far as they were known, from where, and what."""

    denied_at: datetime
    uri: str
    method: str
    reason: str
    count: int = 1
    address: str = ""


@dataclass(frozen=True, slots=True)
class CallerSet:
    """Every caller that ever was, by URI, and each service with each operator that it has an agreement with.

    `identifying` has those of them by which the operator is told whom the service identified (E.4).
    `damaged` names what has a row that is not as it was written; it is in neither list. `refused` says why the set
    may let in nobody; empty if it may. `revision` tells it from the sets before.
    """

    callers: list[KnownCaller]
    agreements: list[tuple[str, int]]
    damaged: list[str]
    refused: str = ""
    revision: int = 0
    identifying: Collection[tuple[str, int]] = ()


class _Head(NamedTuple):
    """The database's record of all rows together."""

    revision: int
    digest: bytes


class _Set(NamedTuple):
    """The callers and agreements in the database, read in one transaction."""

    rows: list[Row[Any]]
    agreed: list[Row[Any]]
    macs: dict[str, str]
    """Of the rows that are as they were written, by what they are about."""
    digest: bytes
    head: _Head | None
    floor: Floor | None
    refused: str

    @property
    def is_newest(self) -> bool:
        """True if the database says of this very set that it is newer than any that the node has seen."""
        return self.head is not None and self.head.digest == self.digest and self.head.revision > self._floor_revision

    @property
    def _floor_revision(self) -> int:
        return self.floor.revision if self.floor else 0

    @property
    def revision(self) -> int:
        """The highest revision that is known of."""
        return max(self.head.revision if self.head else 0, self._floor_revision)


class Callers:
    """The callers and agreements in the store of an installation. Methods may be called from any thread."""

    def __init__(self, database: Database, key: bytes, acts: Acts, data_dir: Path) -> None:
        """`key` makes the MACs; nodes that share a database have the same. Each change is told as an act.

        The floor is in `data_dir`, which every node has for its own.
        """
        self._database, self._key, self._acts = database, key, acts
        self._floor = FloorFile(data_dir, self._mac)

    @again_if_undone
    def add(self, caller: Caller, *, now: datetime, by: str = LOCAL) -> None:
        """Add a caller; BadCaller if it cannot be one or is there already, UnknownOperator if its operator is."""
        check_caller(caller)
        with self._changing() as connection:
            if caller.operator_id is not None:
                check_operator(connection, caller.operator_id)
            if connection.scalar(select(func.count()).where(callers.c.uri == caller.uri)):
                message = "a caller of that URI is there, or was and is revoked: URIs are not given twice"
                raise BadCaller(message, "caller.uri")
            row = {
                "uri": caller.uri,
                "role": str(caller.role),
                "operator_id": caller.operator_id,
                "service": caller.service,
                "token_tag": None,
                "added_at_us": microseconds(now),
                "revoked_at_us": None,
            }
            mac = self._caller_mac(row)
            connection.execute(insert(callers).values(mac=mac, **row))
            said = {name: row[name] for name in ("uri", "role", "operator_id", "service")}
            self._acts.record(connection, Act.CALLER_ADDED, by, now, mac=mac.hex(), **said)

    def set_token(self, uri: str, tag: bytes, *, now: datetime, by: str = LOCAL) -> None:
        """Make this the tag of the caller's token, whatever it was before; UnknownCaller if there is none."""
        self._change(Act.TOKEN_ISSUED, uri, by, now, token_tag=tag)

    def revoke(self, uri: str, *, now: datetime, by: str = LOCAL) -> None:
        """Let the caller call nothing any more; UnknownCaller if there is none that may."""
        self._change(Act.CALLER_REVOKED, uri, by, now, token_tag=None, revoked_at_us=microseconds(now))

    @again_if_undone
    def _change(self, act: Act, uri: str, by: str, now: datetime, **values: Any) -> None:
        with self._changing(only_revokes="revoked_at_us" in values) as connection:
            row = connection.execute(select(callers).where(callers.c.uri == uri)).one_or_none()
            if row is None or row.revoked_at_us is not None:
                raise UnknownCaller("there is no such caller, or it is revoked")
            # One that is damaged may be revoked all the same, and nothing else.
            if "revoked_at_us" not in values and not self._is_whole(row):
                raise StoreDamaged("the caller is not as it was written; revoke it, and add another")
            mac = self._caller_mac({**row._mapping, **values})
            connection.execute(update(callers).where(callers.c.uri == uri).values(mac=mac, **values))
            self._acts.record(connection, act, by, now, mac=mac.hex(), uri=uri)

    @again_if_undone
    def agree(
        self, service: str, operator_id: int, *, now: datetime, by: str = LOCAL, identifications: bool = False
    ) -> None:
        """Record that a service and an operator have a contract (I.5), and whether by it the operator is told whom the
        service identified (E.4); doing so again changes nothing."""
        check_service(service)
        with self._changing() as connection:
            check_operator(connection, operator_id)
            found = connection.execute(select(agreements).where(_agreement(service, operator_id))).one_or_none()
            if found is None or not self._is_agreement_whole(found) or found.identifications != identifications:
                # Also in the place of one that is damaged.
                connection.execute(delete(agreements).where(_agreement(service, operator_id)))
                row = {
                    "service": service,
                    "operator_id": operator_id,
                    "since_us": microseconds(now),
                    "identifications": identifications,
                }
                mac = self._agreement_mac(row)
                connection.execute(insert(agreements).values(mac=mac, **row))
                said = {"service": service, "operator_id": operator_id, "identifications": identifications}
                self._acts.record(connection, Act.AGREEMENT_ADDED, by, now, mac=mac.hex(), **said)
                # Behind the event, which holds the head of the chain: positions rise as transactions are committed.
                outbox.end(connection, service, operator_id)
                if identifications:
                    outbox.begin(connection, service, operator_id, microseconds(now))

    @again_if_undone
    def end_agreement(self, service: str, operator_id: int, *, now: datetime, by: str = LOCAL) -> None:
        """Record that they have none any more; doing so again changes nothing."""
        check_service(service)
        with self._changing() as connection:
            if connection.execute(delete(agreements).where(_agreement(service, operator_id))).rowcount:
                said = {"service": service, "operator_id": operator_id}
                self._acts.record(connection, Act.AGREEMENT_ENDED, by, now, **said)
                outbox.end(connection, service, operator_id)

    # --- the set

    def all(self) -> CallerSet:
        """Every caller and agreement, of one moment."""
        with self._database.reading() as connection:
            return self._set_of(self._read(connection))

    def _set_of(self, found: _Set) -> CallerSet:
        damaged = [str(row.uri) for row in found.rows if not self._is_whole(row)]
        damaged += [_agreement_name(row) for row in found.agreed if not self._is_agreement_whole(row)]
        return CallerSet(
            [_known(row) for row in found.rows if self._is_whole(row)],
            [(row.service, row.operator_id) for row in found.agreed if self._is_agreement_whole(row)],
            damaged,
            found.refused,
            found.revision,
            [
                (row.service, row.operator_id)
                for row in found.agreed
                if row.identifications and self._is_agreement_whole(row)
            ],
        )

    def whole(self) -> CallerSet:
        """Return the same; CallersRefused if the set is not the last one, StoreDamaged if a row is not as it was
        written."""
        found = self.all()
        if found.refused:
            raise CallersRefused(found.refused)
        if found.damaged:
            raise StoreDamaged(f"not as they were written, and let in nobody: {', '.join(found.damaged)}")
        return found

    @property
    def are_older(self) -> bool:
        """True if the database has an older set than the newest that this node has seen, or says nothing of its own."""
        with self._database.reading() as connection:
            found = self._read(connection)
        return found.floor is not None and (found.head is None or found.head.revision < found.floor.revision)

    def marks(self) -> object:
        """Return what changes with each change of the set and each confirmation: cheap to read, and to be compared."""
        with self._database.reading() as connection:
            head = connection.execute(select(callers_head)).one_or_none()
        return None if head is None else tuple(head), self._floor.content()

    def remember(self, *, now: datetime) -> None:
        """Have the set of the database, unless it is refused, for the floor. A set that was confirmed becomes the
        newest. OSError if the floor cannot be written."""
        with self._database.reading() as connection:
            found = self._read(connection)
        if found.refused:
            return
        if found.floor is not None and found.floor.confirmed:
            with self._database.writing() as connection:
                take_turn(connection)
                found = self._take_confirmed(connection, now)
        if found.head is not None and not found.refused:
            self._floor.raise_to(Floor(*found.head))

    def confirm(self, seen: CallerSet) -> None:
        """Have a set that is refused, as an administrator has seen it, let in again whom it lets in.

        The floor alone is written, so that a node may run, which takes the set at its next reading. CallersRefused if
        the set is another by now or is not refused, OSError if the floor cannot be written.
        """
        with self._database.reading() as connection:
            found = self._read(connection)
        if self._set_of(found) != seen:
            raise CallersRefused("the callers have changed since they were looked at")
        if not found.refused:
            raise CallersRefused("the callers are those that were written last: there is nothing to confirm")
        self._floor.write(Floor(found.revision, found.digest, confirmed=found.digest))

    def _take_confirmed(self, connection: Connection, now: datetime) -> _Set:
        """Give a set that was confirmed the next revision, unless that is done: a crash may come before the floor."""
        found = self._read(connection)
        if found.refused or found.floor is None or not found.floor.confirmed or found.is_newest:
            return found
        revision = found.revision + 1
        self._write_head(connection, revision, found.digest)
        self._acts.record(connection, Act.CALLERS_CONFIRMED, LOCAL, now, revision=revision, macs=found.macs)
        return self._read(connection)

    @contextmanager
    def _changing(self, *, only_revokes: bool = False) -> Iterator[Connection]:
        """Open a transaction that changes the set, and raises its revision when the block ends.

        CallersRefused if the set is refused: a change would make it the newest. A mere revocation is done all the same,
        and the set stays refused.
        """
        with self._database.writing() as connection:
            take_turn(connection)
            before = self._read(connection)
            if before.refused and not only_revokes:
                raise CallersRefused(before.refused)
            yield connection
            after = self._read(connection)
            if before.refused or after.digest == before.digest:
                return
            newest = Floor(before.revision + 1, after.digest)
            self._write_head(connection, newest.revision, newest.digest)
        with suppress(OSError):  # the node's next reading tries again, and tells of it
            self._floor.raise_to(newest)

    def _write_head(self, connection: Connection, revision: int, digest: bytes) -> None:
        connection.execute(delete(callers_head))
        row = {"revision": revision, "digest": digest}
        connection.execute(insert(callers_head).values(id=1, mac=self._head_mac(row), **row))

    def _read(self, connection: Connection) -> _Set:
        rows = connection.execute(select(callers).order_by(callers.c.uri)).all()
        agreed = connection.execute(select(agreements).order_by(agreements.c.service, agreements.c.operator_id)).all()
        macs = {f"caller {row.uri}": row.mac.hex() for row in rows if self._is_whole(row)}
        macs |= {
            f"agreement {row.service} with {row.operator_id}": row.mac.hex()
            for row in agreed
            if self._is_agreement_whole(row)
        }
        digest = hashlib.sha256(json.dumps(macs, sort_keys=True).encode()).digest()
        row = connection.execute(select(callers_head)).one_or_none()
        head = None if row is None else _Head(row.revision, row.digest)
        floor, refused = self._floor.try_read()
        if row is not None and not _same(row.mac, self._head_mac(row._mapping)):
            head, refused = None, "the revision of the callers is not as it was written"
        found = _Set(list(rows), list(agreed), macs, digest, head, floor, refused)
        return found._replace(refused=_refusal(found))

    def _is_whole(self, row: Row[Any]) -> bool:
        return _same(row.mac, self._caller_mac(row._mapping))

    def _is_agreement_whole(self, row: Row[Any]) -> bool:
        return _same(row.mac, self._agreement_mac(row._mapping))

    def _caller_mac(self, row: Any) -> bytes:
        names = ("uri", "role", "operator_id", "service", "token_tag", "added_at_us", "revoked_at_us")
        return self._mac(["caller", *(row[name] for name in names)])

    def _agreement_mac(self, row: Any) -> bytes:
        names = ("service", "operator_id", "since_us", "identifications")
        return self._mac(["agreement", *(row[name] for name in names)])

    def _head_mac(self, row: Any) -> bytes:
        return self._mac(["head", row["revision"], row["digest"]])

    def _mac(self, fields: list[Any]) -> bytes:
        # `default` is for bytes: a token's tag, or whatever SQLite has where damage made it of another type.
        return hmac.new(self._key, json.dumps(fields, default=repr).encode(), hashlib.sha256).digest()


def _refusal(found: _Set) -> str:
    """Return why the set may admit nobody, or "" if it may. `refused` tells already what could not be read."""
    head, floor = found.head, found.floor
    if floor is not None and floor.confirmed == found.digest:
        return ""
    if found.refused:
        return found.refused
    if head is None:
        is_new = not found.rows and not found.agreed and floor is None
        return "" if is_new else "the revision of the callers is missing"
    if head.digest != found.digest:
        return "callers or agreements are not those that were written last: rows were changed, removed or put back"
    return "" if floor is None else _refusal_by_floor(head, floor)


def _refusal_by_floor(head: _Head, floor: Floor) -> str:
    if head.revision < floor.revision:
        return f"the callers are of revision {head.revision}, and this node has seen revision {floor.revision}"
    if head.revision == floor.revision and head.digest != floor.digest:
        return f"the callers are not those that this node has seen at revision {floor.revision}"
    return ""


def _same(mac: object, expected: bytes) -> bool:
    return isinstance(mac, bytes) and hmac.compare_digest(mac, expected)


def read_macs(connection: Connection) -> dict[tuple[str, str], bytes]:
    """Return the mac of each caller, by ("caller", URI), and agreement, by ("agreement", "SERVICE with ID")."""
    known = connection.execute(select(callers.c.uri, callers.c.mac))
    agreed = connection.execute(select(agreements.c.service, agreements.c.operator_id, agreements.c.mac))
    found = {("caller", row.uri): row.mac for row in known}
    return found | {("agreement", f"{row.service} with {row.operator_id}"): row.mac for row in agreed}


def are_any(connection: Connection) -> bool:
    """Return True if there is any caller or agreement, whatever key its row lies under."""
    return any(connection.scalar(select(func.count()).select_from(table)) for table in (callers, agreements))


def _agreement_name(row: Row[Any]) -> str:
    return f"{row.service} with operator {row.operator_id}"


def _agreement(service: str, operator_id: int) -> Any:
    return (agreements.c.service == service) & (agreements.c.operator_id == operator_id)


def _known(row: Row[Any]) -> KnownCaller:
    return KnownCaller(
        Caller(row.uri, Role(row.role), row.operator_id, row.service),
        row.token_tag,
        moment(row.added_at_us),
        None if row.revoked_at_us is None else moment(row.revoked_at_us),
    )


# --- denials

NEWEST_FIRST = (denials.c.denied_at_us.desc(), denials.c.denial_key.desc())


def record_denials(connection: Connection, some: list[Denial]) -> None:
    """Keep that calls were denied, the same ones as one row, and forget the oldest of too many."""
    for one in some:
        _record(connection, one)
    _keep_newest(connection, true(), DENIALS_KEPT)


def _record(connection: Connection, one: Denial) -> None:
    key = {"uri": kept_name(one.uri), "address": one.address, "method": one.method, "reason": one.reason}
    own = and_(*(denials.c[name] == value for name, value in key.items()))
    again = {"denied_at_us": microseconds(one.denied_at), "times": denials.c.times + one.count}
    if connection.execute(update(denials).where(own).values(again)).rowcount:
        return
    connection.execute(insert(denials).values(denied_at_us=again["denied_at_us"], times=one.count, **key))
    _keep_newest(connection, denials.c.uri == key["uri"], DENIALS_PER_CALLER_MAX)
    if one.address:
        _keep_newest(connection, denials.c.address == one.address, DENIALS_PER_CALLER_MAX)


def _keep_newest(connection: Connection, which: ColumnElement[bool], count: int) -> None:
    newest = select(denials.c.denial_key).where(which).order_by(*NEWEST_FIRST).offset(count)
    too_many = list(connection.scalars(newest))
    if too_many:
        connection.execute(delete(denials).where(denials.c.denial_key.in_(too_many)))


def kept_name(name: str) -> str:
    """Return what is kept of a name: all of it, or its beginning and a digest that tells it from others."""
    if len(name) <= NAME_LENGTH_MAX:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{name[: NAME_LENGTH_MAX - 20]}... {digest}"


def last_denials(connection: Connection, count: int) -> list[Denial]:
    """Return the last denials, the newest first."""
    rows = connection.execute(select(denials).order_by(*NEWEST_FIRST).limit(count))
    return [Denial(moment(row.denied_at_us), row.uri, row.method, row.reason, row.times, row.address) for row in rows]
