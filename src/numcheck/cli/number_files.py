"""A file of numbers to push: rows of numbers or ranges, in pieces as they are sent.

A row that is not understood refuses the file, and is named. So does a file that is cut, where that can be told: by a
count or checksum that was given or stands in its last lines, or by a last line without an end.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from numcheck import _lines
from numcheck.cli.reading import entries
from numcheck.cli.reading.entries import BadEntry, Entry
from numcheck.cli.reading.layout import ColumnOptions, Layout
from numcheck.cli.reading.source import Source
from numcheck.cli.reading.statuses import Statuses, UnknownStatus
from numcheck.cli.reading.table import Options, Piece, Rows, reading
from numcheck.client import Numbers
from numcheck.errors import BadNumbersFile

TRAILER = re.compile(r"#\s*(?P<what>count|sha256)\s+(?P<value>[0-9a-f]+)\s*", re.IGNORECASE)
CUT = "the last line has no end and fewer digits than the one before: if it is not cut, end it with a newline"
EMPTY = "it holds no number: say --count 0 if it is meant to; `numcheck push renew` says that nothing has changed"
REMOVES_IN_A_SNAPSHOT = "the line removes, and a snapshot holds what is in service: push with --delta"


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected count of a file's rows, and the SHA-256 of its bytes, as given beforehand."""

    row_count: int | None = None
    sha256: str | None = None


NOTHING_EXPECTED = Expected()


@dataclass(frozen=True, slots=True)
class Reading:
    """Options for reading a file. `region` is the country (ISO 3166) of numbers that are written without one."""

    delta: bool
    region: str
    wanted: ColumnOptions = field(default_factory=ColumnOptions)
    statuses: Statuses = field(default_factory=Statuses)

    @property
    def options(self) -> Options:
        """The same for whoever reads rows."""
        return Options(self.wanted, ranges=True, statuses=True)


class NumberFile:
    """A file that is read once for its digest and once for each try to push it."""

    def __init__(self, source: Source, how: Reading, expected: Expected = NOTHING_EXPECTED) -> None:
        """Look at the file's beginning: `told` says how it is read. BadNumbersFile if that is uncertain."""
        self._source, self._how, self._expected = source, how, expected
        self._digest = source.digest()
        if expected.sha256 is not None and expected.sha256.lower() != self._digest:
            raise BadNumbersFile(f"{source.name}: its SHA-256 is {self._digest}, and another one was given")
        with reading(source, how.options) as rows:
            self.told, self._layout = rows.told, rows.layout
        if self._layout.asks_opposite:
            self._how = replace(how, statuses=how.statuses.without_yes_or_no())

    def digest(self) -> str:
        """Return what the file says, in 16 hexadecimal digits: other columns or statuses say something else, and so
        does another count, which has not been compared with the file yet."""
        statuses = sorted(self._how.statuses.active), sorted(self._how.statuses.inactive)
        said = self._layout, self._how.region, *statuses, self._expected.row_count
        return hashlib.sha256(f"{self._digest}{said}".encode()).hexdigest()[:16]

    def pieces(self, report: Callable[[float], None]) -> Iterator[Numbers]:
        """Yield the file's rows in order, in pieces. BadNumbersFile names a bad line, or says what is missing."""
        with reading(self._source, self._how.options) as rows:
            taken = _Taken(self._source.name, self._how, rows)
            for piece in rows.pieces():
                yield taken.take(piece)
                report(self._source.share_read())
            taken.check(self._expected)


class _Taken:
    """The counts of a file's entries so far."""

    def __init__(self, name: str, how: Reading, rows: Rows) -> None:
        self._name, self._how = name, how
        self._layout, self._encoding = rows.layout, rows.encoding
        self._row_count = 0
        self._last_text = ""
        self._hash = hashlib.sha256()  # of what stands before the trailer
        self._trailer: dict[str, str] = {}
        self._inactive = _Inactive(how.statuses)

    def take(self, piece: Piece) -> Numbers:
        """Return what the lines of a piece say. BadNumbersFile names the first that is not understood."""
        return self._take_at_once(piece) or self._take_each(piece)

    def check(self, expected: Expected) -> None:
        """Raise BadNumbersFile if the file, now read to its end, is not as whole as was said, or holds nothing and
        nobody said so: what a pipe gives whose other end has failed."""
        if not self._row_count and expected == NOTHING_EXPECTED and not self._trailer:
            raise BadNumbersFile(f"{self._name}: {EMPTY}")
        for count in (expected.row_count, int(self._trailer.get("count", self._row_count))):
            if count not in (None, self._row_count):
                raise BadNumbersFile(
                    f"{self._name}: {self._row_count:,} rows, where {count:,} were said: the file is cut or altered"
                )
        if self._trailer.get("sha256", self._hash.hexdigest()) != self._hash.hexdigest():
            raise BadNumbersFile(f"{self._name}: not the SHA-256 of its last line: the file is cut or altered")

    def _take_at_once(self, piece: Piece) -> Numbers | None:
        """Return what rows say that are a number each, with a sign or none; None if any is something else."""
        layout, (_, lines) = self._layout, piece.split(self._layout.skipped)
        delimiter = layout.delimiter.encode()
        is_open = not piece.text.endswith(b"\n")
        if self._trailer or is_open or not lines or len(layout.places) > 1 or not _is_table(lines, layout):
            return None
        texts = _lines.cells(lines, delimiter, layout.places[0])
        numbers, removes = entries.read_lines(texts, self._how.region)
        if 0 in numbers or (removes and (layout.status is not None or not self._how.delta)):
            return None
        if layout.status is not None:
            statuses = _lines.cells(lines, delimiter, layout.status).decode("utf-8", "surrogateescape").split("\n")[:-1]
            try:
                removes = bytes(map(self._inactive.__getitem__, statuses))
            except UnknownStatus:
                return None
        self._hash.update(piece.raw)
        self._row_count += len(numbers)
        self._last_text = texts[texts.rfind(b"\n", 0, -1) + 1 : -1].decode()
        if not removes:
            return Numbers(add=numbers)
        added, removed = _lines.divided(numbers, removes)
        return Numbers(add=added, remove=removed if self._how.delta else ())

    def _take_each(self, piece: Piece) -> Numbers:
        """Return what lines say, whatever each is."""
        numbers = Numbers([], [], [], [])
        rows, refusal = self._rows(piece)
        texts = [text for row in rows for text in row.texts]
        joined = "".join(f"{text}\n" for text in texts).encode("utf-8", "surrogateescape")
        read, removes = entries.read_lines(joined, self._how.region)
        at = 0
        for row in rows:
            try:
                found = [
                    Entry(bool(removes and removes[place]), read[place], read[place])
                    if read[place]
                    else entries.read(texts[place], self._how.region)
                    for place in range(at, at + len(row.texts))
                ]
                self._add(numbers, row, found)
            except (BadEntry, UnknownStatus) as error:
                raise self._bad(row.line_number, str(error)) from None
            at += len(row.texts)
        if refusal is not None:
            raise refusal
        return numbers

    def _add(self, numbers: Numbers, row: "_Row", found: Sequence[Entry]) -> None:
        removes, first, last = found[0].removes, found[0].first, found[-1].last
        if len(found) > 1 and any(one.removes or one.first != one.last for one in found):
            raise BadEntry(entries.NEITHER)
        if first > last:
            raise BadEntry(entries.BACKWARDS)
        if row.status is not None:
            if removes:
                raise BadEntry("a sign in front of a number whose status stands beside it")
            removes = not self._how.statuses.is_active(row.status)
            if removes and not self._how.delta:
                return  # a snapshot is what is in service
        elif removes and not self._how.delta:
            raise BadEntry(REMOVES_IN_A_SNAPSHOT)
        if first == last:
            (numbers.remove if removes else numbers.add).append(first)  # type: ignore[attr-defined]  # lists, as above
        else:
            (numbers.remove_ranges if removes else numbers.add_ranges).append((first, last))  # type: ignore[attr-defined]

    # --- rows

    def _rows(self, piece: Piece) -> "tuple[list[_Row], BadNumbersFile | None]":
        """Return the rows of a piece, or those in front of the first that is none, and the refusal of that."""
        rows: list[_Row] = []
        try:
            for row in self._each_row(piece):
                rows.append(row)
        except BadNumbersFile as refusal:
            return rows, refusal
        if not self._trailer:
            self._hash.update(piece.raw)
        self._row_count += len(rows)
        return rows, None

    def _each_row(self, piece: Piece) -> "Iterator[_Row]":
        """Yield the rows of a piece, without empty lines, the header and the trailer."""
        skipped = self._layout.skipped if piece.line_number == 1 else 0
        lines = piece.lines
        for place in range(skipped, len(lines)):
            line, line_number = lines[place], piece.line_number + place
            if line.startswith("#"):
                self._take_trailer(piece, place, line)
            elif line.strip(f" \t\ufeff{self._layout.delimiter}"):
                if self._trailer:
                    raise self._bad(line_number, "a row behind the trailer")
                row = self._row(line_number, line)
                self._last_text, before = " ".join(row.texts), self._last_text
                is_open = place == len(lines) - 1 and not piece.text.endswith(b"\n")
                if is_open and _digits(self._last_text) < _digits(before):
                    raise self._bad(line_number, CUT)
                yield row

    def _row(self, line_number: int, line: str) -> "_Row":
        try:
            cells = self._layout.cells(line)
        except csv.Error:
            raise self._bad(line_number, "its quotes do not match") from None
        if self._layout.is_plain:
            if len(cells) > 1:
                raise self._bad(line_number, entries.NEITHER)
            return _Row(line_number, cells)
        if len(cells) > len(self._layout.names) and any(cells[len(self._layout.names) :]):
            raise self._bad(line_number, f"{len(cells)} columns instead of {len(self._layout.names)}")
        try:
            texts = [cells[place] for place in self._layout.places]
            status = None if self._layout.status is None else cells[self._layout.status]
        except IndexError:
            raise self._bad(line_number, f"{len(cells)} columns instead of {len(self._layout.names)}") from None
        return _Row(line_number, texts, status)

    def _take_trailer(self, piece: Piece, place: int, line: str) -> None:
        found = TRAILER.fullmatch(line)
        if found is None or found["what"].lower() in self._trailer:
            raise self._bad(piece.line_number + place, "neither a row nor a trailer (# count N, # sha256 HEX)")
        what, value = found["what"].lower(), found["value"].lower()
        if what == "count" and not value.isdigit():
            raise self._bad(piece.line_number + place, "a count that is no number")
        if not self._trailer:
            before = sum(len(one) + 1 for one in piece.text.split(b"\n")[:place])
            trailer = piece.text[before:].decode("utf-8", "surrogateescape")
            self._hash.update(piece.raw[: len(piece.raw) - self._encoding.size_of(trailer)])
        self._trailer[what] = value

    def _bad(self, line_number: int, what: str) -> BadNumbersFile:
        return BadNumbersFile(f"{self._name}:{line_number}: {what}")


class _Inactive(dict[str, bool]):
    """Return True if a row with the status is not in service; each status is looked at once."""

    def __init__(self, statuses: Statuses) -> None:
        super().__init__()
        self._statuses = statuses

    def __missing__(self, status: str) -> bool:
        self[status] = not self._statuses.is_active(status)
        return self[status]


class _Row(NamedTuple):
    """The texts of a row: of its number, or of a range's ends."""

    line_number: int
    texts: Sequence[str]
    status: str | None = None


def _is_table(lines: bytes, layout: Layout) -> bool:
    """Return True if lines are rows of the layout's columns, without quotes, and none a trailer."""
    is_odd = b'"' in lines or (b"#" in lines and (lines.startswith(b"#") or b"\n#" in lines))
    return not is_odd and _lines.has_width(lines, layout.delimiter.encode(), len(layout.names))


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))
