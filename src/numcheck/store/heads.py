"""Heads: the newest version of what is pushed as one, an operator's active set or all portings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select

from numcheck.active import PortingsHeader, PushHeader
from numcheck.errors import OlderData, StaleBase, UnknownOperator
from numcheck.moments import microseconds, moment
from numcheck.store.blocks import NO_BLOCKS, Kind
from numcheck.store.history import GAP
from numcheck.store.rows import changes_of, checked, new_row
from numcheck.store.schema import heads, operators

OPERATOR_ID_MAX = 2**31 - 1  # what the column takes
EVERY_OPERATOR = 0  # the operator_id of the portings' head


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of an active set, or of the portings. Version 0: none, and nothing else is known."""

    version: int = 0
    number_count: int = 0
    data_time_us: int = 0
    digest: bytes | None = None
    checksum: bytes = NO_BLOCKS
    synthetic: bool = False
    since_us: int = 0  # when the first of the versions that this one follows was stored
    sequences: Mapping[str, int] = field(default_factory=dict)  # of the portings: the highest number of each series
    epoch: int = 0  # in which it was stored

    def version_after(self, epoch: int) -> int:
        """Return the version that is stored next, in an epoch: one that may have followed this in an epoch before, and
        be lost, is nobody's again."""
        return self.version + 1 + GAP * (epoch - self.epoch)

    def since_us_after(self, now_us: int, *, snapshot: bool) -> int:
        """Return the same for the version that is stored next. A snapshot in the place of what was made up follows
        nothing."""
        return self.since_us if self.version and not (self.synthetic and snapshot) else now_us

    @property
    def pushed(self) -> bool:
        """True if anything was pushed: the demo's sets are version 1, and as old as what they are replaced by."""
        return self.version > 0 and not (self.synthetic and self.version == 1)

    def check_follower(self, header: PushHeader | PortingsHeader) -> None:
        """Raise StaleBase if a delta starts from another version, OlderData if a push that does not say that it means
        it has older data (R17). Data of the same moment is not older, unless its series says so: it follows in the
        order in which it comes."""
        if not header.snapshot and header.base_version != self.version:
            raise StaleBase(header.base_version, self.version)
        if self.pushed and not header.allow_older and self._is_newer_than(header):
            newest = moment(self.data_time_us)
            raise OlderData(
                header.data_time, f"the head, version {self.version},", newest, head_version=str(self.version)
            )

    def _is_newer_than(self, header: PushHeader | PortingsHeader) -> bool:
        data_time_us = microseconds(header.data_time)
        sequence = header.sequence if isinstance(header, PortingsHeader) else None
        counted_before = sequence is not None and sequence.number < self.sequences.get(sequence.series, 0)
        return data_time_us < self.data_time_us or (data_time_us == self.data_time_us and counted_before)

    def sequences_after(self, header: PortingsHeader) -> dict[str, int]:
        """Return the highest number of each series once the push is applied. Newer data may count anew, from a lower
        number; older data that is meant goes back in nothing."""
        if header.sequence is None:
            return dict(self.sequences)
        series, number = header.sequence
        older = microseconds(header.data_time) < self.data_time_us
        return {**self.sequences, series: max(number, self.sequences.get(series, 0)) if older else number}


def _is(kind: Kind, operator_id: int) -> ColumnElement[bool]:
    return (heads.c.kind == kind) & (heads.c.operator_id == operator_id)


def read_head(connection: Connection, kind: Kind, operator_id: int) -> Head:
    """Return the head; version 0 if there is none yet. StoreDamaged if it is not what was stored."""
    row = connection.execute(select(heads).where(_is(kind, operator_id))).one_or_none()
    return Head() if row is None else _head(row)


def read_heads(connection: Connection, kind: Kind) -> dict[int, Head]:
    """Return the heads of a kind that there are, by operator. StoreDamaged if one is not what was stored."""
    rows = connection.execute(select(heads).where(heads.c.kind == kind))
    return {row.operator_id: _head(row) for row in rows}


def read_versions(connection: Connection) -> dict[int, int]:
    """Return the version of each operator's active set."""
    own = select(heads.c.operator_id, heads.c.version).where(heads.c.kind == Kind.ACTIVE)
    return {row.operator_id: row.version for row in connection.execute(own)}


def _head(row: Row[Any]) -> Head:
    row = _checked(row)
    return Head(
        row.version,
        row.number_count,
        row.data_time_us,
        row.digest,
        row.checksum,
        row.synthetic,
        row.since_us,
        json.loads(row.sequences),
        row.epoch,
    )


def _checked(row: Row[Any]) -> Row[Any]:
    return checked(heads, row, f"the head of the numbers of operator {row.operator_id}")


def check_operator(connection: Connection, operator_id: int) -> None:
    """Raise UnknownOperator if this installation has no such operator."""
    known = select(func.count()).where(operators.c.operator_id == operator_id)
    if not 0 < operator_id <= OPERATOR_ID_MAX or not connection.scalar(known):
        raise UnknownOperator(f"there is no operator {operator_id}")


def write_head(connection: Connection, kind: Kind, operator_id: int, head: Head, *, now_us: int) -> None:
    """Make this the head."""
    values: dict[str, Any] = {
        "kind": int(kind),
        "operator_id": operator_id,
        "version": head.version,
        "epoch": head.epoch,
        "data_time_us": head.data_time_us,
        "since_us": head.since_us,
        "stored_at_us": now_us,
        "number_count": head.number_count,
        "checksum": head.checksum,
        "digest": head.digest,
        "synthetic": head.synthetic,
        "sequences": json.dumps(head.sequences, sort_keys=True),
    }
    connection.execute(delete(heads).where(_is(kind, operator_id)))
    connection.execute(insert(heads).values(new_row(heads, values)))


def keep_digest(connection: Connection, operator_id: int, version: int, digest: bytes) -> None:
    """Keep the digest of an active set, if that version is its head still."""
    own = _is(Kind.ACTIVE, operator_id) & (heads.c.version == version)
    row = connection.execute(select(heads).where(own)).one_or_none()
    if row is not None:
        connection.execute(heads.update().where(own).values(changes_of(heads, _checked(row), digest=digest)))
