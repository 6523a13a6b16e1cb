"""Builds the index's files from what the store holds. The same source gives the same bytes."""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pyroaring import BitMap

from numcheck._bits import BITSET_SIZE, CHUNK_NUMBERS, CHUNK_PAGES, LaidOut, PageLayout, set_bitmap
from numcheck.active import AllottedRange, ChunkMembers, Operator
from numcheck.active.members import home, served
from numcheck.index.classes import FIRST_CLASS, UNALLOCATED, NumberClass, number_classes
from numcheck.index.format import FileRecord, IndexFiles, remove_unnamed, write_block_file, write_manifest
from numcheck.index.record import RecordSource, update_record, write_record
from numcheck.privacy import make_private_directory

PAGE_NUMBERS = CHUNK_NUMBERS // CHUNK_PAGES
PART_PLACES = 65_536  # what a change is told in: a Roaring container
ENTRY_SIZE, ENTRY_EXTENT = 8, 6
FOLDED_RATIO = 2  # an extent of at most so many times what changed is folded into it
EXTENTS_KEPT_MAX = 32
# The kernel may read a plain page's width from any page's start, so the last page needs room behind it.
PAGES_PADDING = bytes(1_256)
SPAN_CHUNKS_MAX = 2**32 // CHUNK_NUMBERS
SPAN_GAP_CHUNKS_MAX = 16  # a gap in the directory costs 8 kB a chunk, another span a comparison a number


@dataclass(frozen=True, slots=True)
class IndexSource:
    """All that an index is made of.

    `ranges` ascend and are disjoint; `spaces` are the first and last numbers that a loaded plan's country can have;
    `members(chunk, parts)` gives what was pushed of a chunk: of all of it, or at least of parts, 65,536 places each.
    """

    index_version: int
    spaces: Sequence[tuple[int, int]]
    ranges: Sequence[AllottedRange]
    operators: Sequence[Operator]
    members: Callable[[int, Collection[int] | None], ChunkMembers]
    installation_id: str = "0" * 32  # of the store: revisions of two stores are not to be compared
    mark: bytes = bytes(16)  # of the revision: another history of the same store has another one
    lost: Sequence[tuple[int, int]] = ()  # versions, first and last, of histories that the store does not have
    record: RecordSource = RecordSource()  # noqa: RUF009  # it never changes


class _Parts(NamedTuple):
    """The input from which PageLayout makes a chunk's pages."""

    bitset: bytearray
    run_firsts: "array[int]"
    run_classes: "array[int]"
    ported: "list[tuple[int, array[int]]]"


class Span(NamedTuple):
    """Consecutive chunks that the directory covers, first and last inclusive."""

    first_chunk: int
    last_chunk: int


def build_index(directory: Path, source: IndexSource) -> None:
    """Build and publish an index of everything: durable, and what a reader opens next, when this returns."""
    make_private_directory(directory)
    build = _Build(source, spans_of(source.ranges), _classes_of(source.ranges))
    extent = write_block_file(directory, _file_name("pages", source), build.every_page())
    ranges = write_block_file(directory, _file_name("ranges", source), [build.range_table()])
    record = write_record(directory, _file_name("record", source), source.record)
    _publish(directory, build, _Written(ranges, [extent], record))


def update_index(
    directory: Path, source: IndexSource, base: IndexFiles, changed: Mapping[int, Collection[int]]
) -> None:
    """Build and publish an index from the published one, `base`, by what was pushed after it: the parts of each chunk.

    The plan is the same. Pages that changed go into an extent of their own, with those of the extents before it that
    are not much larger: so extents are few, and what is written is in proportion to what changed.
    """
    manifest, kept = base.manifest, len(base.extents)
    spans, classes = [Span(*row) for row in manifest["spans"]], number_classes(manifest["classes"])
    build, layout = _Build(source, spans, classes, bytearray(base.directory)), PageLayout(kept + 1)
    pages, extents = (
        build.changed_pages(layout, base, changed),
        [FileRecord(*row) for row in manifest["files"]["extents"]],
    )
    if pages:
        while kept and (len(base.extents[kept - 1]) <= FOLDED_RATIO * len(pages) or kept >= EXTENTS_KEPT_MAX):
            pages += layout.gather(build.entries, base.extents[kept - 1], kept)
            kept -= 1
        build.renumber(len(extents) + 1, kept + 1)
        extents[kept:] = [write_block_file(directory, _file_name("pages", source), [pages, PAGES_PADDING])]
    layers = [(FileRecord(*row), layer) for row, layer in zip(manifest["files"]["record"], base.layers, strict=True)]
    name = _file_name("record", source)
    record = update_record(directory, name, source.record, manifest["index_version"], layers)
    _publish(directory, build, _Written(FileRecord(*manifest["files"]["ranges"]), extents, record))


def _file_name(kind: str, source: IndexSource) -> str:
    return f"{kind}-{source.index_version:016d}.idx"


class _Written(NamedTuple):
    """The files of a version beside its directory."""

    ranges: FileRecord
    extents: Sequence[FileRecord]
    record: Sequence[FileRecord]


def _publish(directory: Path, build: "_Build", written: _Written) -> None:
    entries = write_block_file(directory, _file_name("directory", build.source), [build.entries])
    write_manifest(directory, build.manifest(entries, written))
    named = (entries, written.ranges, *written.extents, *written.record)
    remove_unnamed(directory, [record.name for record in named])


def spans_of(ranges: Sequence[AllottedRange]) -> list[Span]:
    """Return the chunks that the ranges lie in, those with the most mobile numbers first: that span the kernel tries
    first."""
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


def _classes_of(ranges: Sequence[AllottedRange]) -> list[NumberClass]:
    return sorted({NumberClass(held.operator_id, held.mobile) for held in ranges})


def _chunks(held: AllottedRange) -> range:
    return range(held.first // CHUNK_NUMBERS, held.last // CHUNK_NUMBERS + 1)


def _inside(held: AllottedRange, span: Span) -> int:
    inside = span.first_chunk <= held.first // CHUNK_NUMBERS <= span.last_chunk
    return held.last - held.first + 1 if inside else 0


@dataclass(slots=True)
class _Build:
    """An index in the making. `classes` grows at its end by recipients of portings that hold no range."""

    source: IndexSource
    spans: list[Span]
    classes: list[NumberClass]
    entries: bytearray = field(default_factory=bytearray)
    _numbers: dict[NumberClass, int] = field(init=False)

    def __post_init__(self) -> None:
        self._numbers = {one: number for number, one in enumerate(self.classes, FIRST_CLASS)}

    def every_page(self) -> Iterator[bytes]:
        """Yield the pages of every chunk, as the first extent, filling the directory on the way."""
        layout = PageLayout(1)
        for span in self.spans:
            for chunk in range(span.first_chunk, span.last_chunk + 1):
                held = self._ranges_of(chunk)
                if held:
                    parts = self._parts(chunk, held, self.source.members(chunk, None))
                    entries, pages = layout.lay_out(*parts)
                    yield pages
                else:
                    entries = bytes(CHUNK_PAGES * ENTRY_SIZE)
                self.entries += entries
        yield PAGES_PADDING

    def changed_pages(self, layout: PageLayout, base: IndexFiles, changed: Mapping[int, Collection[int]]) -> bytearray:
        """Return the pages that differ from those of `base`, laid out; the directory points at them."""
        written = bytearray()
        for chunk, first_entry in self._chunk_entries():
            held = self._ranges_of(chunk) if changed.get(chunk) else []
            if not held:
                continue
            pages = pages_of(changed[chunk])
            places = [ENTRY_SIZE * (first_entry + page) for page in pages]
            before = b"".join(self.entries[place : place + ENTRY_SIZE] for place in places)
            members = self.source.members(chunk, parts_under(pages))
            entries, new = layout.lay_out(
                *self._parts(chunk, held, members), array("I", pages), LaidOut(before, base.extents)
            )
            for i, place in enumerate(places):
                self.entries[place : place + ENTRY_SIZE] = entries[ENTRY_SIZE * i : ENTRY_SIZE * (i + 1)]
            written += new
        return written

    def _chunk_entries(self) -> Iterator[tuple[int, int]]:
        """Each chunk of the directory, with the place of its first entry."""
        place = 0
        for span in self.spans:
            for chunk in range(span.first_chunk, span.last_chunk + 1):
                yield chunk, place
                place += CHUNK_PAGES

    def renumber(self, extent: int, other: int) -> None:
        """Say that an extent is another one: its number is a byte of each entry."""
        numbers = slice(ENTRY_EXTENT, None, ENTRY_SIZE)
        self.entries[numbers] = self.entries[numbers].replace(bytes([extent]), bytes([other]))

    def _ranges_of(self, chunk: int) -> list[AllottedRange]:
        """Return the ranges that lie in a chunk, cut to it."""
        first, last = chunk * CHUNK_NUMBERS, (chunk + 1) * CHUNK_NUMBERS - 1
        ranges = self.source.ranges
        start = max(bisect_right(ranges, first, key=lambda held: held.first) - 1, 0)
        end = bisect_right(ranges, last, key=lambda held: held.first)
        return [
            held._replace(first=max(held.first, first), last=min(held.last, last))
            for held in ranges[start:end]
            if held.last >= first
        ]

    def _parts(self, chunk: int, ranges: Sequence[AllottedRange], members: ChunkMembers) -> "_Parts":
        """Return what a chunk's pages are made of: only mobile numbers are active or ported."""
        homes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for held in ranges:
            if held.mobile:
                homes[held.operator_id].append((held.first, held.last))
        ported = _portings(home(sorted(bounds for some in homes.values() for bounds in some), chunk), members)
        bitset = bytearray(BITSET_SIZE)
        for operator_id, active in members.active.items():
            places = active & served(home(homes.get(operator_id, ()), chunk), ported, operator_id)
            set_bitmap(bitset, places.serialize())
        overlays = [(self._class_number(NumberClass(one, True)), places.to_array()) for one, places in ported.items()]
        return _Parts(bitset, *self._runs(chunk, ranges), overlays)

    def _class_number(self, one: NumberClass) -> int:
        if one not in self._numbers:
            self._numbers[one] = FIRST_CLASS + len(self.classes)
            self.classes.append(one)
        return self._numbers[one]

    def _runs(self, chunk: int, ranges: Sequence[AllottedRange]) -> "tuple[array[int], array[int]]":
        """Return the classes of a chunk's numbers: where each run of one class starts, and its class."""
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
            start_run(first, self._class_number(NumberClass(held.operator_id, held.mobile)))
            free = last + 1
        start_run(free, UNALLOCATED)
        return firsts, classes

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

    def manifest(self, directory: FileRecord, written: _Written) -> dict[str, Any]:
        return {
            "installation": self.source.installation_id,
            "index_version": self.source.index_version,
            "mark": self.source.mark.hex(),
            "lost": list(self.source.lost),
            "files": {
                "directory": astuple(directory),
                "ranges": astuple(written.ranges),
                "extents": [astuple(extent) for extent in written.extents],
                "record": [astuple(layer) for layer in written.record],
            },
            "spaces": list(self.source.spaces),
            "spans": self.spans,
            "classes": self.classes,
            "operators": [_operator_row(operator) for operator in self.source.operators],
            "range_count": len(self.source.ranges),
            "regions": self.regions(),
            "record_since": self.source.record.since,
        }


def _portings(mobile: BitMap, members: ChunkMembers) -> dict[int, BitMap]:
    """Return the places that are ported to each operator, of those that the plan has for mobile numbers."""
    portings = {operator_id: places & mobile for operator_id, places in members.ported.items()}
    return {operator_id: places for operator_id, places in portings.items() if places}


def pages_of(parts: Collection[int]) -> list[int]:
    """Return the pages of a chunk, ascending, in which parts of 65,536 places lie."""
    pages: set[int] = set()
    for part in parts:
        first, last = part * PART_PLACES, min((part + 1) * PART_PLACES, CHUNK_NUMBERS) - 1
        pages.update(range(first // PAGE_NUMBERS, last // PAGE_NUMBERS + 1))
    return sorted(pages)


def parts_under(pages: Collection[int]) -> set[int]:
    """Return the parts of 65,536 places in which pages of a chunk lie."""
    ends = [end for page in pages for end in (page * PAGE_NUMBERS, (page + 1) * PAGE_NUMBERS - 1)]
    return {end // PART_PLACES for end in ends}


def _operator_row(operator: Operator) -> list[Any]:
    head = [operator.data_version, _iso(operator.data_time), operator.synthetic, _iso(operator.supplied_since)]
    return [operator.operator_id, operator.display_name, operator.tax_id, *head]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
