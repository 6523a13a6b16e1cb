"""Checking a file of numbers: CSV in, CSV out, line by line in place, however many there are."""

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from numcheck import e164
from numcheck.cli.console import Report
from numcheck.errors import NotANumber
from numcheck.status import NumberStatus

BATCH_LINES = 20_000
ADDED_COLUMNS = ["status", "operator_id", "operator"]
NUMBER_COLUMNS = ("number", "phone", "msisdn", "номер", "телефон")
NOT_A_NUMBER = "NOT_A_NUMBER"
IMPOSSIBLE = 0  # stands in a batch for a line that holds no number, so that lines and answers stay side by side


class _Lines:
    """The lines of a CSV file, its delimiter and the number's column found from its beginning."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        first = file.readline()
        self.delimiter = max(",;\t", key=first.count)
        head = next(csv.reader([first], delimiter=self.delimiter), [])
        names = [cell.strip().casefold() for cell in head]
        self.column = next((names.index(name) for name in NUMBER_COLUMNS if name in names), 0)
        is_header = bool(names) and not any(character.isdigit() for character in names[self.column])
        self.header = head if is_header else None
        self._first = None if is_header or not first else head

    def __iter__(self) -> Iterator[list[str]]:
        if self._first is not None:
            yield self._first
        yield from csv.reader(self._file, delimiter=self.delimiter)

    def number(self, line: list[str], region: str) -> int | None:
        """The number that a line holds, or None."""
        try:
            return e164.parse(line[self.column], region)
        except (NotANumber, IndexError):
            return None


def check_file(checker: Any, source: Path, target: Path | None, report: Report) -> Counter[str]:
    """Check every line of a file; return how many lines got which status. The target appears whole, or not at all."""
    counts: Counter[str] = Counter()
    size = max(source.stat().st_size, 1) if str(source) != "-" else None
    with _reading(source) as (file, position), _writing(target) as output:
        lines = _Lines(file)
        writer = csv.writer(output, delimiter=lines.delimiter, lineterminator="\n")
        if lines.header is not None:
            writer.writerow([*lines.header, *ADDED_COLUMNS])
        pending: list[tuple[list[list[str]], list[int | None]]] = []
        batches = _batches(lines, checker.default_region, pending)
        for checked in checker.check_batches(batches):
            rows, numbers = pending.pop(0)
            for row, number, status, operator_id in zip(
                rows, numbers, checked.statuses, checked.operator_ids, strict=True
            ):
                name = NOT_A_NUMBER if number is None else NumberStatus(status).name
                counts[name] += 1
                operator = checker.operator_names.get(operator_id, "")
                writer.writerow([*row, name, operator_id or "", operator])
            report("checking", position() / size if size else 0)
    return counts


def _batches(
    lines: _Lines, region: str, pending: list[tuple[list[list[str]], list[int | None]]]
) -> Iterator[list[int]]:
    """Yield the numbers of successive lines in batches, putting each batch's lines into `pending` first."""
    rows: list[list[str]] = []
    for row in lines:
        rows.append(row)
        if len(rows) == BATCH_LINES:
            yield _batch(lines, region, rows, pending)
            rows = []
    if rows:
        yield _batch(lines, region, rows, pending)


def _batch(
    lines: _Lines, region: str, rows: list[list[str]], pending: list[tuple[list[list[str]], list[int | None]]]
) -> list[int]:
    numbers = [lines.number(row, region) for row in rows]
    pending.append((rows, numbers))
    return [IMPOSSIBLE if number is None else number for number in numbers]


@contextmanager
def _reading(source: Path) -> Iterator[tuple[IO[str], Any]]:
    if str(source) == "-":
        yield sys.stdin, lambda: 0
        return
    # What is not UTF-8 goes through as it came: the line is marked, and its other columns are kept.
    with source.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield file, partial(os.lseek, file.fileno(), 0, os.SEEK_CUR)


@contextmanager
def _writing(target: Path | None) -> Iterator[IO[str]]:
    if target is None:
        yield sys.stdout
        return
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
