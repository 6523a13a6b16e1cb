"""Reading the regulator's registry files into a numbering plan.

Every row is taken, or is a problem; a plan with a problem is refused unless the caller asks to skip bad rows. A file
that lost its end shows where its last row tells it: too few columns or digits, a cut character, an open quote, or a
last cell that other rows have longer. A region cut short that stands in no other row cannot be told from a whole one.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from numcheck.errors import BadRegistryFile
from numcheck.plan.country import RUSSIA, Country
from numcheck.plan.holders import HolderBook
from numcheck.plan.model import NumberingPlan, Range, fold_name
from numcheck.plan.overlaps import find_overlaps
from numcheck.plan.problems import BadRow, Note, Problem, Reason, RefusedRegistryFile
from numcheck.plan.rows import Row, RowReader, has_lost_zero
from numcheck.plan.table import find_layout
from numcheck.plan.text import read_content, read_text

Source = tuple[str, bytes]
"""A registry file: the name that problems are told under, and its content."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A plan, the bad rows that were left out of it, the lines that were passed over, and the files that each series of
    the plan is from."""

    plan: NumberingPlan
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]
    sources: Mapping[str, frozenset[str]]


def read_files(paths: Iterable[Path], *, country: Country = RUSSIA, skip_bad: bool = False) -> Reading:
    """Read registry files into one plan; they may be compressed with xz or gzip. Refuses what read_registry does."""
    return read_registry([(path.name, read_content(path)) for path in paths], country=country, skip_bad=skip_bad)


def read_registry(sources: Iterable[Source], *, country: Country = RUSSIA, skip_bad: bool = False) -> Reading:
    """Read registry files into one plan.

    Raises BadRegistryFile for a file that is none, and RefusedRegistryFile if a row is bad. With `skip_bad` the bad
    rows are left out and told, of overlapping ones the later; only a plan without any row is still refused.
    """
    readers = [_SourceReader(name, data, country) for name, data in sources]
    rows = [row for reader in readers for row in reader.rows]
    overlaps = find_overlaps(rows)
    problems = [problem for reader in readers for problem in reader.problems]
    problems = _in_order([*problems, *overlaps.values()], [reader.source for reader in readers])
    kept = [row for index, row in enumerate(rows) if index not in overlaps]
    if problems and not (skip_bad and kept):
        raise RefusedRegistryFile(problems)
    if not kept:
        raise BadRegistryFile("no registry file was given")
    notes = [note for reader in readers for note in reader.notes]
    return Reading(_plan(kept, country), tuple(problems), (*notes, *_notes_of_names(kept)), _sources(kept, country))


def _notes_of_names(rows: Iterable[Row]) -> Iterator[Note]:
    """Yield a note on names that stand with several tax ids, at the first row that shows it: of the real files' names
    none does, and many do where a column has slipped by a row. Two operators may share a name."""
    tax_ids: dict[str, set[str]] = defaultdict(set)
    number_counts: dict[str, int] = defaultdict(int)
    second: dict[str, Row] = {}
    folded = cache(fold_name)
    for row in rows:
        if row.operator and row.tax_id:
            name = folded(row.operator)
            tax_ids[name].add(row.tax_id)
            number_counts[name] += row.last - row.first + 1
            if len(tax_ids[name]) == 2:
                second.setdefault(name, row)
    if second:
        row = next(iter(second.values()))
        count = sum(number_counts[name] for name in second)
        detail = (
            f"an operator's name with another tax id than above; {len(second):,} names stand with several, {count:,} "
            "numbers in all: a column may have slipped"
        )
        yield Note(row.source, row.line_number, detail)


def _sources(rows: Iterable[Row], country: Country) -> dict[str, frozenset[str]]:
    sources: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sources[country.series(row.first)].add(row.source)
    return {series: frozenset(names) for series, names in sorted(sources.items())}


def _in_order(problems: list[Problem], sources: Sequence[str]) -> list[Problem]:
    places = {source: place for place, source in enumerate(sources)}
    return sorted(problems, key=lambda problem: (places[problem.source], problem.line_number))


def _plan(rows: list[Row], country: Country) -> NumberingPlan:
    book = HolderBook(rows)
    ranges = sorted(Range(row.first, row.last, book.key(row), row.region) for row in rows)
    return NumberingPlan(country, tuple(ranges), book.holders)


class _SourceReader:
    """The rows, problems and notes of one registry file, apart from overlaps."""

    def __init__(self, source: str, data: bytes, country: Country) -> None:
        self.source = source
        self.rows: list[Row] = []
        self.problems: list[Problem] = []
        self._text = read_text(source, data)
        self._layout, self._start, self.notes = find_layout(source, self._text.lines)
        self._number_count = 0
        self._read_rows(RowReader(source, country, self._layout))
        self._check_end()
        if not self.rows and not self.problems:
            raise BadRegistryFile(f"{source}: there is no row in the file")

    def _read_rows(self, reader: RowReader) -> None:
        for line_number, line in enumerate(self._text.lines[self._start :], self._start + 1):
            try:
                row = reader.read(line, line_number)
            except BadRow as bad:
                self._set_aside(line, line_number, bad)
            else:
                self.rows.append(row)
                self._number_count += row.last - row.first + 1

    def _set_aside(self, line: str, line_number: int, bad: BadRow) -> None:
        cells = [cell.strip() for cell in self._layout.split(line)]
        if not any(cells):
            return
        if self._is_total(cells):
            self.notes.append(Note(self.source, line_number, self._describe_total(cells)))
        else:
            self.problems.append(Problem(self.source, line_number, bad.reason, bad.detail))

    def _is_total(self, cells: list[str]) -> bool:
        """Return True if the line has no range, and at most a word in place of the code."""
        layout = self._layout
        if len(cells) <= max(layout.code, layout.first, layout.last) or cells[layout.first] or cells[layout.last]:
            return False
        code = cells[layout.code]
        is_word = not any(map(str.isdigit, code))
        return not code or (is_word and self._total(cells) is not None)

    def _total(self, cells: list[str]) -> int | None:
        capacity = cells[self._layout.capacity] if self._layout.capacity < len(cells) else ""
        possible = capacity.isascii() and capacity.isdigit() and len(capacity) <= 15
        return int(capacity) if possible else None

    def _describe_total(self, cells: list[str]) -> str:
        total = self._total(cells)
        if total is None:
            return "a line without a range, passed over"
        if total == self._number_count:
            return f"a line with the total of the rows above, {total:,}, passed over"
        return f"a totals line, passed over; it says {total:,}, the rows above have {self._number_count:,}"

    def _check_end(self) -> None:
        line_number = len(self._text.lines)
        detail = self._describe_cut()
        known = self.problems and self.problems[-1].line_number == line_number
        if detail is None or known:
            return
        if self.rows and self.rows[-1].line_number == line_number:
            self.rows.pop()
        self.problems.append(Problem(self.source, line_number, Reason.CUT_ROW, detail))

    def _describe_cut(self) -> str | None:
        """Why the last row is not whole, or None if nothing says so. A row that a line end follows is."""
        if self._text.ends_inside_character:
            return "the file ends inside a character"
        is_row = self.rows and self.rows[-1].line_number == len(self._text.lines)
        if not self._text.ends_open or not is_row:
            return None
        if self._text.lines[-1].count('"') % 2:
            return "the file ends after an open quote"
        return "the file ends inside this row" if self._last_cell_is_cut() else None

    def _last_cell_is_cut(self) -> bool:
        """Return True if the last cell is in no other row, and another row's goes on where it ends or it lacks a
        digit."""
        delimiter, lines = self._layout.delimiter, self._text.lines
        last = lines[-1].rpartition(delimiter)[2]
        others = {line.rpartition(delimiter)[2] for line in lines[self._start : -1]}
        if last in others:
            return False
        is_tax_id = self._layout.tax_id == self._layout.column_count - 1
        return (is_tax_id and has_lost_zero(last.strip())) or any(other.startswith(last) for other in others)
