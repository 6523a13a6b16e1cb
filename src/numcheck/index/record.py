"""Layers of the record of withdrawals, written from what the store recorded. docs/format.md says them byte by byte.

Invariant: each withdrawal that the store recorded up to the index's version, from the record's beginning on, is in one
of the layers, at its own moment or at a later one that stands for it. So no answer misses one.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

from pyroaring import AbstractBitMap

from numcheck._recycled import NARROW_CODES_MAX, WIDE_CODE_SIZE, WIDE_CODES_MAX, ChunkWriter, Layer, foot_of
from numcheck.index.format import FileRecord, write_block_file

DAY_S = 86_400
WIDTHS_S = (DAY_S, 7 * DAY_S, 28 * DAY_S)
"""Widths by which moments are joined where there are more of them than codes, the narrowest first."""
WIDE_NUMBERS_MAX = 16_777_216  # of a layer that tells every moment from others: 2 bytes a number
LAYERS_MAX = 8  # each is looked at for every number that is asked about
FOLDED_RATIO = 4  # a layer of at most so many times as many numbers as a new one is folded into it

ChunkWithdrawals = Sequence[tuple[int, AbstractBitMap]]
"""Moments, in seconds since 1970, and the places that were withdrawn at each."""


@dataclass(frozen=True, slots=True)
class RecordSource:
    """The record of withdrawals in the store.

    `since` is the second that it goes back to, 0 if nothing was recorded yet. `counts(revision)` has how many numbers
    were withdrawn at each moment by the changes after a revision; `withdrawn(revision)` gives them by ascending chunk.
    """

    since: int = 0
    counts: Callable[[int], Mapping[int, int]] = lambda _revision: {}
    withdrawn: Callable[[int], Iterable[tuple[int, ChunkWithdrawals]]] = lambda _revision: ()


def write_record(directory: Path, name: str, source: RecordSource) -> list[FileRecord]:
    """Write all that the store recorded; the files of the layers."""
    return _write_layer(directory, name, source, 0, ())


def update_record(
    directory: Path, name: str, source: RecordSource, after: int, base: Sequence[tuple[FileRecord, Layer]]
) -> list[FileRecord]:
    """Write what was recorded after a revision, with those of the layers before it that are not much larger.

    So layers are few, and what is written is in proportion to what changed.
    """
    count, kept = sum(source.counts(after).values()), list(base)
    if not count:
        return [record for record, _ in kept]
    folded: list[Layer] = []
    while kept and (kept[-1][1].number_count <= FOLDED_RATIO * count or len(kept) >= LAYERS_MAX):
        folded.append(kept.pop()[1])
        count += folded[-1].number_count
    return [record for record, _ in kept] + _write_layer(directory, name, source, after, folded)


def _write_layer(
    directory: Path, name: str, source: RecordSource, after: int, folded: Sequence[Layer]
) -> list[FileRecord]:
    counts = source.counts(after)
    moments = {*counts, *(moment for layer in folded for moment in layer.moments)}
    kept = sorted(moment for moment in moments if moment >= source.since)
    if not kept:
        return []
    count = sum(counts.values()) + sum(layer.number_count for layer in folded)
    wide = count <= WIDE_NUMBERS_MAX
    writing = _Writing(
        source, joined(kept, WIDE_CODES_MAX if wide else NARROW_CODES_MAX), WIDE_CODE_SIZE if wide else 1
    )
    return [write_block_file(directory, name, writing.pieces(after, folded))]


def joined(moments: Sequence[int], count_max: int) -> list[int]:
    """Return at most so many of the moments, which ascend: the last of each day for all others of it, from the oldest
    on, as far as need be; then of each week, and of each four weeks."""
    kept = list(moments)
    for width_s in WIDTHS_S:
        kept = _joined(kept, width_s, len(kept) - count_max)
    return kept[-count_max:]


def _joined(moments: Iterable[int], width_s: int, excess: int) -> list[int]:
    kept: list[int] = []
    for moment in moments:
        if excess > 0 and kept and kept[-1] // width_s == moment // width_s:
            kept[-1] = moment
            excess -= 1
        else:
            kept.append(moment)
    return kept


class _Writing:
    """A layer in the making."""

    def __init__(self, source: RecordSource, moments: Sequence[int], code_size: int) -> None:
        self._source, self._moments, self._code_size = source, moments, code_size
        self._writer = ChunkWriter()

    def _code(self, moment: int) -> int:
        """Return the code of a moment: that of the first kept one which is not before it; 0 if the record begins
        later."""
        return bisect_left(self._moments, moment) + 1 if moment >= self._source.since else 0

    def pieces(self, after: int, folded: Sequence[Layer]) -> Iterator[bytes]:
        """Yield the layer's payload: a block for each chunk, and the foot."""
        translations = [array("H", [0, *map(self._code, layer.moments)]) for layer in folded]
        blocks: list[tuple[int, int]] = []
        number_count = 0
        kept = (((chunk, ()) for chunk in layer.chunks) for layer in folded)
        by_chunk = itemgetter(0)
        for chunk, found in groupby(merge(self._source.withdrawn(after), *kept, key=by_chunk), by_chunk):
            for moment, places in chain.from_iterable(some for _, some in found):
                if code := self._code(moment):
                    self._writer.add(places.to_array(), code)
            for layer, translation in zip(folded, translations, strict=True):
                self._writer.overlay(layer, chunk, translation)
            block, count = self._writer.lay_out(self._code_size)
            if count:
                blocks.append((chunk, len(block)))
                number_count += count
                yield block
        yield foot_of(self._moments, blocks, self._code_size, number_count)
