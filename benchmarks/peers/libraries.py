"""Libraries that answer in the caller's own process: no network, no other callers. Each has a process here."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import library_process
from benchmarks.peers.library_process import Task
from benchmarks.peers.peer import About, Missing, Peer, Shape, active_by_kernel, batches_of, figure
from benchmarks.peers.stores import blocks_of, outcome_of
from benchmarks.population import BLOCK, FIRST, Population, pin
from numcheck.bench.measure import WARM_SHARE, Figure
from numcheck.bench.resources import read_counters
from numcheck.serving.publishing import index_directory

KERNEL = "numcheck's kernel"
OPERATOR = "active, operator"
ABOUT = {
    "kernel": About(KERNEL, "a request's bytes", "status, operator, ported"),
    "numpy": About("NumPy, bits and blocks", "an array", OPERATOR),
    "pyroaring": About("pyroaring, n in BitMap", "a list", "active"),
    "sqlite": About("SQLite, bits by block", "one, or many as JSON", OPERATOR, sqlite3.sqlite_version),
    "phonenumbers": About("phonenumbers", "text", "valid, range holder"),
}
"""Rows, by the names of library_process.LIBRARIES. A row has its own version, or that of the package of its name."""
PACKAGES = {"kernel": "numcheck"}
"""Packages, where they have other names."""

assert (library_process.FIRST, library_process.BLOCK) == (FIRST, BLOCK)


class OwnProcess(Peer):
    """A library in a process of its own."""

    def __init__(self, name: str, directory: Path, population: Population) -> None:
        """Start it; Missing if it is not installed."""
        try:
            self.about = ABOUT[name]._replace(version=ABOUT[name].version or version(PACKAGES.get(name, name)))
        except PackageNotFoundError:
            raise Missing(f"{name} is missing: pip install {name}") from None
        self._directory, self._population = directory, population
        command = [sys.executable, "-m", library_process.__name__, name, str(directory)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pin(0, self._process.pid)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def measure(self, shape: Shape, seconds: float) -> Figure | None:
        """Return the figure of one question after the other; None for calls of one number beside others."""
        alone = shape._replace(connections=1, in_flight=1)
        if shape.numbers == 1 and shape != alone:
            return None
        batches = batches_of(self._population, shape.numbers)
        file = self._directory / f"numbers-{shape.numbers}"
        np.concatenate(batches).tofile(file)
        active = self._done(Task(file=str(file), numbers=shape.numbers))["active"]
        assert active in (None, active_by_kernel(self._population, batches[0])), self.about.name
        self._done(Task(WARM_SHARE * seconds))
        before = read_counters(self.pid)
        done = self._done(Task(seconds))
        outcome = outcome_of(Counter(dict(done["took"])), 1, done["wall_ns"], 0.0)  # it asks itself
        return figure(self.about.name, alone, seconds, outcome, before, self.pid)

    def memory(self) -> int:
        """Return that of the library and its data, without the questions."""
        self._done(Task())
        return super().memory()

    def _done(self, task: Task) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{self.about.name} ended"
        done: dict[str, Any] = json.loads(line)
        return done

    def end(self) -> None:
        """End it."""
        self._process.communicate(timeout=20)


@contextmanager
def library(name: str, population: Population, directory: Path) -> Iterator[list[Peer]]:
    """A library, with its data in a directory, in the form that it takes."""
    if not (directory / "index").exists():
        _write(population, directory)
    peer = OwnProcess(name, directory, population)
    try:
        yield [peer]
    finally:
        peer.end()


def _write(population: Population, directory: Path) -> None:
    """Write the data of all libraries."""
    population.dense.tofile(directory / "dense")
    population.operator_of_block.tofile(directory / "operators")
    (directory / "roaring").write_bytes(population.bitmap.serialize())
    (directory / "index").write_text(str(index_directory(population.data_dir)))
    with closing(sqlite3.connect(directory / "blocks.sqlite")) as connection:
        connection.execute("CREATE TABLE block (block INTEGER PRIMARY KEY, operator_id INT, active BLOB)")
        blocks = blocks_of(population.dense, population.operator_of_block)
        connection.executemany("INSERT INTO block VALUES (?, ?, ?)", blocks)
        connection.commit()
