"""An HTTP/2 client that says what it is told to, right or wrong, and reads every frame that comes back.

It knows nothing of the server but RFC 9113 and RFC 7541; header blocks are read by the hpack library. It waits for
events, a frame or the connection's end, and gives up after PATIENCE_S.
"""

import socket
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

import hpack

PATIENCE_S = 10.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
UNKNOWN_TYPE = 0x16
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE = 6

(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)  # fmt: skip

WINDOW_SIZE_DEFAULT = 65_535
WINDOW_SIZE_MAX = 2**31 - 1
FRAME_SIZE_MAX_DEFAULT = 16_384

Fields = list[tuple[str, str]]


class Frame(NamedTuple):
    """A frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == GOAWAY else self.payload[:4], "big")


class Answer(NamedTuple):
    """What came on one stream until its end."""

    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str]
    reset: int | None

    @property
    def grpc_status(self) -> int:
        """From the trailers, or from the headers where they stand alone."""
        return int((self.trailers or self.headers)["grpc-status"])


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def literal(name: bytes, value: bytes) -> bytes:
    """A header field as it stands: neither Huffman code nor the dynamic table; sizes under 127."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def block(fields: Iterable[tuple[str, str]]) -> bytes:
    """A header block, whatever the fields are worth."""
    return b"".join(literal(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields)


EMPTY_SETTINGS = settings()


class Peer:
    """One connection. `settings_sent` goes with the preface; None sends neither."""

    def __init__(self, address: str, settings_sent: bytes | None = EMPTY_SETTINGS) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self.decoder = hpack.Decoder()
        self._block = b""
        self.fields: dict[int, list[Fields]] = {}
        """The header blocks that came, by stream."""
        self._ping = 0
        self._initial_window = WINDOW_SIZE_DEFAULT
        self.windows = {0: WINDOW_SIZE_DEFAULT}
        self.closed = False
        self.acknowledges = True
        if settings_sent is not None:
            self.send(PREFACE + settings_sent)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *frames: bytes) -> None:
        """Send it; a server that has closed is seen by whoever reads."""
        try:
            self._socket.sendall(b"".join(frames))
        except ConnectionError:
            self.closed = True

    def give_up_after(self, seconds: float) -> None:
        """Wait for no frame longer than that."""
        self._socket.settimeout(seconds)

    def end_of_writing(self) -> None:
        """Say that nothing more comes (FIN)."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection at once (RST)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def next(self) -> Frame | None:
        """The next frame; None once the server has closed the connection."""
        if not self._read(9) or not self._read(size := 9 + int.from_bytes(self._unread[:3], "big")):
            self.closed = True
            return None
        kind, flags, stream = struct.unpack(">BBI", self._unread[3:9])
        found, self._unread = Frame(kind, flags, stream & 2**31 - 1, self._unread[9:size]), self._unread[size:]
        self._account(found)
        return found

    def _account(self, one: Frame) -> None:
        if one.kind in (HEADERS, CONTINUATION):
            self._block += one.payload
        if one.kind in (HEADERS, CONTINUATION) and one.flags & END_HEADERS:
            decoded = [(str(name), str(value)) for name, value in self.decoder.decode(self._block)]
            self.fields.setdefault(one.stream, []).append(decoded)
            self._block = b""
        if one.kind == WINDOW_UPDATE:
            self.windows[one.stream] = self.window(one.stream) + int.from_bytes(one.payload, "big")
        if one.kind == SETTINGS and not one.flags & ACK:
            given = dict(struct.iter_unpack(">HI", one.payload))
            self._initial_window = given.get(INITIAL_WINDOW_SIZE, WINDOW_SIZE_DEFAULT)
            if self.acknowledges:
                self.send(frame(SETTINGS, ACK))
        if one.kind == PING and not one.flags & ACK:
            self.send(frame(PING, ACK, payload=one.payload))

    def window(self, stream: int) -> int:
        """How much the server takes now on a stream, or, of 0, on the connection."""
        return self.windows.get(stream, self._initial_window)

    def send_data(self, stream: int, payload: bytes, *, padding: int | None = None) -> None:
        """Send DATA that ends the stream, as fast as the windows allow."""
        overhead = 0 if padding is None else padding + 1
        while payload:
            room = min(FRAME_SIZE_MAX_DEFAULT, self.window(0), self.window(stream)) - overhead
            if room <= 0:
                self.until(lambda one: one.kind == WINDOW_UPDATE)
                continue
            part, payload = payload[:room], payload[room:]
            flags = 0 if payload else END_STREAM
            if padding is not None:
                flags, part = flags | PADDED, bytes([padding]) + part + bytes(padding)
            for which in (0, stream):
                self.windows[which] = self.window(which) - len(part)
            self.send(frame(DATA, flags, stream, part))

    def _read(self, size: int) -> bool:
        """Have so many bytes unread; False if the connection ends before."""
        while len(self._unread) < size:
            try:
                part = self._socket.recv(65_536)
            except ConnectionError:
                return False
            if not part:
                return False
            self._unread += part
        return True

    def until(self, wanted: Callable[[Frame], bool]) -> list[Frame]:
        """All frames up to the first that is wanted, and that one; fails if the connection ends before."""
        frames: list[Frame] = []
        while not frames or not wanted(frames[-1]):
            following = self.next()
            assert following is not None, f"the connection ended; before: {frames}"
            frames.append(following)
        return frames

    def rest(self) -> list[Frame]:
        """All frames until the server closes the connection."""
        return list(iter(self.next, None))

    def settle(self) -> list[Frame]:
        """Send a PING and wait for its answer: what was sent before has been judged. What came before the answer."""
        self._ping += 1
        payload = self._ping.to_bytes(8, "big")
        self.send(frame(PING, payload=payload))
        return self.until(lambda one: one.kind == PING and bool(one.flags & ACK) and one.payload == payload)[:-1]

    def answer(self, stream: int) -> Answer:
        """Read until the stream is over; its DATA is only that which comes now."""

        def is_over(one: Frame) -> bool:
            return one.stream == stream and (one.ends_stream or one.kind == RST_STREAM)

        own = [one for one in self.until(is_over) if one.stream == stream]
        blocks = [dict(fields) for fields in self.fields.pop(stream, [])]
        body = b"".join(one.payload for one in own if one.kind == DATA)
        reset = own[-1].code if own[-1].kind == RST_STREAM else None
        return Answer(blocks[0] if blocks else {}, body, blocks[1] if len(blocks) > 1 else {}, reset)


def assert_connection_error(peer: Peer, *codes: int) -> None:
    """RFC 9113 section 5.4.1: the connection is closed; a GOAWAY, which should come before, has one of the codes."""
    errors = [one.code for one in peer.rest() if one.kind == GOAWAY and one.code != NO_ERROR]
    assert peer.closed
    assert errors, "no GOAWAY that says why"
    assert errors[-1] in codes


def assert_stream_error(peer: Peer, stream: int, *codes: int) -> None:
    """RFC 9113 section 5.4.2: RST_STREAM with one of the codes; or, as it allows, the same as a connection error."""
    frames: list[Frame] = []
    while (one := peer.next()) is not None:
        frames.append(one)
        if one.kind == RST_STREAM and one.stream == stream:
            assert one.code in codes
            return
        assert not (one.stream == stream and one.ends_stream), "the stream was answered"
    errors = [one.code for one in frames if one.kind == GOAWAY and one.code != NO_ERROR]
    assert errors
    assert errors[-1] in codes
