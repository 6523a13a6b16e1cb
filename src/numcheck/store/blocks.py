"""Sets of numbers in blocks of 65,536 places of a chunk: one Roaring container a row, so that a change costs what it
touches.

Invariants, at every revision: a block has its row's checksum and its digest; the sum of a set's block digests is its
head's checksum, so that a row too few, too many or of another version shows; a block that is emptied stays, with the
revision that emptied it, so that who follows sees it go.

The row's checksum finds damage, at every read. The digest and the sum find what somebody made who knows how: the chain
of events binds the head, and nobody can make other blocks that have its sum. So a digest is SHA-256, and a set's sum is
that of 4,096 bits of SHAKE128 over each digest and its place, modulo 2^4096 (AdHash: Bellare and Micciancio, EUROCRYPT
'97). An exclusive or, or a shorter sum, of as many blocks as there are can be solved for; this one takes Wagner's
generalised birthday attack 2^128 steps.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import xxhash
from pyroaring import AbstractBitMap, BitMap
from sqlalchemy import ColumnElement, Connection, Row, Select, delete, select

from numcheck._bits import CHUNK_NUMBERS
from numcheck.active import ChunkMembers
from numcheck.errors import StoreDamaged
from numcheck.store.bulk import insert_rows, pieces
from numcheck.store.schema import blocks

BLOCK_PLACES = 65_536
CHUNK_PARTS = -(-CHUNK_NUMBERS // BLOCK_PLACES)
PARTS_ROOM = 256  # block = chunk * PARTS_ROOM + part
PARTS = [BitMap(range(part * BLOCK_PLACES, (part + 1) * BLOCK_PLACES)) for part in range(CHUNK_PARTS)]
SUM_SIZE = 512
NO_BLOCKS = bytes(SUM_SIZE)
ROWS_MAX = 500  # in one statement: SQLite takes 32,766 parameters, PostgreSQL 65,535


class Kind(IntEnum):
    """The meaning of a set of numbers for an operator."""

    ACTIVE = 1  # they are in its billing database
    PORTED = 2  # they are ported to it


class BlockRow(NamedTuple):
    """A row of the blocks."""

    kind: int
    operator_id: int
    block: int
    revision: int
    number_count: int
    checksum: bytes
    digest: bytes
    bitmap: bytes


def parts_of(places: AbstractBitMap) -> list[int]:
    """Return the parts of a chunk in which there are places."""
    return [part for part, room in enumerate(PARTS) if places.intersect(room)]


def blocks_of(chunk: int, parts: Iterable[int]) -> list[int]:
    """Return the blocks of parts of a chunk."""
    return [chunk * PARTS_ROOM + part for part in parts]


def _content(kind: int, operator_id: int, block: int, revision: int, number_count: int, bitmap: bytes) -> bytes:
    """Return what a block's checksum and digest are of."""
    return f"{kind};{operator_id};{block};{revision};{number_count};".encode() + bitmap


def combined(checksums: Iterable[bytes], *, without: Iterable[bytes] = ()) -> bytes:
    """Return the sum of checksums of blocks or sets, less that of others."""
    total = sum(map(_number, checksums)) - sum(map(_number, without))
    return (total % (1 << 8 * SUM_SIZE)).to_bytes(SUM_SIZE, "little")


def _number(checksum: bytes) -> int:
    return int.from_bytes(checksum, "little")


def _share(kind: int, operator_id: int, block: int, digest: bytes) -> bytes:
    """Return what a block gives to the checksum of its set; of its place as well, so that one which has moved shows."""
    return hashlib.shake_128(f"{kind};{operator_id};{block};".encode() + digest).digest(SUM_SIZE)


def checked_bitmap(row: Row[Any]) -> BitMap:
    """Return the places of a block's row; StoreDamaged if it is not what was stored."""
    try:
        checksum = xxhash.xxh3_128_digest(_content_of(row))
    except TypeError:  # a column of another type
        checksum = None
    if checksum != row.checksum:
        raise StoreDamaged(f"block {row.block} of the numbers of operator {row.operator_id} is not what was stored")
    return BitMap.deserialize(row.bitmap)


def _content_of(row: Row[Any]) -> bytes:
    return _content(row.kind, row.operator_id, row.block, row.revision, row.number_count, row.bitmap)


# --- reading


def read_rows(connection: Connection, kind: Kind, operator_id: int, wanted: Sequence[int]) -> Iterator[Row[Any]]:
    """Yield the rows of an operator's blocks, of those wanted that there are."""
    own = (blocks.c.kind == kind) & (blocks.c.operator_id == operator_id)
    for some in pieces(wanted, ROWS_MAX):
        yield from connection.execute(select(blocks).where(own, blocks.c.block.in_(some)))


def read_chunk(connection: Connection, kind: Kind, operator_id: int, chunk: int) -> BitMap:
    """Return an operator's numbers in a chunk, as places."""
    own = (blocks.c.kind == kind) & (blocks.c.operator_id == operator_id)
    rows = connection.execute(select(blocks).where(own, _in_chunk(chunk)))
    return BitMap.union(BitMap(), *map(checked_bitmap, rows))


def chunks_of(connection: Connection, kind: Kind, operator_id: int) -> list[int]:
    """Return the chunks in which an operator has blocks, ascending."""
    own = (blocks.c.kind == kind) & (blocks.c.operator_id == operator_id)
    return _chunks(connection, select(blocks.c.block).where(own))


def chunks_of_kind(connection: Connection, kind: Kind) -> list[int]:
    """Return the chunks in which any operator has blocks of a kind, ascending."""
    return _chunks(connection, select(blocks.c.block).where(blocks.c.kind == kind))


def _chunks(connection: Connection, statement: Select[Any]) -> list[int]:
    try:
        return sorted({block // PARTS_ROOM for block in connection.scalars(statement)})
    except TypeError:
        raise StoreDamaged("a block of numbers has no number") from None


def _in_chunk(chunk: int) -> Any:
    return blocks.c.block.between(chunk * PARTS_ROOM, chunk * PARTS_ROOM + PARTS_ROOM - 1)


def read_ported(connection: Connection, chunk: int, parts: Collection[int] | None = None) -> dict[int, BitMap]:
    """Return the places of a chunk, or of those parts of it, that are ported to each operator."""
    rows = connection.execute(select(blocks).where(blocks.c.kind == Kind.PORTED, _wanted(chunk, parts)))
    return _by_operator(rows)[Kind.PORTED]


def read_members(connection: Connection, chunk: int, parts: Collection[int] | None) -> ChunkMembers:
    """All that was pushed of a chunk, or of those parts of it."""
    sets = _by_operator(connection.execute(select(blocks).where(_wanted(chunk, parts))))
    return ChunkMembers(active=sets[Kind.ACTIVE], ported=sets[Kind.PORTED])


def _wanted(chunk: int, parts: Collection[int] | None) -> ColumnElement[bool]:
    return _in_chunk(chunk) if parts is None else blocks.c.block.in_(blocks_of(chunk, parts))


def _by_operator(rows: Iterable[Row[Any]]) -> dict[int, dict[int, BitMap]]:
    found: dict[int, dict[int, list[BitMap]]] = {kind: defaultdict(list) for kind in Kind}
    for row in rows:
        found.setdefault(row.kind, defaultdict(list))[row.operator_id].append(checked_bitmap(row))
    return {kind: {one: BitMap.union(BitMap(), *parts) for one, parts in sets.items()} for kind, sets in found.items()}


def changed_since(connection: Connection, revision: int) -> dict[int, set[int]]:
    """Return the parts of each chunk in which a block was changed after a revision."""
    changed: dict[int, set[int]] = defaultdict(set)
    for block in connection.scalars(select(blocks.c.block).where(blocks.c.revision > revision)):
        chunk, part = divmod(block, PARTS_ROOM)
        changed[chunk].add(part)
    return changed


def set_checksum(connection: Connection, kind: Kind, operator_id: int) -> bytes:
    """Return the checksum of an operator's set, as its rows have it."""
    own = (blocks.c.kind == kind) & (blocks.c.operator_id == operator_id)
    rows = connection.execute(select(blocks.c.block, blocks.c.digest).where(own))
    return combined(_share(kind, operator_id, row.block, row.digest) for row in rows)


def checksums(connection: Connection) -> dict[tuple[int, int], bytes]:
    """Return the checksum of each operator's set of each kind, as its rows have it."""
    found: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for row in connection.execute(select(blocks.c.kind, blocks.c.operator_id, blocks.c.block, blocks.c.digest)):
        found[row.kind, row.operator_id].append(_share(*row))
    return {key: combined(some) for key, some in found.items()}


def number_counts(connection: Connection) -> Counter[tuple[int, int]]:
    """Return how many numbers each operator's set of each kind has in its blocks; StoreDamaged names one that is not
    whole.

    The digests are compared as well: no other reading takes that time.
    """
    counts: Counter[tuple[int, int]] = Counter()
    with connection.execute(select(blocks), execution_options={"yield_per": ROWS_MAX}) as rows:
        for row in rows:
            count = len(checked_bitmap(row))
            if hashlib.sha256(_content_of(row)).digest() != row.digest:
                raise StoreDamaged(f"block {row.block} of the numbers of operator {row.operator_id} has another digest")
            if count != row.number_count:
                raise StoreDamaged(f"block {row.block} of the numbers of operator {row.operator_id} has another count")
            counts[row.kind, row.operator_id] += count
    return counts


def check_places(connection: Connection) -> None:
    """Raise StoreDamaged unless the engine's index of places, by which chunks are read, knows every block."""
    by_place = connection.scalars(select(blocks.c.block).order_by(blocks.c.block)).all()
    rows = connection.execute(
        select(blocks.c.block, blocks.c.checksum)
    ).all()  # of the table: the index has no checksum
    if Counter(by_place) != Counter(row.block for row in rows):
        raise StoreDamaged("the index of the blocks' places does not know every block")


# --- writing


def write_places(
    connection: Connection, kind: Kind, operator_id: int, revision: int, places: Mapping[int, Mapping[int, BitMap]]
) -> bytes:
    """Make these the places of an operator's blocks, by chunk and part; return what that does to the set's checksum."""
    rows = [
        _row(kind, operator_id, chunk * PARTS_ROOM + part, revision, bitmap)
        for chunk, parts in places.items()
        for part, bitmap in parts.items()
    ]
    own = (blocks.c.kind == kind) & (blocks.c.operator_id == operator_id)
    replaced: list[bytes] = []
    for some in pieces([row.block for row in rows], ROWS_MAX):
        same = own & blocks.c.block.in_(some)
        old = connection.execute(select(blocks.c.block, blocks.c.digest).where(same))
        replaced += (_share(kind, operator_id, row.block, row.digest) for row in old)
        connection.execute(delete(blocks).where(same))
    insert_rows(connection, blocks, rows)
    return combined((_share(kind, operator_id, row.block, row.digest) for row in rows), without=replaced)


def replace_places(connection: Connection, operator_id: int, revision: int, chunks: Mapping[int, BitMap]) -> bytes:
    """Make these an operator's active places, by chunk, whatever was there; return the set's checksum."""
    own = (blocks.c.kind == Kind.ACTIVE) & (blocks.c.operator_id == operator_id)
    emptied = set(connection.scalars(select(blocks.c.block).where(own)))
    connection.execute(delete(blocks).where(own))
    written = []
    for chunk in sorted({*chunks, *(block // PARTS_ROOM for block in emptied)}):
        places = chunks.get(chunk, BitMap())
        parts = {*parts_of(places), *(block % PARTS_ROOM for block in emptied if block // PARTS_ROOM == chunk)}
        new = {chunk: {part: places & PARTS[part] for part in sorted(parts)}}
        written.append(write_places(connection, Kind.ACTIVE, operator_id, revision, new))
    return combined(written)


def _row(kind: Kind, operator_id: int, block: int, revision: int, bitmap: BitMap) -> BlockRow:
    bitmap.run_optimize()
    serialized, number_count = bitmap.serialize(), len(bitmap)
    content = _content(kind, operator_id, block, revision, number_count, serialized)
    checksum, digest = xxhash.xxh3_128_digest(content), hashlib.sha256(content).digest()
    return BlockRow(int(kind), operator_id, block, revision, number_count, checksum, digest, serialized)
