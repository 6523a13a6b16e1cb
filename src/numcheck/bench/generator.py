"""Loads on one server: the native generator, one thread a core; or a plain client, where a build has none."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, cast

from numcheck.bench.outcome import Outcome
from numcheck.client.channel import Security, open_channel

try:
    from numcheck._load import Generator
except ImportError:
    LACKING: str | None = "this build has no load generator: a plain client asks instead, one call at a time a thread"
else:
    LACKING = None

PREFIX_SIZE = 5  # of a message of gRPC
PLAIN_THREADS_MAX = 64
PATIENCE_S = 10.0


def framed(message: bytes) -> bytes:
    """Return a message as gRPC sends it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


@dataclass(frozen=True)
class Target:
    """A server, and how it is reached. `files` are the authority, the client's certificate and its key."""

    address: str
    security: Security = field(default_factory=Security)
    files: tuple[Path | None, Path | None, Path | None] = (None, None, None)
    token: str | None = None

    @property
    def is_plaintext(self) -> bool:
        """True if nothing of TLS is given."""
        return self.security.is_plaintext

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The host as a name or an address, without brackets; and the port."""
        host, _, port = self.address.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    def headers(self, path: str) -> list[tuple[bytes, bytes]]:
        """Return the header of a call."""
        found = {
            ":method": "POST",
            ":scheme": "http" if self.is_plaintext else "https",
            ":path": path,
            ":authority": self.address,
            "te": "trailers",
            "content-type": "application/grpc",
            "user-agent": "numcheck-bench",
        }
        if self.token is not None:
            found["authorization"] = f"Bearer {self.token}"
        return [(name.encode(), value.encode()) for name, value in found.items()]


def pin(cores: Sequence[int]) -> None:
    """Keep this thread on these cores, where the system can do that."""
    if cores and sys.platform.startswith("linux"):
        os.sched_setaffinity(0, cores)


class NativeLoad:
    """Connections of the native generator, shared out over the client's cores."""

    def __init__(self, target: Target, path: str, *, connections: int, in_flight: int, cores: Sequence[int]) -> None:
        """`in_flight` is of a connection. Nothing is connected until `connect`, or the first run."""
        self._cores = list(cores[:connections]) or [-1]
        host, port = target.host_and_port
        self._generators = [
            Generator(
                host,
                port,
                target.headers(path),
                connections=len(range(place, connections, len(self._cores))),
                in_flight=in_flight,
                tls=None if target.is_plaintext else target.files,
            )
            for place in range(len(self._cores))
        ]

    def connect(self, patience_s: float = PATIENCE_S) -> int:
        """Connect, and return how many connections are ready."""
        with ThreadPoolExecutor(len(self._generators)) as threads:
            return sum(threads.map(lambda one: one.connect(patience_s), self._generators))

    def run(
        self,
        bodies: Sequence[bytes],
        seconds: float,
        *,
        rate: float = 0.0,
        once: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> Outcome:
        """Make calls for so long, as `Generator.run`; `rate` is of all cores together."""
        count = min(len(self._generators), len(bodies)) if once else len(self._generators)

        def one(place: int) -> Any:
            if self._cores[place] >= 0:
                pin([self._cores[place]])
            own = list(bodies[place::count] or bodies)
            return self._generators[place].run(
                own, seconds=seconds, rate=rate / count, once=once, patience_s=patience_s
            )

        with ThreadPoolExecutor(count) as threads:
            return Outcome.of(list(threads.map(one, range(count))))


class PlainLoad:
    """Calls by threads of Python: far slower than most nodes, so that what it measures is mostly itself."""

    def __init__(self, target: Target, path: str, *, connections: int, in_flight: int, cores: Sequence[int]) -> None:
        """As NativeLoad, with at most PLAIN_THREADS_MAX calls in flight."""
        self._channel = open_channel(target.address, target.security)
        self._call = calls_of(self._channel, path)
        self._connections, self._threads = connections, min(connections * in_flight, PLAIN_THREADS_MAX)

    def connect(self, patience_s: float = PATIENCE_S) -> int:
        """Leave it to the first call; grpcio makes one connection for all."""
        return self._connections

    def run(
        self,
        bodies: Sequence[bytes],
        seconds: float,
        *,
        rate: float = 0.0,
        once: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> Outcome:
        """Make calls for so long; a rate is not kept, as this client could not keep it."""
        count = min(self._threads, len(bodies)) if once else self._threads
        with ThreadPoolExecutor(count) as threads:
            shares = [bodies[place::count] or bodies for place in range(count)]
            return Outcome.of(list(threads.map(lambda own: self._ask(own, seconds, once, patience_s), shares)))

    def _ask(self, bodies: Sequence[bytes], seconds: float, once: bool, patience_s: float) -> Outcome:
        began, spent, turn = perf_counter(), thread_time(), 0
        statuses, answered = dict[int, int](), dict[int, int]()
        while perf_counter() - began < seconds and not (once and turn == len(bodies)):
            sent = perf_counter()
            answer = try_call(self._call, bodies[turn % len(bodies)][PREFIX_SIZE:], patience_s)
            status = answer if isinstance(answer, int) else 0
            statuses[status] = statuses.get(status, 0) + 1
            if status == 0:
                took = int(1e9 * (perf_counter() - sent))
                answered[took] = answered.get(took, 0) + 1
            turn += 1
        return Outcome(
            wall_s=perf_counter() - began,
            cpu_s=thread_time() - spent,
            begun=turn,
            in_time=statuses.get(0, 0),
            statuses=statuses,
            answered=answered,
        )


def calls_of(channel: Any, path: str) -> Callable[..., bytes]:
    """Return a unary method of a channel, from bytes to bytes."""
    return cast(Callable[..., bytes], channel.unary_unary(path))


def try_call(call: Callable[..., bytes], request: bytes, timeout_s: float = 60.0) -> bytes | int:
    """Return the answer of a call of grpcio's, or the status with which it was refused."""
    try:
        return call(request, timeout=timeout_s)
    except Exception as error:
        if not hasattr(error, "code"):
            raise
        return int(error.code().value[0])


Load = NativeLoad | PlainLoad


def load_on(target: Target, path: str, *, connections: int, in_flight: int, cores: Sequence[int]) -> Load:
    """Return the load that this build can make."""
    make = NativeLoad if LACKING is None else PlainLoad
    return make(target, path, connections=connections, in_flight=in_flight, cores=cores)
