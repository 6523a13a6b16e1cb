"""Peers: what each is, how it is asked, and what every one of them is asked for."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from benchmarks.population import CORES, Numbers, Population
from numcheck.bench.measure import Figure, Load, Question, figure_of
from numcheck.bench.outcome import Outcome
from numcheck.bench.resources import Cores, Reading, Used, read_counters
from numcheck.v1 import check_pb2, number_pb2

SERVER, CLIENT = CORES[:1], CORES[-1:]
PLACES = Cores(tuple(SERVER), tuple(CLIENT))
NUMBERS_MAX = 1_000_000  # in all the requests of a case that differ
REQUESTS_MAX = 2_048


class Missing(Exception):
    """Something that a peer needs is not installed; the text says what."""


class Shape(NamedTuple):
    """Numbers in a call, connections, and calls in flight on each."""

    numbers: int
    connections: int
    in_flight: int


class About(NamedTuple):
    """A row of the table but for its figures."""

    name: str
    asked: str
    """How it is asked."""
    knows: str
    """The facts that it tells about a number."""
    version: str = ""


class Peer(ABC):
    """Something that answers, until its context ends. Nothing is asked of two of them at a time."""

    about: About

    @abstractmethod
    def measure(self, shape: Shape, seconds: float) -> Figure | None:
        """Return the figure of a load as large as it can take; None if it is not asked so."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process that answers."""

    def memory(self) -> int:
        """Return the bytes that its processes keep in memory, of mapped files as well."""
        return memory_of(self.pid)


Opening = Callable[[], AbstractContextManager[list[Peer]]]
"""Starts peers that go together; Missing if that cannot be done here."""


def memory_of(pid: int) -> int:
    """Return the bytes of a process, and of all that came of it, in memory."""
    return sum(map(proportional_size, family_of(pid)))


def proportional_size(pid: int) -> int:
    """Return the bytes of a process in memory; a page that several share counts for each by its share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return 1_024 * int(found[1]) if found else 0


def family_of(pid: int) -> Iterator[int]:
    """Yield a process and all that came of it."""
    yield pid
    children = Path(f"/proc/{pid}/task").glob("*/children")
    for child in chain.from_iterable(one.read_text().split() for one in children):
        yield from family_of(int(child))


def batches_of(population: Population, size: int) -> list[Numbers]:
    """Return the numbers of each request, drawn from all that are allotted: the same for every peer."""
    count = max(1, min(REQUESTS_MAX, NUMBERS_MAX // size))
    numbers = population.random_numbers(count * size, seed=size)
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def active_by_kernel(population: Population, numbers: Numbers) -> list[int]:
    """Return 1 for each number that numcheck says is ACTIVE, else 0."""
    request = check_pb2.CheckNumbersRequest(numbers=numbers.tolist()).SerializeToString()
    answer = population.index.table.check_numbers(request, numbers_per_call_max=len(numbers))
    statuses = check_pb2.CheckNumbersResponse.FromString(answer).statuses
    return [int(status == number_pb2.NUMBER_STATUS_ACTIVE) for status in statuses]


def figure(name: str, shape: Shape, seconds: float, outcome: Outcome, before: Reading, pid: int) -> Figure:
    """Return the figure of what a client of ours did since a reading."""
    load = Load(name, shape.connections, shape.in_flight, shape.numbers)
    used = Used.between(before, read_counters(pid), outcome.cpu_s)
    return figure_of(PLACES, Question("peers", shape.numbers, load, seconds), outcome, used)
