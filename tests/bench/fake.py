"""A server that does as it is told: HTTP/2 frames by hand, one thread a connection."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.edge.peer import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    literal,
    message,
    receive_exactly,
)

ACK = 1
OK = literal(b":status", b"200") + literal(b"content-type", b"application/grpc")

Act = Callable[["Connection", int], None]
"""What the server does with a call, on the connection's thread: it has the connection and the stream."""


class Connection:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, server: "Server") -> None:
        self.socket, self.server = sock, server

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def run(self) -> None:
        """Serve until the client goes, or an act closes it."""
        with contextlib.suppress(OSError, EOFError), self.socket:
            assert self._exactly(len(PREFACE)) == PREFACE
            self.send(frame(SETTINGS, 0, 0))
            self._serve()

    def _serve(self) -> None:
        bodies: dict[int, bytes] = {}
        while True:
            head = self._exactly(9)
            payload = self._exactly(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.send(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind == DATA:
                bodies[stream] = bodies.get(stream, b"") + payload
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.server.take(self, stream, bodies.pop(stream, b""))

    def _exactly(self, size: int) -> bytes:
        return receive_exactly(self.socket, size)


class Server:
    """What it was asked, and what it does with calls: `acts` in turn, the last one from then on."""

    def __init__(self, acts: list[Act]) -> None:
        self.acts, self.bodies, self.connection_count = acts, list[bytes](), 0
        self._lock, self.has_waited = threading.Lock(), False

    def take(self, connection: Connection, stream: int, body: bytes) -> None:
        with self._lock:
            act = self.acts[min(len(self.bodies), len(self.acts) - 1)]
            self.bodies.append(body)
        act(connection, stream)


@contextmanager
def serving(*acts: Act, context: ssl.SSLContext | None = None) -> Iterator[tuple[Server, str]]:
    """Yield a server and its address."""
    server, ends = Server(list(acts)), list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    one, _ = listening.accept()
                    threading.Thread(target=attend, args=(one,), daemon=True).start()

        def attend(one: socket.socket) -> None:
            server.connection_count += 1
            ends.append(one)
            with contextlib.suppress(OSError):
                Connection(context.wrap_socket(one, server_side=True) if context else one, server).run()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server, f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            for one in ends:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


# --- acts


def answer(connection: Connection, stream: int) -> None:
    connection.send(
        frame(HEADERS, END_HEADERS, stream, OK),
        frame(DATA, 0, stream, message(b"")),
        frame(HEADERS, END_HEADERS | END_STREAM, stream, literal(b"grpc-status", b"0")),
    )


def refuse(status: bytes) -> Act:
    """A status alone."""
    fields = OK + literal(b"grpc-status", status)
    return lambda connection, stream: connection.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, fields))


def end_without_status(connection: Connection, stream: int) -> None:
    connection.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, OK))


def answer_in_http(connection: Connection, stream: int) -> None:
    """503, with a grpc-status that does not count."""
    fields = literal(b":status", b"503") + literal(b"grpc-status", b"0")
    connection.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, fields))


def reset(connection: Connection, stream: int) -> None:
    connection.send(frame(RST_STREAM, 0, stream, (2).to_bytes(4, "big")))


def answer_and_reset(connection: Connection, stream: int) -> None:
    """As a server that did not need the rest of a request."""
    answer(connection, stream)
    connection.send(frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big")))


def say_goodbye(connection: Connection, stream: int) -> None:
    """Answer, after a GOAWAY that still counts this call."""
    connection.send(frame(GOAWAY, 0, 0, stream.to_bytes(4, "big") + bytes(4)))
    answer(connection, stream)


def close(connection: Connection, _stream: int) -> None:
    connection.socket.shutdown(socket.SHUT_RDWR)
    raise EOFError


def talk_nonsense(connection: Connection, _stream: int) -> None:
    connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def keep_silent(_connection: Connection, _stream: int) -> None:
    pass


def wait_for(count: int) -> Act:
    """Answer nothing until so many calls are there; then all, and those that come later at once."""
    waiting: list[tuple[Connection, int]] = []
    lock = threading.Lock()

    def act(connection: Connection, stream: int) -> None:
        with lock:
            waiting.append((connection, stream))
            if connection.server.has_waited or len(waiting) >= count:
                connection.server.has_waited = True
                for one, of in waiting:
                    answer(one, of)
                waiting.clear()

    return act
