"""Identities, their tokens and the agreements of services in the store.

Invariants: a URI names one identity for ever: one that was revoked is never given to another; of a token only a keyed
hash is kept (its key is a file outside of the database), so that whoever reads the database can call nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from numcheck.access import Identity, Role, check_identity
from numcheck.access.rules import check_service
from numcheck.errors import BadIdentity, UnknownIdentity
from numcheck.store.heads import check_operator
from numcheck.store.moments import microseconds, moment
from numcheck.store.schema import agreements, denials, identities

DENIALS_KEPT = 10_000  # then the oldest go: who is denied again and again must not fill the disk


@dataclass(frozen=True, slots=True)
class KnownIdentity:
    """An identity as the store has it."""

    identity: Identity
    has_token: bool
    added_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Denial:
    """A call that was denied: when, to whom as far as he was known, and what."""

    denied_at: datetime
    uri: str
    method: str
    reason: str


def add(connection: Connection, identity: Identity, *, now: datetime) -> None:
    """Add an identity; BadIdentity if it cannot be one or is there already."""
    check_identity(identity)
    if identity.operator_id is not None:
        check_operator(connection, identity.operator_id)
    if connection.scalar(select(func.count()).where(identities.c.uri == identity.uri)):
        raise BadIdentity("an identity of that URI is there, or was and is revoked: URIs are not given twice")
    connection.execute(
        insert(identities).values(
            uri=identity.uri,
            role=str(identity.role),
            operator_id=identity.operator_id,
            service=identity.service,
            added_at_us=microseconds(now),
        )
    )


def set_token(connection: Connection, uri: str, tag: bytes) -> None:
    """Make this the tag of the identity's token, whatever it was before; UnknownIdentity if there is none."""
    _change(connection, uri, token_tag=tag)


def revoke(connection: Connection, uri: str, *, now: datetime) -> None:
    """Let the identity call nothing any more; UnknownIdentity if there is none that may."""
    _change(connection, uri, token_tag=None, revoked_at_us=microseconds(now))


def _change(connection: Connection, uri: str, **values: Any) -> None:
    own = (identities.c.uri == uri) & identities.c.revoked_at_us.is_(None)
    if not connection.execute(update(identities).where(own).values(values)).rowcount:
        raise UnknownIdentity("there is no such identity, or it is revoked")


def find(connection: Connection, uri: str) -> Identity | None:
    """The identity of a URI, unless it is revoked."""
    return _find(connection, identities.c.uri == uri)


def find_by_token(connection: Connection, tag: bytes) -> Identity | None:
    """The identity whose token has this tag, unless it is revoked."""
    return _find(connection, identities.c.token_tag == tag)


def _find(connection: Connection, key: ColumnElement[bool]) -> Identity | None:
    row = connection.execute(select(identities).where(key, identities.c.revoked_at_us.is_(None))).one_or_none()
    return None if row is None else _identity(row)


def _identity(row: Row[Any]) -> Identity:
    return Identity(row.uri, Role(row.role), row.operator_id, row.service)


def every(connection: Connection) -> list[KnownIdentity]:
    """Every identity that ever was, by URI."""
    return [
        KnownIdentity(
            _identity(row),
            row.token_tag is not None,
            moment(row.added_at_us),
            None if row.revoked_at_us is None else moment(row.revoked_at_us),
        )
        for row in connection.execute(select(identities).order_by(identities.c.uri))
    ]


# --- agreements (I.5)


def agree(connection: Connection, service: str, operator_id: int, *, now: datetime) -> None:
    """Record that a service and an operator have a contract; doing so again changes nothing."""
    check_service(service)
    check_operator(connection, operator_id)
    if operator_id not in agreed(connection, service):
        values = {"service": service, "operator_id": operator_id, "since_us": microseconds(now)}
        connection.execute(insert(agreements).values(values))


def end_agreement(connection: Connection, service: str, operator_id: int) -> None:
    """Record that they have none any more; doing so again changes nothing."""
    own = (agreements.c.service == service) & (agreements.c.operator_id == operator_id)
    connection.execute(delete(agreements).where(own))


def agreed(connection: Connection, service: str) -> frozenset[int]:
    """The operators that a service has an agreement with."""
    return frozenset(connection.scalars(select(agreements.c.operator_id).where(agreements.c.service == service)))


def every_agreement(connection: Connection) -> list[tuple[str, int]]:
    """Each service with each operator that it has an agreement with."""
    columns = (agreements.c.service, agreements.c.operator_id)
    return [(row.service, row.operator_id) for row in connection.execute(select(*columns).order_by(*columns))]


# --- denials


def record_denial(connection: Connection, denial: Denial) -> None:
    """Keep that a call was denied, and forget the oldest of too many."""
    row = {"denied_at_us": microseconds(denial.denied_at), "uri": denial.uri, "method": denial.method}
    key = connection.execute(insert(denials).values(reason=denial.reason, **row)).inserted_primary_key
    assert key is not None
    connection.execute(delete(denials).where(denials.c.denial_key <= key[0] - DENIALS_KEPT))


def last_denials(connection: Connection, count: int) -> list[Denial]:
    """The last denials, the newest first."""
    rows = connection.execute(select(denials).order_by(denials.c.denial_key.desc()).limit(count))
    return [Denial(moment(row.denied_at_us), row.uri, row.method, row.reason) for row in rows]
