"""A library in a process of its own: `python -m benchmarks.peers.library_process NAME DIRECTORY`.

It imports nothing that its library does not need, so that its memory is that of the library and its data. For each line
of its standard input, a Task in JSON, it writes a line of JSON.
"""

import json
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FIRST = 79_000_000_000
BLOCK = 10_000
NUMBERS_MAX = 65_536
NS = 1_000_000_000

Numbers = npt.NDArray[np.uint64]


class Task(NamedTuple):
    """Ask for so long; if that is 0, read the numbers of a file instead, so many for each question; of none, forget."""

    seconds: float = 0.0
    file: str = ""
    numbers: int = 0


class Library(ABC):
    """Something that answers from the data of a directory."""

    @abstractmethod
    def __init__(self, directory: Path) -> None:
        """Read the data."""

    @abstractmethod
    def prepare(self, numbers: Numbers) -> Any:
        """Return the question, which is made beforehand."""

    @abstractmethod
    def ask(self, asked: Any) -> Any:
        """Return its answer."""

    def active(self, asked: Any) -> list[int] | None:
        """Return 1 for each number that is active, else 0; None: it does not know."""
        return None


class Kernel(Library):
    """numcheck's kernel, from the bytes of a request to those of its answer."""

    def __init__(self, directory: Path) -> None:
        """Map the index."""
        from numcheck.index import open_index

        self._table = open_index(Path((directory / "index").read_text())).table

    def prepare(self, numbers: Numbers) -> bytes:
        """Return the request."""
        from numcheck.v1 import check_pb2

        return check_pb2.CheckNumbersRequest(numbers=numbers.tolist()).SerializeToString()

    def ask(self, asked: bytes) -> bytes:
        """Return the answer."""
        return self._table.check_numbers(asked, numbers_per_call_max=NUMBERS_MAX)

    def active(self, asked: bytes) -> list[int]:
        """Read it from the answer."""
        from numcheck.v1 import check_pb2, number_pb2

        statuses = check_pb2.CheckNumbersResponse.FromString(self.ask(asked)).statuses
        return [int(status == number_pb2.NUMBER_STATUS_ACTIVE) for status in statuses]


class NumPy(Library):
    """Dense bits, and a table of operators by block; wrong for the few blocks that several operators share."""

    def __init__(self, directory: Path) -> None:
        """Read both."""
        self._dense = np.fromfile(directory / "dense", dtype=np.uint8)
        self._operators = np.fromfile(directory / "operators", dtype=np.uint8)

    def prepare(self, numbers: Numbers) -> Numbers:
        """Return an array."""
        return numbers

    def ask(self, asked: Numbers) -> tuple[Any, Any]:
        """Return the bits and the operators."""
        places = asked - np.uint64(FIRST)
        active = self._dense[places >> np.uint64(3)] >> (places & np.uint64(7)).astype(np.uint8) & 1
        return active, self._operators[places // np.uint64(BLOCK)]

    def active(self, asked: Numbers) -> list[int]:
        """Return the bits."""
        return list(map(int, self.ask(asked)[0]))


class Roaring(Library):
    """One Roaring bitmap of all active numbers, less FIRST."""

    def __init__(self, directory: Path) -> None:
        """Read it."""
        from pyroaring import BitMap

        self._bitmap = BitMap.deserialize((directory / "roaring").read_bytes())

    def prepare(self, numbers: Numbers) -> list[int]:
        """Return a list."""
        return [number - FIRST for number in numbers.tolist()]

    def ask(self, asked: list[int]) -> list[bool]:
        """Look for each."""
        bitmap = self._bitmap
        return [place in bitmap for place in asked]

    def active(self, asked: list[int]) -> list[int]:
        """Return what was found."""
        return list(map(int, self.ask(asked)))


class SQLite(Library):
    """A table of blocks, in a file that is mapped. It has no function for a bit: the caller takes it from its byte."""

    ONE = "SELECT operator_id, substr(active, (?1 % 10000) / 8 + 1, 1) FROM block WHERE block = ?1 / 10000"
    MANY = """
        SELECT operator_id, substr(active, (value % 10000) / 8 + 1, 1), value % 8
        FROM json_each(?) LEFT JOIN block ON block = value / 10000
    """

    def __init__(self, directory: Path) -> None:
        """Open the file."""
        file = directory / "blocks.sqlite"
        self._connection = sqlite3.connect(file)
        self._connection.execute(f"PRAGMA mmap_size = {file.stat().st_size}")

    def prepare(self, numbers: Numbers) -> int | str:
        """Return the number, or a list as JSON."""
        return int(numbers[0]) if len(numbers) == 1 else json.dumps(numbers.tolist())

    def ask(self, asked: int | str) -> list[Any]:
        """Return the rows."""
        return self._connection.execute(self.ONE if isinstance(asked, int) else self.MANY, (asked,)).fetchall()

    def active(self, asked: int | str) -> list[int]:
        """Take the bits from the rows."""
        rows = self.ask(asked)
        if isinstance(asked, int):
            rows = [(*row, asked % 8) for row in rows] or [(None, None, 0)]
        return [byte[0] >> place & 1 if byte else 0 for _, byte, place in rows]


class PhoneNumbers(Library):
    """The question that many ask today: may a number exist, and whose was its range when the library was made?"""

    def __init__(self, directory: Path) -> None:
        """Load its tables."""
        from phonenumbers import carrier

        self._name_of = carrier.name_for_number

    def prepare(self, numbers: Numbers) -> list[str]:
        """Return texts."""
        return [f"+{number}" for number in numbers.tolist()]

    def ask(self, asked: list[str]) -> list[tuple[bool, str]]:
        """Return if it is valid, and the name of the range's holder."""
        from phonenumbers import is_valid_number, parse

        return [(is_valid_number(one), self._name_of(one, "en")) for one in map(parse, asked)]


LIBRARIES: dict[str, type[Library]] = {
    "kernel": Kernel,
    "numpy": NumPy,
    "pyroaring": Roaring,
    "sqlite": SQLite,
    "phonenumbers": PhoneNumbers,
}


def main() -> None:
    """Do tasks until the input ends."""
    name, directory = sys.argv[1:]
    library = LIBRARIES[name](Path(directory))
    questions: list[Any] = []
    for line in sys.stdin:
        task, answer = Task(*json.loads(line)), dict[str, Any]()
        if task.seconds:
            took, wall_ns = _ask_for(library, questions, task.seconds)
            answer = {"took": list(took.items()), "wall_ns": wall_ns}
        elif not task.file:
            questions = []
        else:
            numbers = np.fromfile(task.file, dtype=np.uint64).reshape(-1, task.numbers)
            questions = [library.prepare(batch) for batch in numbers]
            answer = {"active": library.active(questions[0])}
        print(json.dumps(answer), flush=True)


def _ask_for(library: Library, questions: Sequence[Any], seconds: float) -> tuple["Counter[int]", int]:
    """Ask one question after the other; return how often one took so long, and the time in all."""
    took, ask, start = Counter[int](), library.ask, perf_counter_ns()
    begun, end = start, start + int(seconds * NS)
    for question in cycle(questions):
        ask(question)
        now = perf_counter_ns()
        took[now - begun] += 1
        if now >= end:
            break
        begun = perf_counter_ns()
    return took, perf_counter_ns() - start


if __name__ == "__main__":
    main()
