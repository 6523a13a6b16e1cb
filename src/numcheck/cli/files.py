"""Checking a file of numbers: a line in, the same line with its answer out, however many there are.

A line is what ends with a line end, whatever quotes stand in it: one bad line never takes its neighbours with it. Lines
are kept to the letter; the answer's columns are put behind them.
"""

import csv
import io
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TextIO

from numcheck import e164
from numcheck.cli.checkers import Checker
from numcheck.cli.console import Report
from numcheck.errors import NotANumber
from numcheck.status import NumberStatus

BATCH_LINES = 20_000
ADDED_COLUMNS = ("status", "operator_id", "operator")
NUMBER_COLUMNS = ("number", "phone", "msisdn", "номер", "телефон")
NOT_A_NUMBER = "NOT_A_NUMBER"
IMPOSSIBLE = 0  # stands in a batch for a line that holds no number, so that lines and answers stay side by side

Batch = list[tuple[str, int | None]]  # lines with the number that each holds, if it holds one


class _Layout:
    """How a file writes its columns, told by its first line."""

    def __init__(self, first_line: str) -> None:
        self.delimiter = max(",;\t", key=first_line.count)
        cells = self.cells(first_line)
        names = [cell.strip().casefold() for cell in cells]
        self.column = next((names.index(name) for name in NUMBER_COLUMNS if name in names), 0)
        self.has_header = bool(names[self.column]) and not any(map(str.isdigit, names[self.column]))
        self.column_count = len(cells)

    def cells(self, line: str) -> list[str]:
        """The cells of a line; at least one."""
        if '"' in line:
            with suppress(csv.Error):
                return next(csv.reader([line], delimiter=self.delimiter))
        return line.split(self.delimiter)

    def number(self, line: str, region: str) -> int | None:
        """The number that a line holds, or None."""
        try:
            return e164.parse(self.cells(line)[self.column], region)
        except (NotANumber, IndexError):
            return None

    def with_answer(self, line: str, answer: str) -> str:
        """The line with an answer behind its last column, even if it has too few."""
        missing = max(self.column_count - len(self.cells(line)), 0)
        return f"{line}{self.delimiter * (missing + 1)}{answer}\n"

    def joined(self, cells: tuple[str, ...]) -> str:
        """Cells as one writes them in this file."""
        written = io.StringIO()
        csv.writer(written, delimiter=self.delimiter, lineterminator="").writerow(cells)
        return written.getvalue()


def check_file(checker: Checker, source: Path, target: Path | None, report: Report) -> Counter[str]:
    """Check every line of a file; return how many lines got which status. The target appears whole, or not at all."""
    with _reading(source) as (file, share_done), _writing(target) as output:
        first_line = file.readline()
        if not first_line:
            return Counter()
        first_line = first_line.rstrip("\r\n")
        layout = _Layout(first_line)
        if layout.has_header:
            output.write(layout.with_answer(first_line, layout.joined(ADDED_COLUMNS)))
        lines = _lines(file, None if layout.has_header else first_line)
        return _check_lines(checker, layout, lines, output, lambda: report("checking", share_done()))


def _lines(file: TextIO, first_line: str | None) -> Iterator[str]:
    if first_line is not None:
        yield first_line
    for line in file:
        yield line.rstrip("\r\n")


def _check_lines(
    checker: Checker, layout: _Layout, lines: Iterator[str], output: TextIO, report: Callable[[], None]
) -> Counter[str]:
    counts: Counter[str] = Counter()
    asked: deque[Batch] = deque()
    answers: dict[tuple[str, int], str] = {}
    for checked in checker.check_batches(_batches(checker, layout, lines, asked)):
        pairs = zip(asked.popleft(), checked.statuses, checked.operator_ids, strict=True)
        for (line, number), status, operator_id in pairs:
            name = NOT_A_NUMBER if number is None else NumberStatus(status).name
            counts[name] += 1
            if (name, operator_id) not in answers:
                operator = checker.operator_names.get(operator_id, "")
                answers[name, operator_id] = layout.joined((name, str(operator_id or ""), operator))
            output.write(layout.with_answer(line, answers[name, operator_id]))
        report()
    return counts


def _batches(checker: Checker, layout: _Layout, lines: Iterator[str], asked: deque[Batch]) -> Iterator[list[int]]:
    """Yield the numbers of successive lines in batches, noting in `asked` what each batch asks for."""
    region, size = checker.default_region, min(BATCH_LINES, checker.numbers_per_call_max)
    while batch := [(line, layout.number(line, region)) for line in islice(lines, size)]:
        asked.append(batch)
        yield [IMPOSSIBLE if number is None else number for _, number in batch]


@contextmanager
def _reading(source: Path) -> Iterator[tuple[TextIO, Callable[[], float]]]:
    """Open a file, or standard input for `-`; the share of it that was read so far goes with it."""
    if str(source) == "-":
        assert isinstance(sys.stdin, io.TextIOWrapper)
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        yield sys.stdin, lambda: 0.0
        return
    # What is not UTF-8 goes through as it came.
    with source.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        size = max(os.fstat(file.fileno()).st_size, 1)
        # A pipe, such as the shell's <(...), has no place to tell.
        yield file, lambda: os.lseek(file.fileno(), 0, os.SEEK_CUR) / size if file.seekable() else 0.0


@contextmanager
def _writing(target: Path | None) -> Iterator[TextIO]:
    if target is None:
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        yield sys.stdout
        return
    if target.exists() and not target.is_file():  # a device or a pipe: it takes what comes, and must not be replaced
        with _opened(target) as file:
            yield file
        return
    part = target.with_name(f"{target.name}.part")
    try:
        with _opened(part) as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _opened(target: Path) -> TextIO:
    return target.open("w", encoding="utf-8", errors="surrogateescape", newline="")
