"""Builds the index's files from what the store holds. The same source gives the same bytes."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pyroaring import BitMap

from numcheck._bits import BITSET_SIZE, CHUNK_NUMBERS, CHUNK_PAGES, PageLayout, copy_range, set_members
from numcheck.active import Operator
from numcheck.index.classes import UNALLOCATED, NumberClass
from numcheck.index.format import FileRecord, remove_unnamed, write_block_file, write_manifest

ENTRY_SIZE = 8
# The kernel may read a plain page's width from any page's start, so the last page needs room behind it.
PAGES_PADDING = bytes(1_256)
SPAN_CHUNKS_MAX = 2**32 // CHUNK_NUMBERS
SPAN_GAP_CHUNKS_MAX = 16  # a gap in the directory costs 8 kB a chunk, another span a comparison a number


class IndexedRange(NamedTuple):
    """A contiguous allocation of numbers to one operator; first and last are inclusive."""

    first: int
    last: int
    operator_id: int
    mobile: bool
    region: str


@dataclass(frozen=True, slots=True)
class IndexSource:
    """All that an index is made of.

    `ranges` ascend and are disjoint; `spaces` are the first and last numbers that a loaded plan's country can have;
    `active_chunk(operator_id, chunk)` gives the places of a chunk that are in the operator's active set.
    """

    index_version: int
    spaces: Sequence[tuple[int, int]]
    ranges: Sequence[IndexedRange]
    operators: Sequence[Operator]
    active_chunk: Callable[[int, int], BitMap | None]


class Span(NamedTuple):
    """Consecutive chunks that the directory covers, first and last inclusive."""

    first_chunk: int
    last_chunk: int


def build_index(directory: Path, source: IndexSource) -> None:
    """Build and publish an index: durable, and what a reader opens next, when this returns."""
    directory.mkdir(parents=True, exist_ok=True)
    build = _Build(source)
    files = {
        "pages": write_block_file(directory, _file_name("pages", source), build.pages()),
        "directory": write_block_file(directory, _file_name("directory", source), [bytes(build.entries)]),
        "ranges": write_block_file(directory, _file_name("ranges", source), [build.range_table()]),
    }
    write_manifest(directory, build.manifest(files))
    remove_unnamed(directory, [record.name for record in files.values()])


def _file_name(kind: str, source: IndexSource) -> str:
    return f"{kind}-{source.index_version:016d}.idx"


def spans_of(ranges: Sequence[IndexedRange]) -> list[Span]:
    """The chunks that the ranges lie in, those with the most mobile numbers first: that span the kernel tries first."""
    chunks = sorted({chunk for held in ranges for chunk in _chunks(held)})
    spans: list[Span] = []
    for chunk in chunks:
        near = spans and chunk - spans[-1].last_chunk <= SPAN_GAP_CHUNKS_MAX
        if near and chunk - spans[-1].first_chunk < SPAN_CHUNKS_MAX:
            spans[-1] = Span(spans[-1].first_chunk, chunk)
        else:
            spans.append(Span(chunk, chunk))
    mobile = [held for held in ranges if held.mobile]
    return sorted(spans, key=lambda span: -sum(_inside(held, span) for held in mobile))


def _chunks(held: IndexedRange) -> range:
    return range(held.first // CHUNK_NUMBERS, held.last // CHUNK_NUMBERS + 1)


def _inside(held: IndexedRange, span: Span) -> int:
    inside = span.first_chunk <= held.first // CHUNK_NUMBERS <= span.last_chunk
    return held.last - held.first + 1 if inside else 0


@dataclass(slots=True)
class _Build:
    source: IndexSource
    classes: list[NumberClass] = field(init=False)
    spans: list[Span] = field(init=False)
    entries: bytearray = field(init=False, default_factory=bytearray)

    def __post_init__(self) -> None:
        self.classes = sorted({NumberClass(held.operator_id, held.mobile) for held in self.source.ranges})
        self.spans = spans_of(self.source.ranges)

    def pages(self) -> Iterator[bytes]:
        """Yield the pages of every chunk, filling the directory on the way."""
        layout = PageLayout(extent=1)
        class_numbers = {one: number for number, one in enumerate(self.classes, 2)}
        for span in self.spans:
            for chunk in range(span.first_chunk, span.last_chunk + 1):
                held = self._ranges_of(chunk)
                if held:
                    entries, pages = layout.lay_out(self._bitset(chunk, held), *_runs(chunk, held, class_numbers))
                    yield pages
                else:
                    entries = bytes(CHUNK_PAGES * ENTRY_SIZE)
                self.entries += entries
        yield PAGES_PADDING

    def _ranges_of(self, chunk: int) -> list[IndexedRange]:
        """The ranges that lie in a chunk, cut to it."""
        first, last = chunk * CHUNK_NUMBERS, (chunk + 1) * CHUNK_NUMBERS - 1
        ranges = self.source.ranges
        start = max(bisect_right(ranges, first, key=lambda held: held.first) - 1, 0)
        end = bisect_right(ranges, last, key=lambda held: held.first)
        return [
            held._replace(first=max(held.first, first), last=min(held.last, last))
            for held in ranges[start:end]
            if held.last >= first
        ]

    def _bitset(self, chunk: int, ranges: Sequence[IndexedRange]) -> bytearray:
        """The active bits of a chunk: those of each range's own operator, and no other's."""
        bitset = bytearray(BITSET_SIZE)
        for operator_id in sorted({held.operator_id for held in ranges if held.mobile}):
            bitmap = self.source.active_chunk(operator_id, chunk)
            if not bitmap:
                continue
            active = bytearray(BITSET_SIZE)
            set_members(active, bitmap.to_array())
            for held in ranges:
                if held.operator_id == operator_id and held.mobile:
                    copy_range(bitset, active, held.first % CHUNK_NUMBERS, held.last % CHUNK_NUMBERS)
        return bitset

    def range_table(self) -> bytes:
        """Four columns: first numbers, last numbers, operator ids, regions."""
        ranges, regions = self.source.ranges, {region: number for number, region in enumerate(self.regions())}
        columns = (
            array("Q", [held.first for held in ranges]),
            array("Q", [held.last for held in ranges]),
            array("I", [held.operator_id for held in ranges]),
            array("I", [regions[held.region] for held in ranges]),
        )
        return b"".join(column.tobytes() for column in columns)

    def regions(self) -> list[str]:
        return sorted({held.region for held in self.source.ranges})

    def manifest(self, files: dict[str, FileRecord]) -> dict[str, Any]:
        return {
            "index_version": self.source.index_version,
            "files": {kind: [record.name, record.payload_size, record.checksum] for kind, record in files.items()},
            "spaces": list(self.source.spaces),
            "spans": self.spans,
            "classes": self.classes,
            "operators": [_operator_row(operator) for operator in self.source.operators],
            "range_count": len(self.source.ranges),
            "regions": self.regions(),
        }


def _runs(
    chunk: int, ranges: Sequence[IndexedRange], class_numbers: dict[NumberClass, int]
) -> "tuple[array[int], array[int]]":
    """The classes of a chunk's numbers from its start to its end: where each run of one class starts, and its class."""
    firsts, classes = array("I"), array("H")

    def start_run(first: int, number_class: int) -> None:
        if first < CHUNK_NUMBERS and (not classes or classes[-1] != number_class):
            firsts.append(first)
            classes.append(number_class)

    free = 0
    for held in ranges:
        first, last = held.first - chunk * CHUNK_NUMBERS, held.last - chunk * CHUNK_NUMBERS
        if free < first:
            start_run(free, UNALLOCATED)
        start_run(first, class_numbers[NumberClass(held.operator_id, held.mobile)])
        free = last + 1
    start_run(free, UNALLOCATED)
    return firsts, classes


def _operator_row(operator: Operator) -> list[Any]:
    moment = None if operator.data_time is None else operator.data_time.isoformat()
    head = [operator.data_version, moment, operator.synthetic]
    return [operator.operator_id, operator.display_name, operator.tax_id, *head]
