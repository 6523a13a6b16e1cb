"""A file of numbers to push: a number or a range on each line; a line with a minus in front removes."""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from numcheck import e164
from numcheck.client import Numbers
from numcheck.errors import BadNumbersFile, NotANumber

PIECE_SIZE = 1 << 20  # bytes read at once: some 90,000 lines
# Canonical numbers of country code 7. Others, and numbers that are written otherwise, take the slow way.
PLAIN = range(70_000_000_000, 80_000_000_000)
LINE_SIZE_MAX = 1_000


class NumberFile:
    """A file that can be read again and again, and is the same each time."""

    def __init__(self, path: Path, *, delta: bool, region: str) -> None:
        """`region` is the country (ISO 3166) of numbers that are written without one."""
        self._path, self._delta, self._region = path, delta, region
        self.size = path.stat().st_size

    def digest(self) -> str:
        """What the file holds, in 16 hexadecimal digits."""
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]

    def pieces(self, report: Callable[[float], None]) -> Iterator[Numbers]:
        """The file's lines in order, in pieces. BadNumbersFile names the line that is none."""
        line_number, done = 1, 0
        with self._path.open("rb") as file:
            while lines := file.readlines(PIECE_SIZE):
                if line_number == 1:
                    lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
                yield self._quickly(lines) or self._slowly(lines, line_number)
                line_number += len(lines)
                done += sum(map(len, lines))
                report(done / max(self.size, 1))

    def _quickly(self, lines: list[bytes]) -> Numbers | None:
        """The numbers of lines that are all plain digits, with a sign or none; None if any is not."""
        with suppress(ValueError, OverflowError):
            numbers = array("q", map(int, lines))
            low, high = min(numbers), max(numbers)
            if low in PLAIN and high in PLAIN:
                return Numbers(add=numbers)
            if self._delta and all(abs(number) in PLAIN for number in numbers):
                removed = [-number for number in numbers if number < 0]
                return Numbers(add=[number for number in numbers if number > 0], remove=removed)
        return None

    def _slowly(self, lines: list[bytes], first_line_number: int) -> Numbers:
        numbers = Numbers([], [], [], [])
        for line_number, line in enumerate(lines, first_line_number):
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._take(numbers, text, line_number)
        return numbers

    def _take(self, numbers: Numbers, text: str, line_number: int) -> None:
        removes = text.startswith("-")
        if removes and not self._delta:
            raise self._bad(line_number, "the line removes, and a snapshot holds what is in service: push with --delta")
        first, last = self._range(text.removeprefix("-"), line_number)
        if first == last:
            (numbers.remove if removes else numbers.add).append(first)  # type: ignore[attr-defined]  # lists, as above
        else:
            (numbers.remove_ranges if removes else numbers.add_ranges).append((first, last))  # type: ignore[attr-defined]

    def _range(self, text: str, line_number: int) -> tuple[int, int]:
        head, dash, tail = text.partition("-")
        try:
            if dash and head.strip().lstrip("+").isdigit() and tail.strip().lstrip("+").isdigit() and len(tail) > 6:
                first, last = e164.parse(head, self._region), e164.parse(tail, self._region)
            else:
                first = last = e164.parse(text, self._region)
        except NotANumber:
            raise self._bad(line_number, "neither a number nor a range") from None
        if first > last:
            raise self._bad(line_number, "the range ends before it starts")
        return first, last

    def _bad(self, line_number: int, what: str) -> BadNumbersFile:
        return BadNumbersFile(f"{self._path.name}:{line_number}: {what}")
