"""The journal of active sets: a push writes what it changes, and a chunk is its checkpoint with the changes after it.

Invariants, true on disk after a crash at any step, as each push is one transaction: a chunk is its checkpoint, less
what each applied change after it removed, with what it added, in order of version; a change that was folded into a
checkpoint is gone; the changes of a held push (version null) count for nothing, and were found against the head.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import xxhash
from pyroaring import BitMap
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from numcheck.active import PushContent, PushCounts, PushHeader
from numcheck.active.push import Changes, find_changes, needs_confirmation
from numcheck.errors import ConcurrentPush, StoreDamaged, UnknownOperator, UnknownPush
from numcheck.store.schema import active_changes, active_chunks, active_sets, operators, pushes

FOLDED_SHARE = 4  # changes of more than one byte in so many of their chunk's checkpoint are folded into it
FOLDED_SIZE_MIN = 4_096  # bytes; less than this is not worth writing the chunk anew

RaiseRevision = Callable[[Connection], int]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of an operator's active set. Version 0: none, and nothing else is known."""

    version: int
    number_count: int
    data_time_us: int
    digest: bytes | None


class Receipt(NamedTuple):
    """What the node adds to a push: the head when it began, the token if it is held, and moments in microseconds."""

    base_version: int
    token: str
    data_time_us: int
    now_us: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a push. While it is held, version and revision are 0 and the token is set."""

    version: int
    revision: int
    counts: PushCounts
    token: str

    @property
    def held(self) -> bool:
        """Whether it waits for its operator's confirmation."""
        return not self.version


def head(connection: Connection, operator_id: int) -> Head:
    """The head of an operator's active set; UnknownOperator if there is no such operator."""
    if not connection.scalar(select(func.count()).where(operators.c.operator_id == operator_id)):
        raise UnknownOperator(f"there is no operator {operator_id}")
    row = connection.execute(select(active_sets).where(active_sets.c.operator_id == operator_id)).one_or_none()
    return Head(row.version, row.number_count, row.data_time_us, row.digest) if row else Head(0, 0, 0, None)


# --- chunks


def chunks_of(connection: Connection, operator_id: int) -> list[int]:
    """The chunks that may hold active numbers of an operator, ascending."""
    checkpoints = select(active_chunks.c.chunk).where(active_chunks.c.operator_id == operator_id)
    changes = select(active_changes.c.chunk).where(active_changes.c.operator_id == operator_id)
    return sorted(connection.scalars(checkpoints.union(changes)))


def read_chunk(connection: Connection, operator_id: int, chunk: int) -> BitMap:
    """The places of a chunk that are active; StoreDamaged if a row is not what was stored."""
    key = (active_chunks.c.operator_id == operator_id) & (active_chunks.c.chunk == chunk)
    row = connection.execute(select(active_chunks).where(key)).one_or_none()
    bitmap = BitMap() if row is None else _checked_checkpoint(row)
    for change in connection.execute(_applied_changes(operator_id, chunk)):
        added, removed = _checked_change(change)
        bitmap -= removed
        bitmap |= added
    return bitmap


def _applied_changes(operator_id: int, chunk: int) -> Any:
    own = (active_changes.c.operator_id == operator_id) & (active_changes.c.chunk == chunk)
    joined = active_changes.join(pushes)
    return (
        select(active_changes).select_from(joined).where(own, pushes.c.version.is_not(None)).order_by(pushes.c.version)
    )


def chunk_row(operator_id: int, chunk: int, bitmap: BitMap) -> dict[str, Any]:
    """A checkpoint as the store keeps it."""
    serialized = bitmap.serialize()
    return {
        "operator_id": operator_id,
        "chunk": chunk,
        "number_count": len(bitmap),
        "checksum": _checksum(f"{operator_id};{chunk}", serialized),
        "bitmap": serialized,
    }


def _checksum(key: str, *serialized: bytes) -> bytes:
    # With its key and sizes in front, so that a bitmap in another's place shows as well.
    sizes = ";".join(str(len(one)) for one in serialized)
    return xxhash.xxh3_128_digest(f"{key};{sizes};".encode() + b"".join(serialized))


def _checked_checkpoint(row: Row[Any]) -> BitMap:
    if _checksum(f"{row.operator_id};{row.chunk}", row.bitmap) != row.checksum:
        raise StoreDamaged(f"chunk {row.chunk} of the active set of operator {row.operator_id} is not what was stored")
    return BitMap.deserialize(row.bitmap)


def _checked_change(row: Row[Any]) -> tuple[BitMap, BitMap]:
    if _checksum(f"{row.operator_id};{row.push_key};{row.chunk}", row.added, row.removed) != row.checksum:
        raise StoreDamaged(f"a change of chunk {row.chunk} of operator {row.operator_id} is not what was stored")
    return BitMap.deserialize(row.added), BitMap.deserialize(row.removed)


def drop_set(connection: Connection, operator_id: int) -> None:
    """Remove every chunk of an operator's set, its journal and what is held of it."""
    for table in (active_changes, active_chunks):
        connection.execute(delete(table).where(table.c.operator_id == operator_id))
    _drop_held(connection, operator_id)


# --- pushes


def push(
    connection: Connection,
    header: PushHeader,
    content: PushContent,
    receipt: Receipt,
    raise_revision: RaiseRevision,
) -> Pushed:
    """Write a push to the journal: applied, or held if it removes too much (R14)."""
    operator_id, before = header.operator_id, head(connection, header.operator_id)
    if before.version != receipt.base_version:
        raise ConcurrentPush(
            f"the head has moved from version {receipt.base_version} to {before.version} during the push"
        )
    changes, counts = find_changes(
        header,
        content,
        before.number_count,
        chunks_of(connection, operator_id),
        lambda chunk: read_chunk(connection, operator_id, chunk),
    )
    held = needs_confirmation(counts.removed, before.number_count)
    row = {
        "operator_id": operator_id,
        "push_id": header.push_id,
        "base_version": receipt.base_version,
        "snapshot": header.snapshot,
        "data_time_us": receipt.data_time_us,
        "received_at_us": receipt.now_us,
        "counts": json.dumps(asdict(counts)),
        "token": receipt.token if held else None,
    }
    key = connection.execute(insert(pushes).values(row)).inserted_primary_key
    assert key is not None
    _write_changes(connection, operator_id, key[0], changes)
    if held:
        return Pushed(0, 0, counts, receipt.token)
    return _apply(connection, operator_id, key[0], receipt.now_us, raise_revision)


def confirm(connection: Connection, operator_id: int, token: str, now_us: int, raise_revision: RaiseRevision) -> Pushed:
    """Apply the held push of a token; what was applied already is answered again."""
    own = (pushes.c.operator_id == operator_id) & (pushes.c.token == token)
    row = connection.execute(select(pushes).where(own)).one_or_none()
    if row is None:
        raise UnknownPush("the operator has no held push with that token")
    if row.version is not None:
        return _pushed(row)
    return _apply(connection, operator_id, row.push_key, now_us, raise_revision)


def try_pushed(connection: Connection, operator_id: int, push_id: str) -> Pushed | None:
    """What became of the push of that push_id, or None."""
    own = (pushes.c.operator_id == operator_id) & (pushes.c.push_id == push_id)
    row = connection.execute(select(pushes).where(own)).one_or_none()
    return None if row is None else _pushed(row)


def _pushed(row: Row[Any]) -> Pushed:
    counts = json.loads(row.counts)
    counts["refused_examples"] = tuple(counts["refused_examples"])
    return Pushed(row.version or 0, row.revision or 0, PushCounts(**counts), row.token or "")


def _write_changes(connection: Connection, operator_id: int, push_key: int, changes: Changes) -> None:
    for chunk, bitmaps in changes.items():
        added, removed = (bitmap.serialize() for bitmap in bitmaps)
        connection.execute(
            insert(active_changes).values(
                push_key=push_key,
                chunk=chunk,
                operator_id=operator_id,
                checksum=_checksum(f"{operator_id};{push_key};{chunk}", added, removed),
                added=added,
                removed=removed,
            )
        )


def _apply(
    connection: Connection, operator_id: int, push_key: int, now_us: int, raise_revision: RaiseRevision
) -> Pushed:
    """Make a push that is in the journal the head. Its base is the head: held ones are dropped whenever that moves."""
    before, revision = head(connection, operator_id), raise_revision(connection)
    version = before.version + 1
    own = pushes.c.push_key == push_key
    connection.execute(update(pushes).where(own).values(version=version, revision=revision))
    row = connection.execute(select(pushes).where(own)).one()
    pushed = _pushed(row)
    values = {
        "version": version,
        "data_time_us": row.data_time_us,
        "stored_at_us": now_us,
        "number_count": pushed.counts.number_count,
        "digest": None,
    }
    if row.snapshot:
        values["synthetic"] = False  # none of what was made up is left
    if before.version:
        connection.execute(update(active_sets).where(active_sets.c.operator_id == operator_id).values(values))
    else:
        connection.execute(insert(active_sets).values(operator_id=operator_id, **{"synthetic": False, **values}))
    _drop_held(connection, operator_id)
    _fold(connection, operator_id, push_key)
    return pushed


def _drop_held(connection: Connection, operator_id: int) -> None:
    held = select(pushes.c.push_key).where(pushes.c.operator_id == operator_id, pushes.c.version.is_(None))
    connection.execute(delete(active_changes).where(active_changes.c.push_key.in_(held)))
    connection.execute(delete(pushes).where(pushes.c.operator_id == operator_id, pushes.c.version.is_(None)))


def _fold(connection: Connection, operator_id: int, push_key: int) -> None:
    """Fold the changes of each chunk that a push touched into its checkpoint, where they are large beside it."""
    touched = connection.scalars(select(active_changes.c.chunk).where(active_changes.c.push_key == push_key)).all()
    size = func.length(active_changes.c.added) + func.length(active_changes.c.removed)
    for chunk in touched:
        changes = (active_changes.c.operator_id == operator_id) & (active_changes.c.chunk == chunk)
        checkpoint = (active_chunks.c.operator_id == operator_id) & (active_chunks.c.chunk == chunk)
        changed_size = connection.scalar(select(func.sum(size)).where(changes)) or 0
        chunk_size = connection.scalar(select(func.length(active_chunks.c.bitmap)).where(checkpoint)) or 0
        if changed_size <= max(FOLDED_SIZE_MIN, chunk_size // FOLDED_SHARE):
            continue
        bitmap = read_chunk(connection, operator_id, chunk)
        bitmap.run_optimize()
        connection.execute(delete(active_chunks).where(checkpoint))
        connection.execute(delete(active_changes).where(changes))
        if bitmap:
            connection.execute(insert(active_chunks).values(chunk_row(operator_id, chunk, bitmap)))
