"""Output of commands: results to standard output, progress and warnings to standard error."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from numcheck.printable import printable

PLAIN_WIDTH = 240  # of what is not a terminal: a table's rows must not be broken for whoever reads them by line
PLAIN_LINE_INTERVAL_S = 5.0
ROWS_MEASURED = 1_000  # by which a long table's columns are first aligned


class EscapingConsole(Console):
    """A terminal on which text is shown and never acted on: what it would act on is escaped, in one place."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Make every text that is printed, and every cell of a table, one line of printable characters."""
        return super().render_str(printable(text), **options)


# To the letter: rich would take "[x]" for markup, and the ":100:" of a file's line 100 for an emoji.
to_the_letter = partial(EscapingConsole, markup=False, emoji=False, highlight=False, soft_wrap=True)
out = to_the_letter(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = to_the_letter(stderr=True)


def say(line: str) -> None:
    """Tell the person, now, whatever standard output is."""
    err.print(line)


def print_lines(*groups: Iterable[str]) -> None:
    """Print a result of lines, to the letter."""
    sys.stdout.writelines(f"{printable(line)}\n" for line in chain(*groups))


def print_json(result: Any) -> None:
    """Print a result for another program."""
    lines = json.dumps(result, ensure_ascii=False, indent=2).split("\n")  # those within a text are escaped already
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)


def print_json_line(result: Any) -> None:
    """Print one of many results for another program: a line of JSON."""
    sys.stdout.write(f"{printable(orjson.dumps(result).decode())}\n")


def print_rows(columns: list[str], rows: Iterable[list[str]]) -> None:
    """Print a table that may be long, row by row as they come: a column is as wide as its widest cell so far."""
    waiting = chain([columns], rows)
    widths = [0] * len(columns)
    while piece := [[printable(cell) for cell in row] for row in islice(waiting, ROWS_MEASURED)]:
        widths = [max(width, *map(cell_len, cells)) for width, *cells in zip(widths, *piece, strict=True)]
        for row in piece:
            padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
            sys.stdout.write("  ".join(padded).rstrip() + "\n")


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a result for a person, a titled one after an empty line; columns that start with # are right-aligned."""
    if title:
        out.print()
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith("#")
        table.add_column(column.removeprefix("#"), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        table.add_row(*row)
    out.print(table)


class Report(Protocol):
    """Takes the name of a step and its share done, 0 to 1."""

    def __call__(self, step: str, share: float, /) -> None:
        """Report."""


@contextmanager
def progress() -> Iterator[Report]:
    """Report long work: a bar for each step on a terminal, a line at its start and every few seconds elsewhere."""
    if err.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err) as bars:
            yield _bars(bars)
    else:
        yield _lines()


def _bars(bars: Progress) -> Report:
    tasks: dict[str, Any] = {}

    def report(step: str, share: float) -> None:
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=1.0)
        bars.update(tasks[step], completed=share)

    return report


def _lines() -> Report:
    printed: dict[str, float] = {}

    def report(step: str, share: float) -> None:
        now = time.monotonic()
        if step not in printed or now - printed[step] >= PLAIN_LINE_INTERVAL_S:
            printed[step] = now
            say(f"{step}: {share:.0%}")

    return report
