"""An HTTP/2 peer that says what it likes: frames by hand, over a plain socket."""

import contextlib
import socket
import struct
import time
from dataclasses import dataclass

from numcheck.door.native_door import NativeDoor
from numcheck.door.plain_door import PlainDoor
from numcheck.index import Index, PublishedIndex

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
CHECK_NUMBERS = b"/numcheck.v1.CheckService/CheckNumbers"


@dataclass
class Doors:
    """The two listeners that a test asks, and what they answer from."""

    api: PlainDoor
    native: NativeDoor
    published: PublishedIndex
    index: Index


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    """The next bytes; EOFError if there are not so many."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that the HPACK table does not remember; sizes under 127."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call_headers(path: bytes = CHECK_NUMBERS, **more: bytes) -> bytes:
    fields = {":method": b"POST", ":scheme": b"http", ":path": path, ":authority": b"x"}
    fields |= {"content-type": b"application/grpc", "te": b"trailers"}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(literal(name.encode(), value) for name, value in fields.items() if value)


def message(body: bytes, *, compressed: int = 0) -> bytes:
    return struct.pack(">BI", compressed, len(body)) + body


class Peer:
    """A connection whose preface is sent. `frames` reads until the server is silent or gone."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.closed = False
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def until(self, kind: int, *, stream: int = 0, seconds: float = 20) -> list[tuple[int, int, int, bytes]]:
        """All frames up to one of this kind on the stream; EOFError or TimeoutError if it does not come."""
        found: list[tuple[int, int, int, bytes]] = []
        self.socket.settimeout(seconds)
        while not found or (found[-1][0], found[-1][2]) != (kind, stream):
            found.append(self.next_frame())
        return found

    def next_frame(self) -> tuple[int, int, int, bytes]:
        head = self._exactly(9)
        body = self._exactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), body

    def _exactly(self, size: int) -> bytes:
        return receive_exactly(self.socket, size)

    def frames(self, seconds: float = 0.5) -> list[tuple[int, int, int, bytes]]:
        data, end = b"", time.monotonic() + seconds
        while not self.closed and time.monotonic() < end:
            self.socket.settimeout(max(end - time.monotonic(), 0.01))
            with contextlib.suppress(TimeoutError):
                try:
                    part = self.socket.recv(65_536)
                except ConnectionError:
                    part = b""
                data += part
                self.closed = not part
        found = []
        while len(data) >= 9:
            size = int.from_bytes(data[:3], "big")
            found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
            data = data[9 + size :]
        return found

    def close(self) -> None:
        self.socket.close()

    __del__ = close
