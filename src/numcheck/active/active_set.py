"""One operator's active set, in chunks of 10,000,000 numbers.

Invariants: a chunk's bitmap holds places from 0 to 9,999,999, the numbers less the chunk's first; no chunk is empty.
Chunks are what the store writes, what the digest is made of and what the index is built from, so a change costs the
chunks that it touches.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from pyroaring import BitMap

from numcheck._bits import BITSET_SIZE, CHUNK_NUMBERS, set_bitmap
from numcheck.errors import BadActiveSet

NUMBER_MAX = 10**15 - 1  # ITU-T E.164 clause 6: at most 15 digits


def chunk_bitset(bitmap: BitMap) -> bytearray:
    """Return the places of a chunk as bits, least significant first: 1,250,000 bytes."""
    bitset = bytearray(BITSET_SIZE)
    set_bitmap(bitset, bitmap.serialize())
    return bitset


def chunk_digest(bitmap: BitMap) -> bytes:
    """Return the SHA-256 of a chunk's bitset, 32 bytes."""
    return hashlib.sha256(chunk_bitset(bitmap)).digest()


def set_digest(chunk_digests: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the digest of an active set from its chunks' digests: SHA-256 over each chunk in order, its number as 8
    bytes big-endian and then its digest. docs/format.md says it so that an operator can compute it on its side."""
    digest = hashlib.sha256()
    for chunk, one in sorted(chunk_digests):
        digest.update(chunk.to_bytes(8, "big") + one)
    return digest.digest()


class ActiveSet:
    """A set of E.164 numbers, changeable."""

    def __init__(self, chunks: Mapping[int, BitMap] | None = None) -> None:
        """Take bitmaps by chunk, which is a number of the chunk divided by 10,000,000."""
        self._chunks = {chunk: bitmap for chunk, bitmap in sorted((chunks or {}).items()) if bitmap}
        for chunk, bitmap in self._chunks.items():
            if bitmap.max() >= CHUNK_NUMBERS or not 0 <= chunk <= NUMBER_MAX // CHUNK_NUMBERS:
                raise BadActiveSet(f"chunk {chunk} holds a place past its end, or cannot be")

    def add_range(self, first: int, last: int) -> None:
        """Add every number from `first` to `last`, both inclusive."""
        _check(first, last)
        for chunk in range(first // CHUNK_NUMBERS, last // CHUNK_NUMBERS + 1):
            base = chunk * CHUNK_NUMBERS
            bitmap = self._chunks.setdefault(chunk, BitMap())
            bitmap.add_range(max(first - base, 0), min(last - base, CHUNK_NUMBERS - 1) + 1)

    def chunks(self) -> Iterator[tuple[int, BitMap]]:
        """Each chunk that holds numbers, ascending."""
        return iter(sorted(self._chunks.items()))

    def __contains__(self, number: int) -> bool:
        bitmap = self._chunks.get(number // CHUNK_NUMBERS)
        return bitmap is not None and number % CHUNK_NUMBERS in bitmap

    def __len__(self) -> int:
        return sum(len(bitmap) for bitmap in self._chunks.values())

    def __iter__(self) -> Iterator[int]:
        for chunk, bitmap in self.chunks():
            for place in bitmap:
                yield chunk * CHUNK_NUMBERS + place

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActiveSet) and self._chunks == other._chunks

    __hash__ = None  # type: ignore[assignment]  # it changes

    def digest(self) -> bytes:
        """Return what both sides compare to know that they hold the same numbers: `set_digest` of the chunks, 32
        bytes."""
        return set_digest((chunk, chunk_digest(bitmap)) for chunk, bitmap in self.chunks())


def _check(first: int, last: int) -> None:
    if not 0 <= first <= last <= NUMBER_MAX:
        raise BadActiveSet("a number has more than 15 digits, or a range ends before it starts")
