"""Pushes: the data of operators and the clearing house becomes the head in one transaction, or is held.

Invariants, true on disk after a crash at any step, as each push is one transaction: a push with a version is in the
blocks, whole; one without is held and counts for nothing. The basis of a push's judgement (the head, the plan and the
portings) holds when it is committed or confirmed, or judges it the same.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from pyroaring import BitMap
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from numcheck.active import Basis, PortingsContent, PortingsHeader, PushContent, PushCounts, PushHeader
from numcheck.active.members import home, served
from numcheck.active.portings import moved_on, takes_too_much
from numcheck.active.push import Change, PushPolicy, change_of
from numcheck.active.sieve import Refused, merge
from numcheck.errors import ConcurrentPush, MovesTooMuch, RemovesTooMuch, StoreDamaged, UnknownPush
from numcheck.moments import DAY_US, moment
from numcheck.store.blocks import (
    PARTS,
    PARTS_ROOM,
    ROWS_MAX,
    Kind,
    blocks_of,
    checked_bitmap,
    chunks_of,
    chunks_of_kind,
    combined,
    parts_of,
    read_chunk,
    read_ported,
    read_rows,
    write_places,
)
from numcheck.store.heads import EVERY_OPERATOR, Head, check_operator, read_head, read_heads, write_head
from numcheck.store.history import raise_revision, read_epoch
from numcheck.store.operators import largest_moves
from numcheck.store.plans import own_ranges
from numcheck.store.rows import changes_of, checked, new_row
from numcheck.store.schema import held_numbers, operators, pushes
from numcheck.store.served import check_history, check_judgement
from numcheck.store.withdrawals import Cause, withdraw

HELD_FOR_US = 7 * DAY_US  # then a held push can be confirmed no more
HELD_MAX = 10  # of an operator: one more, and the oldest is dropped
REMEMBERED_FOR_US = 90 * DAY_US  # then a push_id gets its first answer no more
REMEMBERED_MAX = 10_000  # of an operator, the newest

DIGEST_SIZE = 32

Changes = dict[int, tuple[Change, BitMap]]
"""Changes by chunk, each with the places of the changed parts afterwards."""


class Receipt(NamedTuple):
    """The node's additions to a push: the head at its beginning and the rest of its basis, the token if it is held,
    moments in microseconds, and the policy by which it is held."""

    base_version: int
    basis: Basis
    token: str
    data_time_us: int
    now_us: int
    policy: PushPolicy = PushPolicy()


@dataclass(frozen=True, slots=True)
class Pushed:
    """The outcome of a push. While it is held, version and revision are 0 and the token is set.

    `head_version` is the head's at the time of the answer. `received_at_us` is the moment at which the push came in, in
    microseconds, if the answer is repeated, and None in the first answer.
    """

    version: int
    revision: int
    counts: PushCounts
    head_version: int
    token: str = ""
    received_at_us: int | None = None

    @property
    def held(self) -> bool:
        """True if it waits for its operator's confirmation."""
        return not self.version


# --- an operator's active numbers


def push_active(connection: Connection, header: PushHeader, content: PushContent, receipt: Receipt) -> Pushed:
    """Apply a push to an operator's active set, or hold it if it removes too much (R14)."""
    head = _head_to_change(connection, Kind.ACTIVE, header, receipt)
    check_judgement(connection, header.operator_id, content)
    changes, counts = _find_changes(connection, header, content, head)
    held = receipt.policy.holds(counts.removed + counts.recycled, head.number_count)
    record = _record(connection, Kind.ACTIVE, header, counts, receipt, token=receipt.token if held else None)
    if held:
        _change_record(connection, record, held_checksum=_hold(connection, record.push_key, content))
        return Pushed(0, 0, counts, head.version, receipt.token)
    return _apply(connection, record, changes, receipt.now_us)


def _head_to_change(connection: Connection, kind: Kind, header: PushHeader | PortingsHeader, receipt: Receipt) -> Head:
    check_history(connection, receipt.basis)
    head = read_head(connection, kind, _operator_id(header))
    if head.version != receipt.base_version:
        moved = f"the head has moved from version {receipt.base_version} to {head.version} during the push"
        raise ConcurrentPush(moved)
    head.check_follower(header)
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
    """Yield what an operator's set holds of the parts of each chunk that changes speak of; many small chunks at a
    time."""
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
    """Make a push of active numbers, whose base is the head, the head."""
    before, counts = read_head(connection, Kind.ACTIVE, row.operator_id), _counts(row)
    revision, epoch = raise_revision(connection), read_epoch(connection)
    checksum = _write_changes(connection, Kind.ACTIVE, row.operator_id, revision, changes)
    head = Head(
        version=before.version_after(epoch),
        epoch=epoch,
        number_count=counts.number_count,
        data_time_us=row.data_time_us,
        checksum=combined([before.checksum, checksum]),
        synthetic=before.synthetic and not row.snapshot,  # a snapshot leaves none of what was made up
        since_us=before.since_us_after(now_us, snapshot=row.snapshot),
    )
    write_head(connection, Kind.ACTIVE, row.operator_id, head, now_us=now_us)
    _change_record(connection, row, version=head.version, revision=revision)
    overtake_held(connection, row.operator_id)
    _withdraw_pushed(connection, row.operator_id, revision, changes, now_us)
    return Pushed(head.version, revision, counts, head.version, row.token or "")


def _withdraw_pushed(connection: Connection, operator_id: int, revision: int, changes: Changes, now_us: int) -> None:
    """Record the withdrawal of the numbers that the operator took out of service, as far as it serves them."""
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
    return combined(written)


# --- held pushes


def confirm(connection: Connection, operator_id: int, token: str, now_us: int) -> Pushed:
    """Apply the held push of a token; give the first answer again if it was applied before.

    ConcurrentPush if another push was applied since, or if the plan and the portings of now judge it otherwise."""
    row = _of_token(connection, operator_id, token, now_us)
    if row.version is not None:
        return _given_again(connection, row)
    content = _held_content(connection, row)
    header = PushHeader(operator_id, row.snapshot, row.base_version, row.push_id, moment(row.data_time_us))
    changes, _ = _find_changes(connection, header, content, read_head(connection, Kind.ACTIVE, operator_id))
    _drop_numbers(connection, pushes.c.push_key == row.push_key)
    return _apply(connection, row, changes, now_us)


def reject(connection: Connection, operator_id: int, token: str, now_us: int) -> None:
    """Forget the held push of a token."""
    row = _of_token(connection, operator_id, token, now_us)
    if row.version is not None:
        raise UnknownPush("the push with that token was confirmed: it is not held any more")
    _forget(connection, pushes.c.push_key == row.push_key)


def _of_token(connection: Connection, operator_id: int, token: str, now_us: int) -> Row[Any]:
    """Return the record of a push that is or was held."""
    row = _one(connection, _of(Kind.ACTIVE, operator_id) & (pushes.c.token == token))
    if row is None or _is_over(row, now_us):
        raise UnknownPush("the operator has no held push with that token")
    return row


class HeldPush(NamedTuple):
    """A push that waits to be confirmed. Moments are in microseconds."""

    operator_id: int
    push_id: str
    snapshot: bool
    data_time_us: int
    received_at_us: int
    expires_at_us: int
    pushed: Pushed


def held_pushes(connection: Connection, now_us: int, operator_id: int | None = None) -> list[HeldPush]:
    """Return the pushes that can be confirmed still, the oldest first: every operator's, or one's."""
    held = pushes.c.version.is_(None) & (pushes.c.received_at_us > now_us - HELD_FOR_US)
    if operator_id is not None:
        held &= _of(Kind.ACTIVE, operator_id)
    versions = {one: head.version for one, head in read_heads(connection, Kind.ACTIVE).items()}
    rows = map(_checked, connection.execute(select(pushes).where(held).order_by(pushes.c.push_key)))
    return [
        HeldPush(
            row.operator_id,
            row.push_id or "",
            row.snapshot,
            row.data_time_us,
            row.received_at_us,
            row.received_at_us + HELD_FOR_US,
            _given_again(connection, row),
        )
        for row in rows
        if row.base_version == versions.get(row.operator_id, 0)
    ]


def _hold(connection: Connection, push_key: int, content: PushContent) -> bytes:
    """Keep what a push says; return the checksum of all of it."""
    checksums = []
    for chunk in sorted({*content.adds, *content.removes}):
        wanted = content.wanted(chunk)
        places = {"added": wanted.added.serialize(), "removed": wanted.removed.serialize()}
        checksums.append(_checksum(push_key, chunk, *places.values()))
        values = {"push_key": push_key, "chunk": chunk, "checksum": checksums[-1], **places}
        connection.execute(insert(held_numbers).values(values))
    return _held_checksum(checksums)


def _held_content(connection: Connection, push: Row[Any]) -> PushContent:
    """Return what a held push says. ConcurrentPush unless it can be applied now as it was judged."""
    if read_head(connection, Kind.ACTIVE, push.operator_id).version != push.base_version:
        raise ConcurrentPush("another push of the operator was applied since this one was held")
    counts, basis = _counts(push), Basis(push.plan_revision, push.portings_version)
    refused = Refused(counts.refused, list(counts.refused_examples))
    content = PushContent({}, lambda _chunk: BitMap(), basis, refused=refused)
    for row in _held_rows(connection, push):
        merge(content.adds, row.chunk, BitMap.deserialize(row.added))
        merge(content.removes, row.chunk, BitMap.deserialize(row.removed))
    check_judgement(connection, push.operator_id, content)
    return content


def _held_rows(connection: Connection, push: Row[Any]) -> Sequence[Row[Any]]:
    """Return what is kept of a held push, which can be confirmed still; StoreDamaged if it is not what was stored."""
    rows = connection.execute(select(held_numbers).where(held_numbers.c.push_key == push.push_key)).all()
    checksums = [_checksum(push.push_key, row.chunk, row.added, row.removed) for row in rows]
    for row, checksum in zip(rows, checksums, strict=True):
        if checksum != row.checksum:
            raise StoreDamaged(
                f"the held numbers of chunk {row.chunk} of operator {push.operator_id} are not what was stored"
            )
    if _held_checksum(checksums) != push.held_checksum:
        raise StoreDamaged(f"the held numbers of operator {push.operator_id} are not those that were stored")
    return rows


def _can_be_confirmed(connection: Connection, push: Row[Any]) -> bool:
    try:
        _held_content(connection, push)
    except ConcurrentPush:
        return False
    return True


def _checksum(push_key: int, chunk: int, *places: bytes) -> bytes:
    sizes = ";".join(str(len(one)) for one in places)
    return _digest(f"{push_key};{chunk};{sizes};".encode() + b"".join(places))


def _held_checksum(checksums: Iterable[bytes]) -> bytes:
    return _digest(b"".join(sorted(checksums)))


def _digest(content: bytes) -> bytes:
    """Return a digest that is cryptographic: the chain of events binds what is held by it."""
    return hashlib.blake2b(content, digest_size=DIGEST_SIZE).digest()


def overtake_held(connection: Connection, operator_id: int) -> None:
    """Free the room and the push_ids of what is held of an operator, as its head has moved. The records stay, so that
    whoever confirms one is told why it cannot be."""
    held = _of(Kind.ACTIVE, operator_id) & pushes.c.version.is_(None)
    _drop_numbers(connection, held)
    for row in connection.execute(select(pushes).where(held & pushes.c.push_id.is_not(None))).all():
        _change_record(connection, _checked(row), push_id=None)


def make_room(connection: Connection, kind: Kind, operator_id: int, now_us: int) -> None:
    """Forget what is held or remembered of an operator for too long, and the oldest, so that one more has room.

    Records before a forgotten one are forgotten too, whatever the clock said then.
    """
    for kept, count_max, for_us in (
        (pushes.c.version.is_(None), HELD_MAX, HELD_FOR_US),
        (pushes.c.version.is_not(None), REMEMBERED_MAX, REMEMBERED_FOR_US),
    ):
        own = _of(kind, operator_id) & kept
        keys = select(pushes.c.push_key).where(own).order_by(pushes.c.push_key.desc())
        newest_of_rest = connection.scalar(keys.offset(count_max - 1).limit(1))
        newest_too_old = connection.scalar(keys.where(pushes.c.received_at_us <= now_us - for_us).limit(1))
        _forget(connection, own & (pushes.c.push_key <= max(newest_of_rest or 0, newest_too_old or 0)))


def _forget(connection: Connection, which: ColumnElement[bool]) -> None:
    _drop_numbers(connection, which)
    connection.execute(delete(pushes).where(which))


def _drop_numbers(connection: Connection, which: ColumnElement[bool]) -> None:
    keys = select(pushes.c.push_key).where(which)
    connection.execute(delete(held_numbers).where(held_numbers.c.push_key.in_(keys)))


# --- portings


def push_portings(connection: Connection, header: PortingsHeader, content: PortingsContent, receipt: Receipt) -> Pushed:
    """Apply a push to the portings."""
    head = _head_to_change(connection, Kind.PORTED, header, receipt)
    for operator_id in content.ported:
        check_operator(connection, operator_id)
    changes, counts = _find_portings(connection, header, content, head)
    if not header.force:
        _check_taken(connection, changes, counts.removed, head.number_count)
    revision, epoch = raise_revision(connection), read_epoch(connection)
    written = [
        _write_changes(connection, Kind.PORTED, operator_id, revision, one) for operator_id, one in changes.items()
    ]
    after = Head(
        version=head.version_after(epoch),
        epoch=epoch,
        number_count=counts.number_count,
        data_time_us=receipt.data_time_us,
        checksum=combined([head.checksum, *written]),
        since_us=head.since_us_after(receipt.now_us, snapshot=header.snapshot),
        sequences=head.sequences_after(header),
    )
    write_head(connection, Kind.PORTED, EVERY_OPERATOR, after, now_us=receipt.now_us)
    _record(connection, Kind.PORTED, header, counts, receipt, version=after.version, revision=revision)
    moved: dict[int, BitMap] = defaultdict(BitMap)
    for one in changes.values():
        for chunk, (change, _) in one.items():
            moved[chunk] |= change.added | change.removed
    withdraw(connection, revision, Cause.PORTED, moved, receipt.now_us)
    return Pushed(after.version, revision, counts, after.version)


def _find_portings(
    connection: Connection, header: PortingsHeader, content: PortingsContent, head: Head
) -> tuple[dict[int, Changes], PushCounts]:
    """Return what a push changes by recipient and chunk. A number that goes on to a third operator counts as added
    only."""
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
        previous_sequence=head.sequences.get(header.sequence.series, 0) if header.sequence else 0,
        refused=content.refused.count,
        refused_examples=tuple(content.refused.examples),
    )


def _check_taken(connection: Connection, changes: Mapping[int, Changes], removed: int, number_count: int) -> None:
    """Raise RemovesTooMuch or MovesTooMuch if more than a tenth of all portings end, or end and go on to another."""
    if takes_too_much(removed, number_count):
        raise RemovesTooMuch(removed, number_count)
    by_chunk: dict[int, dict[int, Change]] = defaultdict(dict)
    for operator_id, chunks in changes.items():
        for chunk, (change, _) in chunks.items():
            by_chunk[chunk][operator_id] = change
    moved = moved_on(by_chunk.values())
    if takes_too_much(removed + moved.total(), number_count):
        names = {row.operator_id: row.display_name for row in connection.execute(select(operators))}
        raise MovesTooMuch("portings", moved.total(), removed, number_count, largest_moves(moved, names))


def _ported_count(head: Head, changes: Mapping[int, Changes]) -> int:
    return head.number_count + sum(
        len(change.added) - len(change.removed) for chunks in changes.values() for change, _ in chunks.values()
    )


# --- records of pushes


def try_pushed(connection: Connection, kind: Kind, operator_id: int, push_id: str, now_us: int) -> Pushed | None:
    """Return the answer to the push of that push_id, given again. None if there was none, or it was held and can be
    confirmed no more: then it is a push like any other."""
    row = _one(connection, _of(kind, operator_id) & (pushes.c.push_id == push_id))
    if row is None or _is_over(row, now_us) or (row.version is None and not _can_be_confirmed(connection, row)):
        return None
    return _given_again(connection, row)


def begin(connection: Connection, kind: Kind, header: PushHeader | PortingsHeader, now_us: int) -> Pushed | None:
    """Make room for the record of a push. Return the answer to give again, if there is one to its push_id."""
    operator_id, pushed = _operator_id(header), None
    if header.push_id is not None:
        pushed = try_pushed(connection, kind, operator_id, header.push_id, now_us)
    if pushed is not None and (pushed.received_at_us or 0) <= now_us - REMEMBERED_FOR_US:
        pushed = None
    if pushed is None:  # otherwise nothing is changed, and no act tells of it
        make_room(connection, kind, operator_id, now_us)
        if header.push_id is not None:
            _forget(connection, _of(kind, operator_id) & (pushes.c.push_id == header.push_id))
    return pushed


def _operator_id(header: PushHeader | PortingsHeader) -> int:
    return header.operator_id if isinstance(header, PushHeader) else EVERY_OPERATOR


def check_records(connection: Connection) -> None:
    """Raise StoreDamaged unless the record of every push is what was stored, and what each holds that can be confirmed;
    nothing is held of others."""
    heads, confirmable = read_heads(connection, Kind.ACTIVE), {0}
    for row in map(_checked, connection.execute(select(pushes)).all()):
        version = heads[row.operator_id].version if row.operator_id in heads else 0
        if row.version is None and row.base_version == version:
            _held_rows(connection, row)
            confirmable.add(row.push_key)
    if connection.execute(select(held_numbers).where(held_numbers.c.push_key.not_in(confirmable)).limit(1)).first():
        raise StoreDamaged("there are held numbers of a push that cannot be confirmed")


def _one(connection: Connection, which: ColumnElement[bool]) -> Row[Any] | None:
    row = connection.execute(select(pushes).where(which)).one_or_none()
    return None if row is None else _checked(row)


def _checked(row: Row[Any]) -> Row[Any]:
    return checked(pushes, row, f"a push of operator {row.operator_id}")


def _is_over(row: Row[Any], now_us: int) -> bool:
    return row.version is None and row.received_at_us <= now_us - HELD_FOR_US


def _of(kind: Kind, operator_id: int) -> ColumnElement[bool]:
    return (pushes.c.kind == kind) & (pushes.c.operator_id == operator_id)


def _given_again(connection: Connection, row: Row[Any]) -> Pushed:
    head_version = read_head(connection, Kind(row.kind), row.operator_id).version
    return Pushed(row.version or 0, row.revision or 0, _counts(row), head_version, row.token or "", row.received_at_us)


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
        "operator_id": _operator_id(header),
        "push_id": header.push_id,
        "base_version": receipt.base_version,
        "plan_revision": receipt.basis.plan_revision,
        "portings_version": receipt.basis.portings_version,
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
