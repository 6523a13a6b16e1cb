"""Many calls at once over one connection, as the bytes that they are: the same can be sent to several listeners."""

import base64
import socket
import ssl
import struct
from collections.abc import Sequence
from random import Random
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import hpack

from tests.conformance.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_SIZE_DEFAULT,
    WINDOW_SIZE_MAX,
    WINDOW_UPDATE,
    frame,
    settings,
    window_update,
)

PATIENCE_S = 30.0
ROUND_SIZE_MAX = 30_000
"""Bytes that are sent before any answer is read: grpc-core gives back its window of 65,535 once half of it is used."""


class Call(NamedTuple):
    """A call: its header block and the payloads of its DATA frames, the last of which ends it."""

    kind: str
    block: bytes
    parts: tuple[bytes, ...]


class Outcome(NamedTuple):
    """What came of a call. The status is None where there was none, and then `reset` has the stream's error code."""

    http_status: str | None
    status: int | None
    message: bytes
    details: bytes
    body: bytes
    reset: int | None


def interleaved(calls: Sequence[Call], first_stream: int, chance: Random) -> bytes:
    """The calls' frames: each call's in their order, and those of different calls as chance has it."""
    waiting = []
    for place, call in enumerate(calls):
        stream = first_stream + 2 * place
        frames = [frame(DATA, 0, stream, part) for part in call.parts[:-1]]
        waiting.append([*frames, frame(DATA, END_STREAM, stream, call.parts[-1])][::-1])
    sent = [
        frame(HEADERS, END_HEADERS, first_stream + 2 * place, call.block)
        + (frames.pop() if chance.random() < 0.5 else b"")
        for place, (call, frames) in enumerate(zip(calls, waiting, strict=True))
    ]
    waiting = [frames for frames in waiting if frames]
    while waiting:
        place = chance.randrange(len(waiting))
        sent.append(waiting[place].pop())
        if not waiting[place]:
            del waiting[place]
    return b"".join(sent)


class Pipeline:
    """A connection that sends rounds of calls and then reads until each of a round is over."""

    def __init__(self, address: str, tls: ssl.SSLContext | None = None, patience_s: float = PATIENCE_S) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=patience_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._unread = b""
        self._decoder = hpack.Decoder()
        self._window = WINDOW_SIZE_DEFAULT
        self._stream = 1
        room = settings((INITIAL_WINDOW_SIZE, WINDOW_SIZE_MAX)) + window_update(
            0, WINDOW_SIZE_MAX - WINDOW_SIZE_DEFAULT
        )
        self._socket.sendall(PREFACE + room)

    def close(self) -> None:
        self._socket.close()

    def send(self, calls: Sequence[Call], chance: Random) -> None:
        """Send a round. Rounds of the same calls and the same chance are the same bytes."""
        size = sum(len(part) for call in calls for part in call.parts)
        while self._window < size:
            self._take(self._next(), {}, {})
        self._window -= size
        self._socket.sendall(interleaved(calls, self._stream, chance))

    def outcomes(self, calls: Sequence[Call]) -> list[Outcome]:
        """Read what comes of the round that was sent."""
        first, self._stream = self._stream, self._stream + 2 * len(calls)
        streams = range(first, self._stream, 2)
        found: dict[int, list[bytes | dict[str, str] | int]] = {stream: [] for stream in streams}
        over: dict[int, bool] = dict.fromkeys(streams, False)
        while not all(over.values()):
            self._take(self._next(), found, over)
        return [outcome(found[stream]) for stream in streams]

    def _next(self) -> tuple[int, int, int, bytes]:
        while len(self._unread) < 9 or len(self._unread) < 9 + int.from_bytes(self._unread[:3], "big"):
            part = self._socket.recv(262_144)
            assert part, "the listener ended the connection"
            self._unread += part
        size = 9 + int.from_bytes(self._unread[:3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", self._unread, 3)
        payload, self._unread = self._unread[9:size], self._unread[size:]
        return kind, flags, stream, payload

    def _take(
        self,
        one: tuple[int, int, int, bytes],
        found: dict[int, list[bytes | dict[str, str] | int]],
        over: dict[int, bool],
    ) -> None:
        kind, flags, stream, payload = one
        if kind == HEADERS:
            assert flags & END_HEADERS
            fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            if stream in found:
                found[stream].append(fields)
        elif kind == DATA and stream in found:
            found[stream].append(payload)
        elif kind == RST_STREAM and stream in found and not over[stream]:
            found[stream].append(int.from_bytes(payload, "big"))
            over[stream] = True
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif (kind in (SETTINGS, PING)) and not flags & ACK:
            self._socket.sendall(frame(kind, ACK, payload=payload if kind == PING else b""))
        assert kind != GOAWAY, payload
        if kind in (DATA, HEADERS) and flags & END_STREAM and stream in found:
            over[stream] = True


def outcome(parts: Sequence[bytes | dict[str, str] | int]) -> Outcome:
    """What a stream's frames say."""
    fields: dict[str, str] = {}
    for part in parts:
        if isinstance(part, dict):
            fields |= part
    details = fields.get("grpc-status-details-bin", "")
    return Outcome(
        fields.get(":status"),
        int(fields["grpc-status"]) if "grpc-status" in fields else None,
        unquote_to_bytes(fields.get("grpc-message", "")),
        base64.b64decode(details + "=" * (-len(details) % 4)),
        b"".join(part for part in parts if isinstance(part, bytes)),
        next((part for part in parts if isinstance(part, int)), None) if "grpc-status" not in fields else None,
    )
