"""Checking a file of numbers: a line in, the same line with its answer out, however many there are.

A line is what ends with a line end, whatever quotes stand in it: one bad line never takes its neighbours with it. Lines
are kept to the letter, unless a spreadsheet would take a cell for a formula; the answer's columns are put behind them.
What is written is UTF-8, as far as the encoding of what was read is known.
"""

import csv
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from numcheck import e164
from numcheck.cli.checkers import Checker
from numcheck.cli.console import Report
from numcheck.cli.reading.layout import NOTHING_SAID, Layout, Wanted
from numcheck.cli.reading.source import opened
from numcheck.cli.reading.table import Options, Rows, reading
from numcheck.cli.spreadsheets import may_hold_formula, written
from numcheck.output import replacing
from numcheck.printable import printable
from numcheck.status import NumberStatus

BATCH_LINES = 20_000
ADDED_COLUMNS = ("status", "operator_id", "operator")
NOT_A_NUMBER = "NOT_A_NUMBER"


class Batch(NamedTuple):
    """Lines, each ready for the answer behind it, and their numbers: 0 where a line holds none."""

    lines: list[str]
    numbers: Sequence[int]


def check_file(
    checker: Checker,
    source: Path,
    target: Path | None,
    report: Report,
    *,
    wanted: Wanted = NOTHING_SAID,
    tell: Callable[[str], None] = lambda _line: None,
) -> Counter[str]:
    """Check every line of a file; return how many lines got which status. The target appears whole, or not at all.

    `tell` gets a line that says how the file is read. BadNumbersFile if that is uncertain.
    """
    with opened(source) as file, reading(file, Options(wanted)) as rows:
        tell(rows.told)
        with _writing(target) as write:
            return _check_rows(checker, rows, write, lambda: report("checking", file.share_read()))


def _check_rows(checker: Checker, rows: Rows, write: Callable[[str], None], report: Callable[[], None]) -> Counter[str]:
    counts: Counter[str] = Counter()
    asked: deque[Batch] = deque()
    answers = _Answers(checker.operator_names, _delimiter(rows.layout))
    for checked in checker.check_batches(_batches(checker, rows, write, asked)):
        lines, numbers = asked.popleft()
        found = [*zip(map(bool, numbers), checked.statuses, checked.operator_ids, strict=True)]
        for answer, count in Counter(found).items():
            counts[answers.name(answer)] += count
        write("".join(f"{line}{answers[answer]}\n" for line, answer in zip(lines, found, strict=True)))
        report()
    return counts


class _Answers(dict[tuple[bool, int, int], str]):
    """The columns behind a line, by whether it holds a number, its status and its operator; each is made once."""

    def __init__(self, operator_names: Mapping[int, str], delimiter: str) -> None:
        super().__init__()
        self._operator_names, self._delimiter = operator_names, delimiter

    @staticmethod
    def name(answer: tuple[bool, int, int]) -> str:
        """Return the status as it is written."""
        is_number, status, _ = answer
        return NumberStatus(status).name if is_number else NOT_A_NUMBER

    def __missing__(self, answer: tuple[bool, int, int]) -> str:
        operator_id = answer[2]
        cells = self.name(answer), str(operator_id or ""), self._operator_names.get(operator_id, "")
        self[answer] = written(cells, self._delimiter)
        return self[answer]


def _batches(
    checker: Checker, rows: Rows, write: Callable[[str], None], asked: deque[Batch]
) -> Iterator[Sequence[int]]:
    """Yield the numbers of successive lines in batches, noting in `asked` what each batch asks for."""
    size, region = min(BATCH_LINES, checker.numbers_per_call_max), checker.default_region
    for piece in rows.pieces():
        lines = piece.lines
        if piece.line_number == 1:
            write(_head(rows.layout, lines[: rows.layout.skipped]))
            lines = lines[rows.layout.skipped :]
        texts, ready = _prepared(rows.layout, lines)
        numbers = e164.parse_lines("".join(f"{text}\n" for text in texts).encode("utf-8", "surrogateescape"), region)
        for start in range(0, len(lines), size):
            batch = Batch(ready[start : start + size], numbers[start : start + size])
            asked.append(batch)
            yield batch.numbers


def _head(layout: Layout, lines: list[str]) -> str:
    """Return what stands before the rows: Excel's own line and the header."""
    if layout.has_header:
        *before, header = lines
        _, (ready,) = _prepared(layout, [header])
        lines = [*before, ready + written(ADDED_COLUMNS, _delimiter(layout))]
    return "".join(f"{line}\n" for line in lines)


def _prepared(layout: Layout, lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the text of each line's number, empty if it has none, and each line ready for its answer."""
    delimiter, (column,), width = _delimiter(layout), layout.places, len(layout.names)
    text = "\n".join(lines)
    rows = _rows(layout, lines) if '"' in text else [line.split(layout.delimiter) for line in lines]
    if None in rows or may_hold_formula(text) or (layout.is_plain and delimiter in text):
        lines = [_as_csv(layout, line, row) for line, row in zip(lines, rows, strict=True)]
    texts = [row[column] if row is not None and len(row) > column else "" for row in rows]
    # A line of too few cells is filled up, so that the answer stands in its columns.
    ready = [
        line + delimiter if row is None or len(row) >= width else line + delimiter * (width - len(row) + 1)
        for line, row in zip(lines, rows, strict=True)
    ]
    return texts, ready


def _rows(layout: Layout, lines: list[str]) -> Sequence[list[str] | None]:
    """Return the cells of each line; None if its quotes do not match, as then nobody knows where they end."""
    rows: list[list[str] | None] = []
    for line in lines:
        try:
            rows.append(layout.cells(line))
        except csv.Error:
            rows.append(None)
    return rows


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
def _writing(target: Path | None) -> Iterator[Callable[[str], None]]:
    if target is not None:
        with replacing(target) as file:
            yield lambda text: _write(file, text)
    elif sys.stdout.isatty():  # what others wrote must not move its cursor
        yield lambda text: _write(sys.stdout.buffer, "\n".join(map(printable, text.split("\n"))))
    else:
        yield lambda text: _write(sys.stdout.buffer, text)


def _write(file: BinaryIO, text: str) -> None:
    file.write(text.encode("utf-8", "surrogateescape"))
