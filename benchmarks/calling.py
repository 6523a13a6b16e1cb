"""A client that costs little: calls of one method, with a request each and so many in flight, as bytes."""

import selectors
import socket
from collections.abc import Iterator, Sequence
from time import perf_counter

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


class _Connection:
    """A connection; `waiting` has when each call was sent, by its stream."""

    def __init__(self, address: str, path: str) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
        self.socket.sendall(
            PREFACE + settings((INITIAL_WINDOW_SIZE, WINDOW_SIZE_MAX)) + window_update(0, WINDOW_SIZE_MAX - 65_535)
        )
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address}
        fields |= {"te": "trailers", "content-type": "application/grpc"}
        self._block = hpack.Encoder().encode(list(fields.items()), huffman=False)
        self._next, self._read = 1, b""
        self._answered: set[int] = set()
        self.waiting: dict[int, float] = {}

    def call(self, requests: Sequence[bytes]) -> None:
        """Send calls."""
        sent = []
        for request in requests:
            sent.append(frame(HEADERS, END_HEADERS, self._next, self._block))
            sent.append(frame(DATA, END_STREAM, self._next, message(request)))
            self.waiting[self._next] = perf_counter()
            self._next += 2
        self.socket.sendall(b"".join(sent))

    def ended(self) -> list[float]:
        """Read what there is: how long each call took that has ended."""
        self._read += self.socket.recv(1 << 20)
        data, at = self._read, 0
        found: list[float] = []
        while len(data) - at >= HEADER_SIZE:
            after = at + HEADER_SIZE + int.from_bytes(data[at : at + 3], "big")
            if after > len(data):
                break
            kind, flags, stream = data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big")
            if kind == DATA:
                self._answered.add(stream)
            elif kind == HEADERS and flags & END_STREAM:
                self._answered.remove(stream)  # KeyError for a refusal, which has no message
                found.append(perf_counter() - self.waiting.pop(stream))
            elif kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK))
            at = after
        self._read = data[at:]
        return found


def call_each(
    address: str, path: str, requests: Sequence[bytes], *, connections: int, in_flight: int
) -> tuple[float, list[float]]:
    """Make every call, so many at once on each connection; how long all took, and each. All have to succeed."""
    waiting: Iterator[bytes] = iter(requests)
    durations: list[float] = []
    opened = [_Connection(address, path) for _ in range(connections)]
    began = perf_counter()
    with selectors.DefaultSelector() as selector:
        for one in opened:
            selector.register(one.socket, selectors.EVENT_READ, one)
            one.call([request for _, request in zip(range(in_flight), waiting, strict=False)])
        while any(one.waiting for one in opened):
            for key, _ in selector.select(PATIENCE_S):
                ended = key.data.ended()
                durations += ended
                key.data.call([request for _, request in zip(ended, waiting, strict=False)])
    took_s = perf_counter() - began
    for one in opened:
        one.socket.close()
    return took_s, durations
