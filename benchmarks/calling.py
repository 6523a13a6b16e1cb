"""A client that costs little: calls of one method, with a request each and so many in flight, as bytes.

A call that is refused is made again: as many in flight as here may be more than the node lets wait.
"""

import selectors
import socket
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

import hpack

from tests.conformance.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    SETTINGS,
    WINDOW_SIZE_MAX,
    frame,
    settings,
    window_update,
)
from tests.edge.peer import message

HEADER_SIZE = 9
PATIENCE_S = 60.0


class Calls(NamedTuple):
    """How long all calls took, and each that was answered; how many were refused, and so made again."""

    took_s: float
    durations_s: list[float]
    refused_count: int


class _Connection:
    """A connection; `waiting` has when each call was sent and what it asked, by its stream."""

    def __init__(self, address: str, path: str, requests: deque[bytes]) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
        self.socket.sendall(
            PREFACE + settings((INITIAL_WINDOW_SIZE, WINDOW_SIZE_MAX)) + window_update(0, WINDOW_SIZE_MAX - 65_535)
        )
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address}
        fields |= {"te": "trailers", "content-type": "application/grpc"}
        self._block = hpack.Encoder().encode(list(fields.items()), huffman=False)
        self._next, self._read = 1, b""
        self._requests = requests
        self._answered: set[int] = set()
        self.waiting: dict[int, tuple[float, bytes]] = {}
        self.durations_s: list[float] = []
        self.refused_count = 0

    def call(self, count: int) -> None:
        """Send the next calls."""
        sent = []
        for _ in range(min(count, len(self._requests))):
            request = self._requests.popleft()
            sent.append(frame(HEADERS, END_HEADERS, self._next, self._block))
            sent.append(frame(DATA, END_STREAM, self._next, message(request)))
            self.waiting[self._next] = perf_counter(), request
            self._next += 2
        self.socket.sendall(b"".join(sent))

    def read(self) -> int:
        """Read what there is, and return how many calls have ended."""
        self._read += self.socket.recv(1 << 20)
        data, at, before = self._read, 0, len(self.waiting)
        while len(data) - at >= HEADER_SIZE:
            after = at + HEADER_SIZE + int.from_bytes(data[at : at + 3], "big")
            if after > len(data):
                break
            kind, flags, stream = data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big")
            if kind == DATA:
                self._answered.add(stream)
            elif kind == HEADERS and flags & END_STREAM:
                self._end(*self.waiting.pop(stream), refused=stream not in self._answered)
                self._answered.discard(stream)
            elif kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK))
            at = after
        self._read = data[at:]
        return before - len(self.waiting)

    def _end(self, sent_at: float, request: bytes, *, refused: bool) -> None:
        if refused:
            self.refused_count += 1
            self._requests.append(request)
        else:
            self.durations_s.append(perf_counter() - sent_at)


def call_each(
    addresses: Sequence[str], path: str, requests: Sequence[bytes], *, connections: int, in_flight: int
) -> Calls:
    """Make every call until it is answered, at whichever node: so many connections to each, so many calls on each."""
    left = deque(requests)
    opened = [_Connection(address, path, left) for address in addresses for _ in range(connections)]
    began = perf_counter()
    with selectors.DefaultSelector() as selector:
        for one in opened:
            selector.register(one.socket, selectors.EVENT_READ, one)
            one.call(in_flight)
        while any(one.waiting for one in opened):
            for key, _ in selector.select(PATIENCE_S):
                key.data.call(key.data.read())
    took_s = perf_counter() - began
    for one in opened:
        one.socket.close()
    durations_s = [took for one in opened for took in one.durations_s]
    return Calls(took_s, durations_s, sum(one.refused_count for one in opened))
