"""Identities, their tokens and the agreements of services in the store; and the calls that were denied.

Invariants: a URI names one identity for ever: one that was revoked is never given to another; of a token only a keyed
hash is kept (its key is a file outside of the database), so that whoever reads the database can call nothing; a row of
an identity or an agreement has a MAC under a key outside of the database, so that whoever writes to it can let in
nobody: a row that is not as it was written counts for nothing.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, true, update

from numcheck.access import Identity, Role, check_identity
from numcheck.access.rules import check_service
from numcheck.errors import BadIdentity, StoreDamaged, UnknownIdentity
from numcheck.store.acts import LOCAL, Act, Acts
from numcheck.store.database import Database, take_turn
from numcheck.store.heads import check_operator
from numcheck.store.moments import microseconds, moment
from numcheck.store.schema import agreements, denials, identities

DENIALS_KEPT = 10_000  # then the oldest go: who is denied again and again must not fill the disk
DENIALS_PER_CALLER_MAX = 100  # rows of a caller, and of an address: then its own oldest go, and nobody else's
NAME_LENGTH_MAX = 256  # characters that are kept of a name that a stranger shows


@dataclass(frozen=True, slots=True)
class KnownIdentity:
    """An identity as the store has it. `token_tag` is the keyed hash of its token."""

    identity: Identity
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
class Callers:
    """Every identity that ever was, by URI, and each service with each operator that it has an agreement with.

    `damaged` names what has a row that is not as it was written; it is in neither list.
    """

    identities: list[KnownIdentity]
    agreements: list[tuple[str, int]]
    damaged: list[str]


class Identities:
    """Who may call, in the store of an installation. Methods may be called from any thread."""

    def __init__(self, database: Database, key: bytes, acts: Acts) -> None:
        """`key` makes the rows' MACs; nodes that share a database have the same. Each change is told as an act."""
        self._database, self._key, self._acts = database, key, acts

    def add(self, identity: Identity, *, now: datetime, by: str = LOCAL) -> None:
        """Add an identity; BadIdentity if it cannot be one or is there already, UnknownOperator if its operator is."""
        check_identity(identity)
        with self._database.writing() as connection:
            take_turn(connection)
            if identity.operator_id is not None:
                check_operator(connection, identity.operator_id)
            if connection.scalar(select(func.count()).where(identities.c.uri == identity.uri)):
                message = "an identity of that URI is there, or was and is revoked: URIs are not given twice"
                raise BadIdentity(message, "identity.uri")
            row = {
                "uri": identity.uri,
                "role": str(identity.role),
                "operator_id": identity.operator_id,
                "service": identity.service,
                "token_tag": None,
                "added_at_us": microseconds(now),
                "revoked_at_us": None,
            }
            mac = self._identity_mac(row)
            connection.execute(insert(identities).values(mac=mac, **row))
            said = {name: row[name] for name in ("uri", "role", "operator_id", "service")}
            self._acts.tell(connection, Act.CALLER_ADDED, by, now, mac=mac.hex(), **said)

    def set_token(self, uri: str, tag: bytes, *, now: datetime, by: str = LOCAL) -> None:
        """Make this the tag of the identity's token, whatever it was before; UnknownIdentity if there is none."""
        self._change(Act.TOKEN_ISSUED, uri, by, now, token_tag=tag)

    def revoke(self, uri: str, *, now: datetime, by: str = LOCAL) -> None:
        """Let the identity call nothing any more; UnknownIdentity if there is none that may."""
        self._change(Act.CALLER_REVOKED, uri, by, now, token_tag=None, revoked_at_us=microseconds(now))

    def _change(self, act: Act, uri: str, by: str, now: datetime, **values: Any) -> None:
        with self._database.writing() as connection:
            take_turn(connection)
            row = connection.execute(select(identities).where(identities.c.uri == uri)).one_or_none()
            if row is None or row.revoked_at_us is not None:
                raise UnknownIdentity("there is no such identity, or it is revoked")
            # One that is damaged may be revoked all the same, and nothing else.
            if "revoked_at_us" not in values and not self._is_whole(row):
                raise StoreDamaged("the identity is not as it was written; revoke it, and add another")
            mac = self._identity_mac({**row._mapping, **values})
            connection.execute(update(identities).where(identities.c.uri == uri).values(mac=mac, **values))
            self._acts.tell(connection, act, by, now, mac=mac.hex(), uri=uri)

    def agree(self, service: str, operator_id: int, *, now: datetime, by: str = LOCAL) -> None:
        """Record that a service and an operator have a contract (I.5); doing so again changes nothing."""
        check_service(service)
        with self._database.writing() as connection:
            take_turn(connection)
            check_operator(connection, operator_id)
            if (service, operator_id) not in self._read_agreements(connection)[0]:
                # Also in the place of one that is damaged.
                connection.execute(delete(agreements).where(_agreement(service, operator_id)))
                row = {"service": service, "operator_id": operator_id, "since_us": microseconds(now)}
                mac = self._agreement_mac(row)
                connection.execute(insert(agreements).values(mac=mac, **row))
                said = {"service": service, "operator_id": operator_id}
                self._acts.tell(connection, Act.AGREEMENT_ADDED, by, now, mac=mac.hex(), **said)

    def end_agreement(self, service: str, operator_id: int, *, now: datetime, by: str = LOCAL) -> None:
        """Record that they have none any more; doing so again changes nothing."""
        with self._database.writing() as connection:
            take_turn(connection)
            if connection.execute(delete(agreements).where(_agreement(service, operator_id))).rowcount:
                said = {"service": service, "operator_id": operator_id}
                self._acts.tell(connection, Act.AGREEMENT_ENDED, by, now, **said)

    def callers(self) -> Callers:
        """Every identity and agreement, of one moment."""
        with self._database.reading() as connection:
            rows = connection.execute(select(identities).order_by(identities.c.uri)).all()
            agreed, damaged = self._read_agreements(connection)
        damaged += [str(row.uri) for row in rows if not self._is_whole(row)]
        return Callers([_known(row) for row in rows if self._is_whole(row)], agreed, damaged)

    def whole(self) -> Callers:
        """The same; StoreDamaged if a row is not as it was written."""
        found = self.callers()
        if found.damaged:
            raise StoreDamaged(f"not as they were written, and let in nobody: {', '.join(found.damaged)}")
        return found

    def _read_agreements(self, connection: Connection) -> tuple[list[tuple[str, int]], list[str]]:
        rows = connection.execute(select(agreements).order_by(agreements.c.service, agreements.c.operator_id)).all()
        agreed: list[tuple[str, int]] = []
        damaged: list[str] = []
        for row in rows:
            if _same(row.mac, self._agreement_mac(row._mapping)):
                agreed.append((row.service, row.operator_id))
            else:
                damaged.append(f"{row.service} with operator {row.operator_id}")
        return agreed, damaged

    def _is_whole(self, row: Row[Any]) -> bool:
        return _same(row.mac, self._identity_mac(row._mapping))

    def _identity_mac(self, row: Any) -> bytes:
        names = ("uri", "role", "operator_id", "service", "token_tag", "added_at_us", "revoked_at_us")
        return self._mac(["identity", *(row[name] for name in names)])

    def _agreement_mac(self, row: Any) -> bytes:
        return self._mac(["agreement", row["service"], row["operator_id"], row["since_us"]])

    def _mac(self, fields: list[Any]) -> bytes:
        # `default` is for bytes: a token's tag, or whatever SQLite has where damage made it of another type.
        return hmac.new(self._key, json.dumps(fields, default=repr).encode(), hashlib.sha256).digest()


def _same(mac: object, expected: bytes) -> bool:
    return isinstance(mac, bytes) and hmac.compare_digest(mac, expected)


def read_macs(connection: Connection) -> dict[tuple[str, str], bytes]:
    """Return the mac of each caller, by ("caller", URI), and agreement, by ("agreement", "SERVICE with ID")."""
    callers = connection.execute(select(identities.c.uri, identities.c.mac))
    agreed = connection.execute(select(agreements.c.service, agreements.c.operator_id, agreements.c.mac))
    found = {("caller", row.uri): row.mac for row in callers}
    return found | {("agreement", f"{row.service} with {row.operator_id}"): row.mac for row in agreed}


def are_any(connection: Connection) -> bool:
    """Whether there is any identity or agreement, whatever key its row lies under."""
    return any(connection.scalar(select(func.count()).select_from(table)) for table in (identities, agreements))


def _agreement(service: str, operator_id: int) -> Any:
    return (agreements.c.service == service) & (agreements.c.operator_id == operator_id)


def _known(row: Row[Any]) -> KnownIdentity:
    return KnownIdentity(
        Identity(row.uri, Role(row.role), row.operator_id, row.service),
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
    """The last denials, the newest first."""
    rows = connection.execute(select(denials).order_by(*NEWEST_FIRST).limit(count))
    return [Denial(moment(row.denied_at_us), row.uri, row.method, row.reason, row.times, row.address) for row in rows]
