"""Checking a file of numbers: a line in, the same line with its answer out, however many there are.

A line is what ends with a line end, whatever quotes stand in it: one bad line never takes its neighbours with it. Lines
are kept to the letter, unless a spreadsheet would take a cell for a formula; the answer's columns are put behind them.
The output is UTF-8 if the encoding of the input is known.
"""

import csv
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from numcheck import _lines, e164
from numcheck.cli.checkers import Checker
from numcheck.cli.console import Report
from numcheck.cli.reading.layout import NO_OPTIONS, ColumnOptions, Layout, UncertainLayout
from numcheck.cli.reading.since import Since, try_moment
from numcheck.cli.reading.source import opened
from numcheck.cli.reading.table import Options, Rows, reading
from numcheck.cli.spreadsheets import may_hold_formula, written
from numcheck.errors import BadNumbersFile
from numcheck.output import OWNER_ONLY, replacing
from numcheck.printable import printable
from numcheck.status import NumberStatus, RecycledStatus

BATCH_LINES = 20_000
ADDED_COLUMNS = ("status", "operator_id", "operator")
RECYCLED_COLUMN = "recycled"  # behind them, where that is asked
NOT_A_NUMBER = "NOT_A_NUMBER"
NOT_A_MOMENT = "NOT_A_MOMENT"
RECYCLED_NAMES = {one.value: one.name for one in RecycledStatus}


class Batch(NamedTuple):
    """Lines, each ready for the answer behind it, and their numbers: 0 where a line holds none."""

    lines: bytes
    numbers: Sequence[int]
    moments: Sequence[int | None]
    """Moment of each line since which it is asked about, None where it has none; empty where nothing of it is asked."""


def check_file(
    checker: Checker,
    source: Path,
    target: Path | None,
    report: Report,
    *,
    wanted: ColumnOptions = NO_OPTIONS,
    since: Since | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> Counter[str]:
    """Check every line of a file; return how many lines got which status. The target appears whole, or not at all.

    `since`: whether each number was recycled since then is asked, too. `tell` gets a line that says how the file is
    read. BadNumbersFile if that is uncertain.
    """
    with opened(source) as file, reading(file, Options(wanted)) as rows:
        tell(rows.told)
        asked_since = None if since is None else _asked_since(since, rows.layout, file.name)
        with _writing(target) as write:
            return _check_rows(checker, rows, write, asked_since, lambda: report("checking", file.share_read()))


class _AskedSince(NamedTuple):
    """The moment since which every line is asked about, or the column that has each line's."""

    moment: int | None
    column: int | None

    def moments(self, layout: Layout, lines: bytes, count: int) -> Sequence[int | None]:
        """Return the moment of each of the lines; None where it has none."""
        if self.column is None:
            return [self.moment] * count
        rows = _rows(layout, lines.decode("utf-8", "surrogateescape").split("\n")[:-1])
        return [try_moment(row[self.column]) if row is not None and self.column < len(row) else None for row in rows]


def _asked_since(since: Since, layout: Layout, name: str) -> _AskedSince:
    try:
        return _AskedSince(since.moment, since.place(layout.names))
    except UncertainLayout as error:
        raise BadNumbersFile(f"{name}: neither a moment nor a column: {error}") from None


def _check_rows(
    checker: Checker,
    rows: Rows,
    write: Callable[[bytes], object],
    since: _AskedSince | None,
    report: Callable[[], None],
) -> Counter[str]:
    counts: Counter[str] = Counter()
    asked: deque[Batch] = deque()
    answers = _Answers(checker.operator_names, _delimiter(rows.layout))
    for checked in checker.check_batches(_batches(checker, rows, write, since, asked)):
        lines, numbers, moments = asked.popleft()
        recycled = _recycled(checker, numbers, moments) if since is not None else [""] * len(numbers)
        found = zip(map(bool, numbers), checked.statuses, checked.operator_ids, recycled, strict=True)
        tails = [*map(answers.__getitem__, found)]
        for tail, count in Counter(tails).items():
            counts[answers.names[tail]] += count
        write(_lines.joined(lines, tails))
        report()
    return counts


def _recycled(checker: Checker, numbers: Sequence[int], moments: Sequence[int | None]) -> list[str]:
    """Return what is said of each number since its moment; NOT_A_MOMENT where a line has none."""
    statuses = checker.check_recycled(numbers, [moment or 0 for moment in moments])
    return [
        NOT_A_NUMBER if not number else NOT_A_MOMENT if moment is None else RECYCLED_NAMES[status]
        for number, moment, status in zip(numbers, moments, statuses, strict=True)
    ]


class _Answers(dict[tuple[bool, int, int, str], bytes]):
    """The columns behind a line, by whether it holds a number, its status, its operator and whether it was recycled,
    empty where that is not asked; each is made once.

    `names` has the status, as it is written, by the columns.
    """

    def __init__(self, operator_names: Mapping[int, str], delimiter: str) -> None:
        super().__init__()
        self._operator_names, self._delimiter = operator_names, delimiter
        self.names: dict[bytes, str] = {}

    def __missing__(self, answer: tuple[bool, int, int, str]) -> bytes:
        is_number, status, operator_id, recycled = answer
        name = NumberStatus(status).name if is_number else NOT_A_NUMBER
        cells = [name, str(operator_id or ""), self._operator_names.get(operator_id, "")]
        cells += [recycled] if recycled else []
        tail = self[answer] = written(cells, self._delimiter).encode()
        self.names[tail] = name
        return tail


def _batches(
    checker: Checker,
    rows: Rows,
    write: Callable[[bytes], object],
    since: _AskedSince | None,
    asked: deque[Batch],
) -> Iterator[Sequence[int]]:
    """Yield the numbers of successive lines in batches, noting in `asked` what each batch asks for."""
    added = ADDED_COLUMNS if since is None else (*ADDED_COLUMNS, RECYCLED_COLUMN)
    size, region = min(BATCH_LINES, checker.numbers_per_call_max), checker.default_region
    for piece in rows.pieces():
        head, lines = piece.split(rows.layout.skipped)
        write(_head(rows.layout, head, added))
        for part in _lines.cut(lines, size):
            texts, ready = _prepared(rows.layout, part)
            numbers = e164.parse_lines(texts, region)
            moments = since.moments(rows.layout, part, len(numbers)) if since is not None else ()
            batch = Batch(ready, numbers, moments)
            asked.append(batch)
            yield batch.numbers


def _head(layout: Layout, head: bytes, added: Sequence[str]) -> bytes:
    """Return what stands before the rows: Excel's own line and the header."""
    if not head or not layout.has_header:
        return head
    *before, header = head.splitlines(keepends=True)
    _, ready = _prepared(layout, header)
    return b"".join([*before, _lines.joined(ready, [written(added, _delimiter(layout)).encode()])])


def _prepared(layout: Layout, lines: bytes) -> tuple[bytes, bytes]:
    """Return the text of each line's number, empty if it has none, and each line ready for its answer."""
    text, delimiter = lines.decode("utf-8", "surrogateescape"), _delimiter(layout)
    is_odd = '"' in text or may_hold_formula(text)
    if is_odd or (layout.is_plain and (delimiter in text or layout.delimiter in text)):
        return _prepared_each(layout, text.split("\n")[:-1])
    (column,), width = layout.places, len(layout.names)
    return _lines.cells(lines, layout.delimiter.encode(), column), _lines.widened(lines, delimiter.encode(), width)


def _prepared_each(layout: Layout, lines: list[str]) -> tuple[bytes, bytes]:
    """Return the same of lines that cannot be read, or written, as they are."""
    delimiter, (column,), width = _delimiter(layout), layout.places, len(layout.names)
    rows = _rows(layout, lines)
    texts = [row[column] if row is not None and _has_number(layout, row) else "" for row in rows]
    # A line of too few cells is filled up, so that the answer stands in its columns.
    lacking = [1 if row is None else max(width - len(row), 0) + 1 for row in rows]
    ready = [
        _as_csv(layout, line, row) + delimiter * count for line, row, count in zip(lines, rows, lacking, strict=True)
    ]
    return _encoded(texts), _encoded(ready)


def _has_number(layout: Layout, row: list[str]) -> bool:
    """Return True if a row has the column of the numbers. A line of one column is a number, whatever it holds."""
    return len(row) == 1 if layout.is_plain else len(row) > layout.places[0]


def _rows(layout: Layout, lines: list[str]) -> Sequence[list[str] | None]:
    """Return the cells of each line; None if its quotes do not match, as then nobody knows where they end."""
    try:
        rows = [*csv.reader(lines, delimiter=layout.delimiter, strict=True)]
    except csv.Error:
        rows = []
    if len(rows) == len(lines):  # else a quote took a line's neighbours with it
        return [row or [""] for row in rows]
    return [_row(layout, line) for line in lines]


def _row(layout: Layout, line: str) -> list[str] | None:
    try:
        return layout.cells(line)
    except csv.Error:
        return None


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _as_csv(layout: Layout, line: str, cells: list[str] | None) -> str:
    """Return a line to the letter, unless another program would read more, or something else, than its cells."""
    delimiter = _delimiter(layout)
    if cells is None:
        return written([line], delimiter, quote_all=True)
    if any(map(may_hold_formula, cells)) or (layout.is_plain and delimiter in line and '"' not in line):
        return written(cells, delimiter, quote_all=True)
    return line


def _delimiter(layout: Layout) -> str:
    return "," if layout.is_plain else layout.delimiter


@contextmanager
def _writing(target: Path | None) -> Iterator[Callable[[bytes], object]]:
    if target is not None:
        with replacing(target, mode=OWNER_ONLY) as file:
            yield file.write
    elif sys.stdout.isatty():  # what others wrote must not move its cursor
        yield lambda text: sys.stdout.write("\n".join(map(printable, text.decode("utf-8", "replace").split("\n"))))
    else:
        yield sys.stdout.buffer.write
