"""A load generator that does not wait: calls leave at a given rate, whatever becomes of those before them.

Frames by hand over plain sockets, as grpcio could not send as many: a header block without HPACK's table, and of each
answer only how it ends. A status that comes alone, without a message, counts as a refusal; a benchmark looks by another
client at what it says.
"""

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.processes import cpu_seconds
from tests.conformance.calls import call_fields
from tests.conformance.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE_MAX_DEFAULT,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    WINDOW_SIZE_DEFAULT,
    WINDOW_SIZE_MAX,
    block,
    frame,
    settings,
    window_update,
)

IN_FLIGHT_MAX = 32  # of a connection: as many as the node takes
STEP_S = 0.0005


@dataclass
class Outcomes:
    """The calls' outcomes: how long each took from when it was due, in seconds."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    unanswered: int = 0
    took_s: float = 0.0
    cpu_s: float = 0.0
    """Processor time of the node meanwhile."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answered) / self.took_s

    @property
    def rate_of_cpu(self) -> float:
        """Answers a second of the node's processor time: what others do on the machine is not in it."""
        return len(self.answered) / max(self.cpu_s, 0.01)


def percentile(times: Iterable[float], share: float) -> float:
    """The time that this share of the calls took at most, in milliseconds; 0 of none."""
    ordered = sorted(times)
    return 1_000 * ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class _Connection:
    """Calls under way on one connection."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        room = window_update(0, WINDOW_SIZE_MAX - WINDOW_SIZE_DEFAULT)
        self.socket.sendall(PREFACE + settings((INITIAL_WINDOW_SIZE, WINDOW_SIZE_MAX)) + room)
        self.socket.setblocking(False)
        self.due: dict[int, float] = {}
        self.with_message: set[int] = set()
        self.unread, self.unsent, self._stream = b"", bytearray(), 1

    def call(self, fields: bytes, message: bytes, due: float) -> None:
        stream, self._stream = self._stream, self._stream + 2
        self.due[stream] = due
        self.unsent += frame(HEADERS, END_HEADERS, stream, fields)
        for start in range(0, len(message), FRAME_SIZE_MAX_DEFAULT):
            last = END_STREAM if start + FRAME_SIZE_MAX_DEFAULT >= len(message) else 0
            self.unsent += frame(DATA, last, stream, message[start : start + FRAME_SIZE_MAX_DEFAULT])

    def send(self) -> None:
        if self.unsent:
            try:
                del self.unsent[: self.socket.send(self.unsent)]
            except BlockingIOError:
                return

    def take(self, outcomes: Outcomes) -> None:
        """Read what came, and note which calls have ended."""
        try:
            part = self.socket.recv(2**18)
        except BlockingIOError:
            return
        if not part:
            raise ConnectionError("the node has ended a connection")
        now, data, at = time.perf_counter(), self.unread + part, 0
        while len(data) - at >= 9 and len(data) - at >= 9 + (size := int.from_bytes(data[at : at + 3], "big")):
            kind, flags, stream = struct.unpack_from(">BBI", data, at + 3)
            if kind == DATA:
                self.with_message.add(stream)
            elif kind == PING and not flags & ACK:
                self.unsent += frame(PING, ACK, 0, data[at + 9 : at + 17])
            elif (kind == HEADERS and flags & END_STREAM) or kind == RST_STREAM:
                self._end(stream, now, outcomes)
            at += 9 + size
        self.unread = data[at:]

    def _end(self, stream: int, now: float, outcomes: Outcomes) -> None:
        due = self.due.pop(stream, None)
        if due is None:
            return
        ended = outcomes.answered if stream in self.with_message else outcomes.refused
        self.with_message.discard(stream)
        ended.append(now - due)


class OpenLoop:
    """Connections to a node, over which calls of one method are made."""

    def __init__(
        self, address: str, pid: int, path: str, request: Callable[[], bytes], *, connections: int = 64
    ) -> None:
        """`pid` is the node's; `request` makes the next request."""
        self._pid = pid
        self._fields, self._request = block(call_fields(path)), request
        self._connections = [_Connection(address) for _ in range(connections)]
        self._selector = selectors.DefaultSelector()
        for one in self._connections:
            self._selector.register(one.socket, selectors.EVENT_READ, one)
        self._next = 0

    def close(self) -> None:
        """End the connections."""
        self._selector.close()
        for one in self._connections:
            one.socket.close()

    def closed(self, in_flight: int, seconds: float) -> Outcomes:
        """Keep so many calls in flight: what the node can do."""
        outcomes, start, spent = Outcomes(), time.perf_counter(), cpu_seconds(self._pid)
        while (now := time.perf_counter()) - start < seconds:
            open_count = sum(len(one.due) for one in self._connections)
            self._call([now] * (in_flight - open_count))
            self._take(outcomes)
        outcomes.took_s, outcomes.cpu_s = time.perf_counter() - start, cpu_seconds(self._pid) - spent
        self._drain(outcomes)
        return outcomes

    def open(self, rate: float, seconds: float, drain_s: float = 5.0) -> Outcomes:
        """Make `rate` calls a second for so long, and then wait for those under way."""
        outcomes, start, spent, sent = Outcomes(), time.perf_counter(), cpu_seconds(self._pid), 0
        late: list[float] = []  # no connection had room when they were due
        while (passed := time.perf_counter() - start) < seconds:
            due = int(rate * passed)
            late += [start + place / rate for place in range(sent, due)]
            sent = due
            late = late[self._call(late) :]
            self._take(outcomes)
        outcomes.took_s, outcomes.cpu_s = time.perf_counter() - start, cpu_seconds(self._pid) - spent
        self._drain(outcomes, drain_s)
        outcomes.unanswered = len(late) + sum(len(one.due) for one in self._connections)
        return outcomes

    def _call(self, due: list[float]) -> int:
        """Make calls as far as connections have room, in turn; return how many."""
        full = 0
        for count, moment in enumerate(due):
            while len(self._connections[self._next].due) >= IN_FLIGHT_MAX:
                self._next, full = (self._next + 1) % len(self._connections), full + 1
                if full > len(self._connections):
                    return count
            self._connections[self._next].call(self._fields, self._message(), moment)
            self._next, full = (self._next + 1) % len(self._connections), 0
        return len(due)

    def _message(self) -> bytes:
        request = self._request()
        return b"\0" + len(request).to_bytes(4, "big") + request

    def _take(self, outcomes: Outcomes) -> None:
        for one in self._connections:
            one.send()
        for key, _ in self._selector.select(STEP_S):
            key.data.take(outcomes)

    def _drain(self, outcomes: Outcomes, seconds: float = 10.0) -> None:
        end = time.perf_counter() + seconds
        while any(one.due for one in self._connections) and time.perf_counter() < end:
            self._take(outcomes)
