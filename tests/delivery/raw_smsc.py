"""An SMSC that sends what a test gives it, to the byte: what vendors send, and no library would."""

import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

PATIENCE_S = 30.0
BIND_TRANSCEIVER, SUBMIT_SM, DELIVER_SM, ENQUIRE_LINK = 0x9, 0x4, 0x5, 0x15
ANSWER = 0x8000_0000


class Pdu(NamedTuple):
    """What came."""

    command: int
    status: int
    sequence: int
    body: bytes


def pdu(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    return struct.pack("!IIII", 16 + len(body), command, status, sequence) + body


def message(coding: int, text: bytes, number: int, *, esm_class: int = 0) -> bytes:
    """The body of a deliver_sm (SMPP 3.4, 4.6.1)."""
    source = b"\1\1" + str(number).encode() + b"\0"
    return b"\0" + source + b"\0\0" + b"1234\0" + bytes([esm_class, 0, 0, 0, 0, 0, 0, coding, 0, len(text)]) + text


class RawSmsc:
    """One connection after another. `bound` is the body of its answer to a bind, `taken` that of its answer to a
    submit_sm; None: it gives no answer by itself."""

    def __init__(self, bound: bytes = b"smsc\0", taken: bytes | None = b"m1\0") -> None:
        self.bound, self.taken = bound, taken
        self.got: queue.Queue[Pdu] = queue.Queue()
        self.links = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._connection, _ = self._server.accept()
            except OSError:
                return
            with self._connection, self._connection.makefile("rb") as stream:
                while header := stream.read(16):
                    size, command, status, sequence = struct.unpack("!IIII", header)
                    self._take(Pdu(command, status, sequence, stream.read(size - 16)))

    def _take(self, came: Pdu) -> None:
        answers = {BIND_TRANSCEIVER: self.bound, SUBMIT_SM: self.taken}
        body = answers.get(came.command, None if came.command & ANSWER else b"")
        if body is not None:
            self.send(pdu(came.command | ANSWER, 0, came.sequence, body))
        self.links += came.command == BIND_TRANSCEIVER
        self.got.put(came)

    def send(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.sendall(data)

    def next(self, command: int) -> Pdu:
        """The next that comes with this command."""
        while (came := self.got.get(timeout=PATIENCE_S)).command != command:
            pass
        return came

    def close(self) -> None:
        self._server.close()


@contextmanager
def raw_smsc(bound: bytes = b"smsc\0", taken: bytes | None = b"m1\0") -> Iterator[RawSmsc]:
    one = RawSmsc(bound, taken)
    try:
        yield one
    finally:
        one.close()
