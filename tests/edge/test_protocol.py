"""What no well-behaved client sends: frames by hand, and peers that mean harm. Others are served all the while."""

import contextlib
import gzip
import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import grpc
import pytest
from peer import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Doors,
    Peer,
    call_headers,
    frame,
    message,
)

from numcheck import e164
from numcheck._fast import Table
from numcheck.config import Settings
from numcheck.door import native_door
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.index import Index, PublishedIndex

if LACKING is None:
    from numcheck._edge import NATIVE_PATHS, CallQueue, EdgeLoop

pytestmark = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
REQUEST = b"\x0a\x08" + (79_161_234_567).to_bytes(8, "little")


def ask(address: str) -> bytes:
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        answer: bytes = channel.unary_unary("/numcheck.v1.CheckService/CheckNumbers")(REQUEST, timeout=5)
        return answer


def call(peer: Peer, headers: bytes, data: bytes, *, piece: int = 16_000) -> list[tuple[int, int, int, bytes]]:
    peer.send(frame(HEADERS, END_HEADERS, 1, headers))
    for i in range(0, len(data), piece):
        peer.send(frame(DATA, 0, 1, data[i : i + piece]))
    peer.send(frame(DATA, END_STREAM, 1))
    return [found for found in peer.frames() if found[2] == 1]


def server_side(peer: Peer) -> socket.socket:
    """The listener's own socket of a peer's connection, under another descriptor: as a child has it that forked."""
    for name in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError), contextlib.ExitStack() as unless_found:
            other = unless_found.enter_context(socket.socket(fileno=os.dup(int(name.name))))
            if other.getpeername()[:2] == peer.socket.getsockname():
                unless_found.pop_all()
                return other
    raise AssertionError("the listener has no such connection")


def test_a_connection_that_is_closed_is_served_no_more_while_a_child_holds_its_socket(doors: Doors) -> None:
    """What its peer sends then stays unread: nobody is there whom it could be for."""
    peer = Peer(doors.native.address)
    peer.until(SETTINGS)
    with server_side(peer) as held:
        peer.send(frame(DATA, 0, 1))  # of a stream that never was
        peer.until(GOAWAY)
        peer.send(b"unread")
        while held.recv(100, socket.MSG_PEEK) != b"unread":
            ask(doors.native.address)
        for _ in range(20):
            ask(doors.native.address)
        assert held.recv(100, socket.MSG_PEEK) == b"unread"


@pytest.mark.parametrize("piece", [1, 2, 7, 16_000])
@pytest.mark.parametrize("compressed", [0, 1])
def test_a_message_is_answered_however_its_bytes_are_split(doors: Doors, piece: int, compressed: int) -> None:
    body = gzip.compress(REQUEST) if compressed else REQUEST
    headers = call_headers(grpc_encoding=b"gzip" if compressed else b"")
    found = call(Peer(doors.native.address), headers, message(body, compressed=compressed), piece=piece)
    assert [one[0] for one in found] == [HEADERS, DATA, HEADERS]
    assert found[1][3] == message(ask(doors.native.address))


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [("content-type", b"text/plain", b"415"), ("content-type", b"application/grpcx", b"415"), ("te", b"", b"400")],
)
def test_what_is_not_grpc_gets_an_http_status_and_the_reason(
    doors: Doors, header: str, value: bytes, status: bytes
) -> None:
    first, reason = call(Peer(doors.native.address), call_headers(**{header: value}), message(REQUEST))
    assert (first[0], status in first[3] or first[3][:1] in (b"\x48", b"\x8c")) == (HEADERS, True)
    assert (reason[0], reason[1] & END_STREAM) == (DATA, 1)
    assert header.encode() in reason[3]


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({"grpc_encoding": b"br"}, message(REQUEST)),
        ({"grpc_timeout": b"1x"}, message(REQUEST)),
        ({}, message(REQUEST, compressed=1)),
        ({}, message(REQUEST, compressed=9)),
        ({}, message(REQUEST)[:-1]),
        ({}, b""),
        ({}, b"\0\xff\xff\xff\xff" + REQUEST),
        ({"grpc_encoding": b"gzip"}, message(b"\x1f\x8bnonsense", compressed=1)),
        ({"grpc_encoding": b"gzip"}, message(gzip.compress(bytes(10**7)), compressed=1)),
    ],
)
def test_a_bad_call_gets_a_status_alone_and_the_connection_lives(
    doors: Doors, headers: dict[str, bytes], data: bytes
) -> None:
    peer = Peer(doors.native.address)
    found = call(peer, call_headers(**headers), data)
    assert found[0][0] == HEADERS
    assert found[0][1] & END_STREAM
    peer.send(frame(HEADERS, END_HEADERS, 3, call_headers()) + frame(DATA, END_STREAM, 3, message(REQUEST)))
    assert DATA in [one[0] for one in peer.frames()]


@pytest.mark.parametrize("whole", [False, True])
def test_a_call_is_dropped_when_its_time_is_up(doors: Doors, whole: bool) -> None:
    peer = Peer(doors.native.address)
    peer.send(frame(HEADERS, END_HEADERS, 1, call_headers(grpc_timeout=b"20m")))
    found = [] if whole else peer.frames()
    time.sleep(0.05)
    peer.send(frame(DATA, END_STREAM, 1, message(REQUEST)))
    found = [one for one in found + peer.frames() if one[2] == 1]
    assert [one[0] for one in found if one[0] in (HEADERS, DATA)] == [HEADERS]
    assert found[0][1] & END_STREAM


def test_a_reset_call_is_forgotten(doors: Doors) -> None:
    peer = Peer(doors.native.address)
    peer.send(frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, 0, 1, message(REQUEST)[:9]))
    peer.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
    peer.send(frame(HEADERS, END_HEADERS, 3, call_headers()) + frame(DATA, END_STREAM, 3, message(REQUEST)))
    assert {one[2] for one in peer.frames() if one[0] == DATA} == {3}


def rapid_reset() -> bytes:
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, call_headers()) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 6_001, 2)
    )


FLOODS = {
    "rapid reset": rapid_reset,
    "pings": lambda: frame(PING, 0, 0, bytes(8)) * 20_000,
    "settings": lambda: frame(SETTINGS, 0, 0) * 20_000,
    "endless continuation": lambda: (
        frame(HEADERS, 0, 1, call_headers()) + frame(CONTINUATION, 0, 1, b"\0\x01x\x7e" + bytes([0x61]) * 126) * 20_000
    ),
    "empty data": lambda: frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, 0, 1) * 20_000,
    "window updates": lambda: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 20_000,
    "padding alone": lambda: frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, PADDED, 1, b"\0") * 20_000,
    "made us reset": lambda: b"".join(
        frame(HEADERS, END_HEADERS, stream, call_headers(content_length=b"5"))
        + frame(DATA, END_STREAM, stream, message(REQUEST))
        for stream in range(1, 6_001, 2)
    ),
    "not http/2": lambda: b"GET / HTTP/1.1\r\n\r\n" * 10,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_its_own_connection_and_no_other(doors: Doors, flood: str) -> None:
    peer = Peer(doors.native.address)
    peer.send(FLOODS[flood]())
    found = peer.frames(3)
    assert peer.closed or GOAWAY in [one[0] for one in found]
    assert ask(doors.native.address)


def resident_size() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1_024


def test_slow_and_idle_peers_harm_nobody(doors: Doors) -> None:
    before = resident_size()
    peers = [Peer(doors.native.address) for _ in range(300)]
    stop = threading.Event()

    def drip() -> None:
        data = frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, 0, 1, message(REQUEST))
        for i in range(len(data)):
            peers[0].send(data[i : i + 1])
            if stop.wait(0.02):
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    waits = []
    for _ in range(20):
        start = time.monotonic()
        assert ask(doors.native.address)
        waits.append(time.monotonic() - start)
    stop.set()
    dripping.join()
    assert max(waits) < 2
    assert resident_size() - before < 64 * 2**20
    for peer in peers:
        peer.close()


def test_a_peer_that_reads_nothing_is_no_longer_read_from(doors: Doors) -> None:
    peer = Peer(doors.native.address)
    peer.socket.settimeout(0.5)
    window = frame(8, 0, 0, b"\x7f\xff\0\0") + frame(SETTINGS, 0, 0, b"\0\x04\x7f\xff\xff\xff")
    before = resident_size()
    request = b"\x0a" + b"\x80\x80\x1e" + REQUEST[2:] * 61_440
    peer.socket.sendall(window)

    def ask_for_ever() -> None:
        data = message(request)
        parts = [data[i : i + 16_384] for i in range(0, len(data), 16_384)]
        for stream in itertools.count(1, 2):
            peer.socket.sendall(frame(HEADERS, END_HEADERS, stream, call_headers()))
            for part in parts:
                peer.socket.sendall(frame(DATA, END_STREAM if part is parts[-1] else 0, stream, part))

    with pytest.raises(TimeoutError):
        ask_for_ever()
    assert resident_size() - before < 128 * 2**20
    assert ask(doors.native.address)


NO_WINDOW = frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0")
STREAM = b"/numcheck.v1.CheckService/StreamCheckNumbers"
WIDE = frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\0\0")
MANY = b"\x0a" + b"\x80\x80\x20" + REQUEST[2:] * 65_536
SMALL_AND_MANY = message(gzip.compress(MANY), compressed=1)


def answers_to_the_end(peer: Peer) -> bytes:
    """All DATA of stream 1 up to its trailers."""
    found = peer.until(HEADERS, stream=1)
    while not found[-1][1] & END_STREAM:
        found += peer.until(HEADERS, stream=1)
    return b"".join(one[3] for one in found if one[0] == DATA)


def test_a_stream_holds_few_answers_however_small_its_requests_are(doors: Doors) -> None:
    count = 250
    peer = Peer(doors.native.address)
    peer.send(frame(SETTINGS, 1, 0))  # acknowledged: so the stream's window is the larger one
    peer.send(NO_WINDOW + frame(HEADERS, END_HEADERS, 1, call_headers(STREAM, grpc_encoding=b"gzip")))
    for _ in range(count):
        peer.send(frame(DATA, 0, 1, SMALL_AND_MANY))
    peer.send(frame(DATA, END_STREAM, 1) + frame(PING, 0, 0, bytes(8)))
    while peer.until(PING)[-1][1] != 1:
        pass
    assert doors.native.held_size < 3 * 2**20
    peer.send(WIDE + frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0"))
    answers = answers_to_the_end(peer)
    size = len(message(b"")) + int.from_bytes(answers[1:5], "big")
    assert len(answers) == count * size
    assert answers == answers[:size] * count


@pytest.mark.parametrize("streams", [32])
def test_a_connection_has_a_turns_work_done_in_a_turn(doors: Doors, streams: int) -> None:
    """Calls that are taken back in the same read were not all worked on."""
    peer = Peer(doors.native.address)
    peer.until(SETTINGS)
    ids = range(1, 2 * streams, 2)
    headers = call_headers(grpc_encoding=b"gzip")
    calls = [frame(HEADERS, END_HEADERS, one, headers) + frame(DATA, END_STREAM, one, SMALL_AND_MANY) for one in ids]
    before = doors.native.call_count
    peer.send(b"".join(calls) + b"".join(frame(RST_STREAM, 0, one, b"\0\0\0\x08") for one in ids))
    peer.send(frame(PING, 0, 0, bytes(8)))
    peer.until(PING)
    assert doors.native.call_count - before < streams // 2


@pytest.fixture
def impatient(index: Index, settings: Settings) -> Iterator[NativeDoor]:
    published = PublishedIndex()
    listener = NativeDoor(settings, published, stalled_after_s=0.5)
    published.publish(index)
    yield listener
    listener.stop(settings.drain_timeout_s)


@pytest.mark.parametrize("trickle", [False, True])
def test_a_call_whose_answer_is_not_taken_is_reset(impatient: NativeDoor, trickle: bool) -> None:
    peer = Peer(impatient.address)
    headers = call_headers(grpc_encoding=b"gzip")
    peer.send(NO_WINDOW + frame(HEADERS, END_HEADERS, 1, headers) + frame(DATA, END_STREAM, 1, SMALL_AND_MANY))
    kinds: list[int] = []
    while RST_STREAM not in kinds:
        kinds.append(peer.next_frame()[0])
        if trickle and kinds[-1] in (HEADERS, DATA):
            peer.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"))
    assert impatient.held_size < 2**20


def test_a_stalled_call_does_not_harm_the_next(impatient: NativeDoor) -> None:
    peer = Peer(impatient.address)
    peer.send(NO_WINDOW + frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, END_STREAM, 1, message(REQUEST)))
    peer.until(RST_STREAM, stream=1)
    peer.send(frame(HEADERS, END_HEADERS, 3, call_headers()) + frame(DATA, END_STREAM, 3, message(REQUEST)))
    peer.send(frame(WINDOW_UPDATE, 0, 3, b"\0\0\xff\xff"))
    assert peer.until(DATA, stream=3)[-1][3] == message(ask(impatient.address))


def test_answers_under_way_are_sent_when_the_peer_has_closed_its_side(doors: Doors) -> None:
    peer = Peer(doors.native.address)
    peer.send(WIDE + frame(SETTINGS, 0, 0, b"\0\x04\x7f\xff\xff\xff"))
    peer.send(frame(HEADERS, END_HEADERS, 1, call_headers(STREAM, grpc_encoding=b"gzip")))
    peer.send(frame(DATA, END_STREAM, 1, SMALL_AND_MANY * 15))
    peer.socket.shutdown(socket.SHUT_WR)
    assert len(answers_to_the_end(peer)) > 15 * 2 * 65_536


def edge_loop(listening: socket.socket) -> "EdgeLoop":
    return EdgeLoop(
        CallQueue(calls_max=1),
        [(path, "each" if "Stream" in path else "unary", "quick") for path in NATIVE_PATHS],
        lambda _certificate, _descriptor, _authorization, _method: (None, "", "", "a caller", "a party", None, None),
        None,
        listen_fd=listening.detach(),
        message_size_max=2**20,
        metadata_size_max=8_192,
        numbers_per_call_max=65_536,
        streams_per_connection_max=32,
        connection_age_max_s=3_600,
        drain_timeout_s=10,
        admitted_for_s=30,
        connections_max=1_000,
        stalled_after_s=60,
        keepalive_s=20,
        strangers_for_s=10,
        waiting_max_s=5,
        unknown=(12, b"", b""),
        crowded=(8, b"", b""),
        full=(8, b"", b""),
        large_message=(8, b"", b""),
        large_metadata=(8, b"", b""),
        health_requests=[],
        reader=e164.reader("RU"),
    )


def test_whoever_waits_to_be_accepted_is_answered_when_the_loop_is_stopped(index: Index) -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=400)
    listening.setblocking(False)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    loop = edge_loop(listening)
    loop.publish(lambda _agreements: index.table, None)
    peers = [Peer(address) for _ in range(300)]
    for peer in peers:
        peer.send(frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, END_STREAM, 1, message(REQUEST)))
    loop.stop()
    loop.run()
    for peer in peers:
        assert peer.until(DATA, stream=1)
    assert loop.held_size < 2**20


def test_a_connection_beyond_the_loops_share_is_closed_at_once(
    index: Index, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_door, "share_for_connections", lambda *, loops: 10 // loops)
    listener = NativeDoor(settings.model_copy(update={"threads": 1}), PublishedIndex())
    peers = [Peer(listener.address) for _ in range(10)]
    for peer in peers:
        peer.send(frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, END_STREAM, 1, message(REQUEST)))
        peer.until(HEADERS, stream=1)
    one_more = Peer(listener.address)
    with pytest.raises((EOFError, ConnectionError)):
        one_more.until(SETTINGS)
    listener.stop(1)


def test_a_view_that_cannot_be_made_is_made_for_the_next_call(doors: Doors) -> None:
    """Meanwhile Python answers, from what is published."""
    tables = [doors.index.table, RuntimeError("no memory, say")]

    def table(_agreements: object) -> Table:
        found = tables.pop() if len(tables) > 1 else tables[0]
        if isinstance(found, Exception):
            raise found
        return found

    for loop in doors.native._loops:
        loop.publish(table, None)
    assert ask(doors.native.address) == ask(doors.api.address)
    for _ in range(8):
        assert ask(doors.native.address) == ask(doors.api.address)
    assert tables == [doors.index.table]


def test_what_health_says_publishes_nothing(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would publish what it knew, and so might take back what was published meanwhile."""

    class Recorder:
        said: ClassVar[list[bool]] = []

        def set_serving(self, serving: bool) -> None:
            self.said.append(serving)

    monkeypatch.setattr(doors.native, "_loops", [Recorder()])
    doors.native.set_serving(serving=False)
    doors.native.set_serving(serving=True)
    assert Recorder.said == [False, True]


def test_garbage_of_any_kind_crashes_nothing(doors: Doors) -> None:
    rng = random.Random(6)
    for _ in range(150):
        peer = Peer(doors.native.address)
        good = frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(DATA, END_STREAM, 1, message(REQUEST))
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        peer.send(bytes(bad[: rng.randrange(1, len(bad) + 1)]))
        peer.frames(0.005)
        peer.close()
    assert PREFACE
    assert ask(doors.native.address)
