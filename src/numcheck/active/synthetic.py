"""A synthetic population: made-up active sets for trying out and for measuring, never data about anybody.

It follows the real plan: each operator gets its share of the numbers, in pieces of its ranges of up to 10,000. A piece
is full, a third full at random, or empty, the first two as three to five, as far as the count asked for reaches.
The same plan, count and seed give the same sets, whatever the machine.
"""

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence

from pyroaring import BitMap

from numcheck._bits import BITSET_SIZE, CHUNK_NUMBERS, copy_range, members_of, set_at_random, set_members
from numcheck.active.active_set import ActiveSet

PIECE_NUMBERS_MAX = 10_000
FULL_SHARE = 3 / 8
RANDOM_DENSITY = 1 / 3
EVERY_BIT = b"\xff" * BITSET_SIZE

Interval = tuple[int, int]


def synthetic_sets(
    ranges: Mapping[int, Sequence[Interval]], *, number_count: int, seed: int
) -> Iterator[tuple[int, ActiveSet]]:
    """Yield operator ids with their active sets, `number_count` numbers in all.

    `ranges` holds each operator's ranges, first and last number inclusive. ValueError if they have no room.
    """
    sizes = {operator_id: sum(last - first + 1 for first, last in held) for operator_id, held in ranges.items()}
    if not 0 <= number_count <= sum(sizes.values()):
        raise ValueError(f"{number_count:,} active numbers do not fit into a plan of {sum(sizes.values()):,}")
    for operator_id, count in _shares(sizes, number_count).items():
        yield operator_id, _populate(ranges[operator_id], count, random.Random(f"{seed}:{operator_id}"))


def _shares(sizes: Mapping[int, int], number_count: int) -> dict[int, int]:
    """Divide a count in proportion to sizes, by the largest remainders, so that the sum is exact."""
    total = sum(sizes.values()) or 1
    shares = {key: number_count * size // total for key, size in sizes.items()}
    remainders = sorted(sizes, key=lambda key: (-(number_count * sizes[key] % total), key))
    for key in remainders[: number_count - sum(shares.values())]:
        shares[key] += 1
    return shares


def _pieces(ranges: Sequence[Interval]) -> list[Interval]:
    """Return the ranges, cut at every multiple of 10,000."""
    pieces = []
    for first, last in ranges:
        for start in range(first - first % PIECE_NUMBERS_MAX, last + 1, PIECE_NUMBERS_MAX):
            pieces.append((max(first, start), min(last, start + PIECE_NUMBERS_MAX - 1)))
    return pieces


def _populate(ranges: Sequence[Interval], count: int, generator: random.Random) -> ActiveSet:
    pieces = _pieces(ranges)
    size = sum(last - first + 1 for first, last in pieces)
    # If the usual mixture has no room for the count, more pieces are full.
    full_share = max(FULL_SHARE, (count / size - RANDOM_DENSITY) / (1 - RANDOM_DENSITY) + 0.01) if size else 0
    generator.shuffle(pieces)
    bitsets: dict[int, bytearray] = {}
    for piece in pieces:
        if count == 0:
            break
        count -= _fill(bitsets, piece, count, generator, full_share)
    for piece in pieces:
        if count == 0:
            break
        count -= _top_up(bitsets, piece, count)
    return ActiveSet({chunk: _to_bitmap(bitset) for chunk, bitset in bitsets.items()})


def _fill(
    bitsets: dict[int, bytearray], piece: Interval, count: int, generator: random.Random, full_share: float
) -> int:
    """Fill one piece with at most `count` numbers, whole or at random; return how many."""
    chunk, first = divmod(piece[0], CHUNK_NUMBERS)
    size = piece[1] - piece[0] + 1
    bitset = bitsets.setdefault(chunk, bytearray(BITSET_SIZE))
    full, seed = generator.random() < full_share, generator.getrandbits(64)
    if not full and size <= count:
        return set_at_random(bitset, first, first + size - 1, seed, RANDOM_DENSITY)
    copy_range(bitset, EVERY_BIT, first, first + min(size, count) - 1)
    return min(size, count)


def _top_up(bitsets: dict[int, bytearray], piece: Interval, count: int) -> int:
    """Set up to `count` bits that chance has left out of one piece, first ones first; return how many."""
    chunk, first = divmod(piece[0], CHUNK_NUMBERS)
    bitset = bitsets.setdefault(chunk, bytearray(BITSET_SIZE))
    places = range(first, first + piece[1] - piece[0] + 1)
    missing = [place for place in places if not bitset[place >> 3] >> (place & 7) & 1][:count]
    set_members(bitset, array("I", missing))
    return len(missing)


def _to_bitmap(bitset: bytearray) -> BitMap:
    bitmap = BitMap(members_of(bitset))
    bitmap.run_optimize()
    return bitmap
