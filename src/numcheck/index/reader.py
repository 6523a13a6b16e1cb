"""Opens a published index and answers from it. An index never changes; a newer version is another object."""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from numcheck._bits import CHUNK_NUMBERS, CHUNK_PAGES
from numcheck._fast import Table
from numcheck._recycled import Record
from numcheck.active import Operator
from numcheck.errors import IndexDamaged
from numcheck.index.classes import number_classes, pack_classes, record_bounds, whole_since
from numcheck.index.format import RANGE_SIZE, IndexFiles, PathOf, open_files, range_columns
from numcheck.status import NumberStatus

PAGE_NUMBERS = CHUNK_NUMBERS // CHUNK_PAGES
ID_SIZE = 16  # of an installation's id, and of a revision's mark


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """All that the index knows of one number."""

    number: int
    status: NumberStatus
    serving_operator: Operator | None
    range_holder: Operator | None
    region: str

    @property
    def ported(self) -> bool:
        """True if another operator than the range's holder serves the number."""
        return self.serving_operator != self.range_holder


class _RangeTable:
    """The plan's ranges as the builder wrote them, searched by number."""

    def __init__(self, payload: memoryview, count: int, regions: Sequence[str]) -> None:
        if len(payload) != RANGE_SIZE * count:
            raise IndexDamaged("the range table does not have the size that the manifest says")
        self._firsts, self._lasts, self._operators, self._regions = range_columns(payload)
        self._region_names = [*regions]
        if max(self._regions, default=-1) >= len(self._region_names):
            raise IndexDamaged("the range table speaks of regions that the manifest does not have")

    def bounds(self, operators: Mapping[int, Operator], since: int) -> "array[int]":
        """Return of each range from which second on the record of its holder is whole."""
        by_operator = {one: whole_since(operator, since) for one, operator in operators.items()}
        return array("q", [by_operator[one] for one in self._operators])

    def find(self, number: int) -> tuple[int, str] | None:
        """Return the id of the operator that the plan allots the number to, and the region; None if it allots it to
        nobody."""
        i = bisect_right(self._firsts, number) - 1
        if i < 0 or self._lasts[i] < number:
            return None
        return self._operators[i], self._region_names[self._regions[i]]


class Index:
    """One version of the index, mapped. Safe to ask from any thread."""

    def __init__(self, files: IndexFiles, fresh_since: datetime | None = None):
        """Answer from these files; data older than `fresh_since` answers UNKNOWN. IndexDamaged if they do not fit."""
        self.files, self.fresh_since, manifest = files, fresh_since, files.manifest
        self._seen: dict[frozenset[int], Index] = {}
        try:
            self.index_version: int = manifest["index_version"]
            self.installation_id = _sixteen_bytes(manifest["installation"]).hex()
            self.mark = _sixteen_bytes(manifest["mark"])
            self.lost: Sequence[tuple[int, int]] = [(first, last) for first, last in manifest["lost"]]
            self.operators = {row[0]: _operator(row) for row in manifest["operators"]}
            self._ranges = _RangeTable(files.ranges, manifest["range_count"], manifest["regions"])
            self.regions: Sequence[str] = manifest["regions"]
            self.table = Table(
                directory=files.directory,
                classes=pack_classes(number_classes(manifest["classes"]), self.operators, fresh_since),
                extents=files.extents,
                spans=_kernel_spans(manifest["spans"]),
                spaces=[(first, 0, (last - first + 1) // PAGE_NUMBERS) for first, last in manifest["spaces"]],
                index_version=self.index_version,
                lost=self.lost,
            )
            self.record_since: int = manifest["record_since"]
            self._record = Record(
                layers=files.layers,
                ranges=files.ranges,
                of_range=self._ranges.bounds(self.operators, self.record_since),
                since=self.record_since,
            )
            self._record_bounds = self._bounds_for(None)
        except (KeyError, TypeError, ValueError, OverflowError, struct.error):
            raise IndexDamaged("the manifest's content is not an index's") from None

    def with_freshness(self, fresh_since: datetime | None) -> "Index":
        """Return the same version over the same mapped files, with another bound on the age of the operators' data."""
        return Index(self.files, fresh_since)

    def for_agreements(self, operator_ids: frozenset[int] | None) -> "Index":
        """Return what a service sees that has an agreement with these operators: the numbers of others are UNKNOWN to
        it.

        None: it sees everything. Shares all pages with this one, and is made once for each set.
        """
        if operator_ids is None:
            return self
        if operator_ids not in self._seen:
            classes = number_classes(self.files.manifest["classes"])
            seen = copy(self)
            seen._seen = {}  # with this one's it would hold itself, and what is mapped, until cycles are collected
            seen._record_bounds = self._bounds_for(operator_ids)
            seen.table = self.table.with_classes(pack_classes(classes, self.operators, self.fresh_since, operator_ids))
            self._seen[operator_ids] = seen
        return self._seen[operator_ids]

    def _bounds_for(self, operator_ids: frozenset[int] | None) -> "tuple[array[int], bytes]":
        classes = number_classes(self.files.manifest["classes"])
        return record_bounds(classes, self.operators, self.fresh_since, operator_ids, self.record_since)

    def check_recycled(self, request: bytes, *, numbers_per_call_max: int) -> bytes:
        """Return a RecycledStatus for each number of a serialised CheckRecycledRequest, in its order, an octet each.

        Raises MalformedMessage, TooManyNumbers or BadMoments, in this order.
        """
        return self._record.check(request, self.table, *self._record_bounds, numbers_per_call_max=numbers_per_call_max)

    @property
    def ranges(self) -> memoryview:
        """The range table's columns, docs/format.md: first and last numbers, operators, places in `regions`."""
        return self.files.ranges

    @property
    def size(self) -> int:
        """Bytes that are mapped."""
        return self.files.size

    @property
    def synthetic(self) -> bool:
        """True if any operator's data is made up."""
        return any(operator.synthetic for operator in self.operators.values())

    def answer(self, number: int) -> tuple[int, int]:
        """Return the status of one E.164 number, and the id of the operator that serves it, 0 if none does."""
        return self.table.check(number)

    def facts(self, number: int) -> NumberFacts:
        """All that is known of one E.164 number."""
        if not 0 <= number < 2**64:
            return NumberFacts(number, NumberStatus.INVALID, None, None, "")
        status, operator_id = self.answer(number)
        held = self._ranges.find(number)
        holder_id, region = held or (0, "")
        serving_operator, range_holder = self.operators.get(operator_id), self.operators.get(holder_id)
        return NumberFacts(number, NumberStatus(status), serving_operator, range_holder, region)


def open_index(
    directory: Path,
    *,
    fresh_since: datetime | None = None,
    previous: Index | None = None,
    installation_id: str | None = None,
) -> Index:
    """Map the published index, every byte of it checked; IndexMissing or IndexDamaged if it cannot be answered from.

    Files that `previous` has mapped, and so has checked, are shared with it. With `installation_id`, an index that was
    built from another installation's store is refused: its versions say nothing of this one's.
    """
    try:
        index = map_index(directory.joinpath, fresh_since=fresh_since, previous=previous)
    except IndexDamaged:
        # A newer version may have been published, and this one's files removed, between two reads.
        index = map_index(directory.joinpath, fresh_since=fresh_since, previous=previous)
    if installation_id not in (None, index.installation_id):
        raise IndexDamaged("the index is of another installation")
    return index


def map_index(path_of: PathOf, *, fresh_since: datetime | None = None, previous: Index | None = None) -> Index:
    """Map the index whose files lie where `path_of` says, as `open_index` does."""
    return Index(open_files(path_of, None if previous is None else previous.files), fresh_since)


def _sixteen_bytes(text: str) -> bytes:
    content = bytes.fromhex(text)
    if len(content) != ID_SIZE:
        raise ValueError
    return content


def _operator(row: Sequence[Any]) -> Operator:
    operator_id, display_name, tax_id, data_version, data_time, synthetic, since = row
    return Operator(operator_id, display_name, tax_id, data_version, _moment(data_time), synthetic, _moment(since))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _kernel_spans(spans: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """Return the manifest's spans as the kernel takes them; an index of no range at all has one span of no page."""
    kernel_spans, page = [], 0
    for first_chunk, last_chunk in spans:
        page_count = (last_chunk - first_chunk + 1) * CHUNK_PAGES
        kernel_spans.append((first_chunk * CHUNK_NUMBERS, page, page_count))
        page += page_count
    return kernel_spans or [(0, 0, 0)]
