"""Pushes: what operators and the clearing house send becomes the head in one transaction, or is held.

Invariants, true on disk after a crash at any step, as each push is one transaction: a push with a version is in the
blocks, whole; one without is held, counts for nothing, and was found against the head: it is dropped when that moves.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import xxhash
from pyroaring import BitMap
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from numcheck.active import PortingsContent, PortingsHeader, PushContent, PushCounts, PushHeader
from numcheck.active.members import home, served
from numcheck.active.portings import check_removal
from numcheck.active.push import Change, change_of, needs_confirmation
from numcheck.errors import ConcurrentPush, StoreDamaged, UnknownPush
from numcheck.store.blocks import (
    PARTS,
    PARTS_ROOM,
    ROWS_MAX,
    Kind,
    blocks_of,
    checked_bitmap,
    chunks_of,
    chunks_of_kind,
    exclusive_or,
    parts_of,
    read_chunk,
    read_ported,
    read_rows,
    write_places,
)
from numcheck.store.database import raise_revision
from numcheck.store.heads import EVERY_OPERATOR, Head, check_operator, read_head, write_head
from numcheck.store.plans import own_ranges
from numcheck.store.rows import changes_of, checked, new_row
from numcheck.store.schema import held_changes, pushes
from numcheck.store.served import check_served
from numcheck.store.withdrawals import Cause, withdraw

DAY_US = 86_400 * 1_000_000
HELD_FOR_US = 7 * DAY_US  # then a held push can be confirmed no more
HELD_MAX = 10  # of an operator: one more, and the oldest is dropped
REMEMBERED_FOR_US = 90 * DAY_US  # then a push_id gets its first answer no more
REMEMBERED_MAX = 10_000  # of an operator, the newest

Changes = dict[int, tuple[Change, BitMap]]
"""What changes, by chunk, and the places of the changed parts afterwards."""


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
    token: str = ""

    @property
    def held(self) -> bool:
        """Whether it waits for its operator's confirmation."""
        return not self.version


# --- an operator's active numbers


def push_active(connection: Connection, header: PushHeader, content: PushContent, receipt: Receipt) -> Pushed:
    """Apply a push to an operator's active set, or hold it if it removes too much (R14)."""
    operator_id = header.operator_id
    head = _head_to_change(connection, Kind.ACTIVE, operator_id, receipt)
    changes, counts = _find_changes(connection, header, content, head)
    held = needs_confirmation(counts.removed + counts.recycled, head.number_count)
    record = _record(connection, Kind.ACTIVE, header, counts, receipt, token=receipt.token if held else None)
    if held:
        _change_record(connection, record, held_checksum=_hold(connection, record.push_key, changes))
        return Pushed(0, 0, counts, receipt.token)
    return _apply(connection, record, changes, receipt.now_us)


def _head_to_change(connection: Connection, kind: Kind, operator_id: int, receipt: Receipt) -> Head:
    head = read_head(connection, kind, operator_id)
    if head.version != receipt.base_version:
        moved = f"the head has moved from version {receipt.base_version} to {head.version} during the push"
        raise ConcurrentPush(moved)
    return head


def _find_changes(
    connection: Connection, header: PushHeader, content: PushContent, head: Head
) -> tuple[Changes, PushCounts]:
    changes: Changes = {}
    added = removed = recycled = already_added = already_removed = 0
    for chunk, held in _touched(connection, header, content):
        wanted = content.wanted(chunk)
        change = change_of(wanted, held, snapshot=header.snapshot)
        added, removed = added + len(change.added), removed + len(change.removed)
        recycled += len(change.recycled)
        already_added += len(wanted.added - change.added - change.recycled)
        already_removed += len(wanted.removed - change.removed - change.recycled)
        if change:
            changes[chunk] = change, change.apply(held)
    return changes, PushCounts(
        added=added,
        already_added=already_added,
        removed=removed,
        already_removed=already_removed,
        recycled=recycled,
        number_count=head.number_count + added - removed,
        refused=content.refused.count,
        refused_examples=tuple(content.refused.examples),
    )


def _touched(connection: Connection, header: PushHeader, content: PushContent) -> Iterator[tuple[int, BitMap]]:
    """Each chunk that a push may change, with what the set holds of it where that may change."""
    operator_id, spoken_of = header.operator_id, {*content.adds, *content.removes}
    if header.snapshot:
        for chunk in sorted(spoken_of.union(chunks_of(connection, Kind.ACTIVE, operator_id))):
            yield chunk, read_chunk(connection, Kind.ACTIVE, operator_id, chunk)
    else:
        wanted = {chunk: content.wanted(chunk) for chunk in sorted(spoken_of)}
        yield from _held_parts(connection, operator_id, wanted)


def _held_parts(connection: Connection, operator_id: int, wanted: Mapping[int, Change]) -> Iterator[tuple[int, BitMap]]:
    """What an operator's set holds of the parts of each chunk that changes speak of; many small chunks at a time."""
    for group in _groups((chunk, parts_of(one.added | one.removed)) for chunk, one in wanted.items()):
        held = {chunk: [BitMap()] for chunk in group}
        numbers = [block for chunk, parts in group.items() for block in blocks_of(chunk, parts)]
        for row in read_rows(connection, Kind.ACTIVE, operator_id, numbers):
            held[row.block // PARTS_ROOM].append(checked_bitmap(row))
        yield from ((chunk, BitMap.union(*bitmaps)) for chunk, bitmaps in held.items())


def _groups(parts_of_chunks: Iterable[tuple[int, list[int]]]) -> Iterator[dict[int, list[int]]]:
    """Chunks with their parts, in groups of about as many as one statement takes."""
    group: dict[int, list[int]] = {}
    size = 0
    for chunk, parts in parts_of_chunks:
        group[chunk] = parts
        size += len(parts)
        if size >= ROWS_MAX:
            yield group
            group, size = {}, 0
    if group:
        yield group


def _apply(connection: Connection, row: Row[Any], changes: Changes, now_us: int) -> Pushed:
    """Make a push of active numbers the head. Its base is the head: held ones are dropped whenever that moves."""
    before, counts = read_head(connection, Kind.ACTIVE, row.operator_id), _counts(row)
    revision = raise_revision(connection)
    checksum = _write_changes(connection, Kind.ACTIVE, row.operator_id, revision, changes)
    head = Head(
        version=before.version + 1,
        number_count=counts.number_count,
        data_time_us=row.data_time_us,
        checksum=exclusive_or([before.checksum, checksum]),
        synthetic=before.synthetic and not row.snapshot,  # a snapshot leaves none of what was made up
    )
    write_head(connection, Kind.ACTIVE, row.operator_id, head, now_us=now_us)
    _change_record(connection, row, version=head.version, revision=revision)
    drop_held(connection, row.operator_id)
    _withdraw_pushed(connection, row.operator_id, revision, changes, now_us)
    return Pushed(head.version, revision, counts, row.token or "")


def _withdraw_pushed(connection: Connection, operator_id: int, revision: int, changes: Changes, now_us: int) -> None:
    """Whoever had what the operator took out of service has it no more, if the operator serves the number at all."""
    if not any(change.removed or change.recycled for change, _ in changes.values()):
        return  # as most pushes of new subscribers: no range need be read for them
    own = own_ranges(connection, operator_id)
    for cause, taken in (
        (Cause.REMOVED, {chunk: change.removed for chunk, (change, _) in changes.items()}),
        (Cause.RECYCLED, {chunk: change.recycled for chunk, (change, _) in changes.items()}),
    ):
        places = {
            chunk: some & served(home(own, chunk), read_ported(connection, chunk, parts_of(some)), operator_id)
            for chunk, some in taken.items()
            if some
        }
        withdraw(connection, revision, cause, places, now_us)


def _write_changes(
    connection: Connection, kind: Kind, operator_id: int, revision: int, changes: Mapping[int, tuple[Change, BitMap]]
) -> bytes:
    """Write the changed parts; return what that does to the set's checksum."""
    written = []
    touched = ((chunk, parts_of(change.added | change.removed)) for chunk, (change, _) in changes.items())
    for group in _groups(touched):
        places = {chunk: {part: changes[chunk][1] & PARTS[part] for part in parts} for chunk, parts in group.items()}
        written.append(write_places(connection, kind, operator_id, revision, places))
    return exclusive_or(written)


# --- held pushes


def confirm(connection: Connection, operator_id: int, token: str, now_us: int) -> Pushed:
    """Apply the held push of a token; what was applied already is answered again. ConcurrentPush if the operator does
    not serve now what the push adds: the plan and the portings go on while a push is held."""
    row = _one(connection, _of(Kind.ACTIVE, operator_id) & (pushes.c.token == token))
    if row is None or _is_over(row, now_us):
        raise UnknownPush("the operator has no held push with that token")
    if row.version is not None:
        return _pushed(row)
    changes = _held_changes(connection, row)
    check_served(connection, operator_id, {chunk: change.added for chunk, (change, _) in changes.items()})
    return _apply(connection, row, changes, now_us)


class HeldPush(NamedTuple):
    """What a held push would do, and when it came, in microseconds."""

    operator_id: int
    received_at_us: int
    counts: PushCounts


def held_pushes(connection: Connection, now_us: int) -> list[HeldPush]:
    """Every push that can be confirmed still, the oldest first."""
    held = pushes.c.version.is_(None) & (pushes.c.received_at_us > now_us - HELD_FOR_US)
    rows = map(_checked, connection.execute(select(pushes).where(held).order_by(pushes.c.push_key)))
    return [HeldPush(row.operator_id, row.received_at_us, _counts(row)) for row in rows]


def _hold(connection: Connection, push_key: int, changes: Changes) -> bytes:
    """Keep what a push would change; the checksum of all of it."""
    checksums = []
    for chunk, (change, _) in changes.items():
        places = [some.serialize() for some in change]
        values = dict(zip(Change._fields, places, strict=True))
        checksums.append(_checksum(push_key, chunk, *places))
        connection.execute(
            insert(held_changes).values(push_key=push_key, chunk=chunk, checksum=checksums[-1], **values)
        )
    return exclusive_or(checksums)


def _held_changes(connection: Connection, push: Row[Any]) -> Changes:
    held, checksums = {}, []
    for row in connection.execute(select(held_changes).where(held_changes.c.push_key == push.push_key)):
        places = [row._mapping[name] for name in Change._fields]
        checksums.append(_checksum(push.push_key, row.chunk, *places))
        if checksums[-1] != row.checksum:
            raise StoreDamaged(
                f"a held change of chunk {row.chunk} of operator {push.operator_id} is not what was stored"
            )
        held[row.chunk] = Change(*map(BitMap.deserialize, places))
    if exclusive_or(checksums) != push.held_checksum:
        raise StoreDamaged(f"the held changes of operator {push.operator_id} are not those that were stored")
    now = dict(_held_parts(connection, push.operator_id, held))
    return {chunk: (change, change.apply(now[chunk])) for chunk, change in held.items()}


def _checksum(push_key: int, chunk: int, *places: bytes) -> bytes:
    sizes = ";".join(str(len(one)) for one in places)
    return xxhash.xxh3_128_digest(f"{push_key};{chunk};{sizes};".encode() + b"".join(places))


def drop_held(connection: Connection, operator_id: int) -> None:
    """Forget what is held of an operator: its head has moved."""
    _forget(connection, _of(Kind.ACTIVE, operator_id) & pushes.c.version.is_(None))


def make_room(connection: Connection, kind: Kind, operator_id: int, now_us: int) -> None:
    """Forget what is held or remembered of an operator for too long, and the oldest, so that one more has room."""
    for kept, count_max, for_us in (
        (pushes.c.version.is_(None), HELD_MAX, HELD_FOR_US),
        (pushes.c.version.is_not(None), REMEMBERED_MAX, REMEMBERED_FOR_US),
    ):
        own = _of(kind, operator_id) & kept
        keys = select(pushes.c.push_key).where(own).order_by(pushes.c.push_key.desc())
        newest_of_rest = connection.scalar(keys.offset(count_max - 1).limit(1))
        too_old = pushes.c.received_at_us <= now_us - for_us
        _forget(connection, own & (too_old | (pushes.c.push_key <= (newest_of_rest or 0))))


def _forget(connection: Connection, which: ColumnElement[bool]) -> None:
    keys = select(pushes.c.push_key).where(which)
    connection.execute(delete(held_changes).where(held_changes.c.push_key.in_(keys)))
    connection.execute(delete(pushes).where(which))


# --- portings


def push_portings(connection: Connection, header: PortingsHeader, content: PortingsContent, receipt: Receipt) -> Pushed:
    """Apply a push to the portings."""
    head = _head_to_change(connection, Kind.PORTED, EVERY_OPERATOR, receipt)
    for operator_id in content.ported:
        check_operator(connection, operator_id)
    changes, counts = _find_portings(connection, header, content, head)
    check_removal(header, counts.removed, head.number_count)
    revision = raise_revision(connection)
    written = [
        _write_changes(connection, Kind.PORTED, operator_id, revision, one) for operator_id, one in changes.items()
    ]
    after = Head(
        version=head.version + 1,
        number_count=counts.number_count,
        data_time_us=receipt.data_time_us,
        checksum=exclusive_or([head.checksum, *written]),
    )
    write_head(connection, Kind.PORTED, EVERY_OPERATOR, after, now_us=receipt.now_us)
    _record(connection, Kind.PORTED, header, counts, receipt, version=after.version, revision=revision)
    moved: dict[int, BitMap] = defaultdict(BitMap)
    for one in changes.values():
        for chunk, (change, _) in one.items():
            moved[chunk] |= change.added | change.removed
    withdraw(connection, revision, Cause.PORTED, moved, receipt.now_us)
    return Pushed(after.version, revision, counts)


def _find_portings(
    connection: Connection, header: PortingsHeader, content: PortingsContent, head: Head
) -> tuple[dict[int, Changes], PushCounts]:
    """What a push changes by recipient and chunk. A number that goes on to a third operator counts as added only."""
    changes: dict[int, Changes] = {}
    added = removed = wanted_ported = wanted_returned = 0
    chunks = set(content.chunks())
    if header.snapshot:
        chunks.update(chunks_of_kind(connection, Kind.PORTED))
    for chunk in sorted(chunks):
        held = read_ported(connection, chunk)
        found = content.changes(chunk, held, snapshot=header.snapshot)
        gained = BitMap.union(BitMap(), *(change.added for change in found.values()))
        lost = BitMap.union(BitMap(), *(change.removed for change in found.values()))
        added, removed = added + len(gained), removed + len(lost - gained)
        wanted_ported += sum(len(chunks[chunk]) for chunks in content.ported.values() if chunk in chunks)
        wanted_returned += len(content.returned.get(chunk, BitMap()))
        for operator_id, change in found.items():
            after = change.apply(held.get(operator_id, BitMap()))
            changes.setdefault(operator_id, {})[chunk] = change, after
    return changes, PushCounts(
        added=added,
        already_added=wanted_ported - added,
        removed=removed,
        already_removed=0 if header.snapshot else wanted_returned - removed,
        number_count=_ported_count(head, changes),
        refused=content.refused.count,
        refused_examples=tuple(content.refused.examples),
    )


def _ported_count(head: Head, changes: Mapping[int, Changes]) -> int:
    return head.number_count + sum(
        len(change.added) - len(change.removed) for chunks in changes.values() for change, _ in chunks.values()
    )


# --- records of pushes


def try_pushed(connection: Connection, kind: Kind, operator_id: int, push_id: str, now_us: int) -> Pushed | None:
    """What became of the push of that push_id, or None if there was none, or it was held for too long."""
    row = _one(connection, _of(kind, operator_id) & (pushes.c.push_id == push_id))
    return None if row is None or _is_over(row, now_us) else _pushed(row)


def check_records(connection: Connection) -> None:
    """Raise StoreDamaged unless the record of every push is what was stored."""
    for row in connection.execute(select(pushes)):
        _checked(row)


def _one(connection: Connection, which: ColumnElement[bool]) -> Row[Any] | None:
    row = connection.execute(select(pushes).where(which)).one_or_none()
    return None if row is None else _checked(row)


def _checked(row: Row[Any]) -> Row[Any]:
    return checked(pushes, row, f"a push of operator {row.operator_id}")


def _is_over(row: Row[Any], now_us: int) -> bool:
    return row.version is None and row.received_at_us <= now_us - HELD_FOR_US


def _of(kind: Kind, operator_id: int) -> ColumnElement[bool]:
    return (pushes.c.kind == kind) & (pushes.c.operator_id == operator_id)


def _pushed(row: Row[Any]) -> Pushed:
    return Pushed(row.version or 0, row.revision or 0, _counts(row), row.token or "")


def _counts(row: Row[Any]) -> PushCounts:
    counts = json.loads(row.counts)
    counts["refused_examples"] = tuple(counts["refused_examples"])
    return PushCounts(**counts)


def _record(
    connection: Connection,
    kind: Kind,
    header: PushHeader | PortingsHeader,
    counts: PushCounts,
    receipt: Receipt,
    **outcome: Any,
) -> Row[Any]:
    """Add the record of a push, with what is known of its outcome; the row."""
    values = {
        "kind": int(kind),
        "operator_id": header.operator_id if isinstance(header, PushHeader) else EVERY_OPERATOR,
        "push_id": header.push_id,
        "base_version": receipt.base_version,
        "snapshot": header.snapshot,
        "data_time_us": receipt.data_time_us,
        "received_at_us": receipt.now_us,
        "counts": json.dumps(asdict(counts)),
        **outcome,
    }
    key = connection.execute(insert(pushes).values(new_row(pushes, values))).inserted_primary_key
    assert key is not None
    return connection.execute(select(pushes).where(pushes.c.push_key == key[0])).one()


def _change_record(connection: Connection, row: Row[Any], **changes: Any) -> None:
    own = pushes.c.push_key == row.push_key
    connection.execute(update(pushes).where(own).values(changes_of(pushes, row, **changes)))
