"""What no well-behaved client sends: frames by hand, and peers that mean harm. Others are served all the while."""

import gzip
import itertools
import random
import threading
import time
from pathlib import Path

import grpc
import pytest
from peer import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Doors,
    Peer,
    call_headers,
    frame,
    message,
)

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
def test_what_is_not_grpc_gets_an_http_status(doors: Doors, header: str, value: bytes, status: bytes) -> None:
    found = call(Peer(doors.native.address), call_headers(**{header: value}), message(REQUEST))
    assert (found[0][0], found[0][1] & END_STREAM, status in found[0][3] or found[0][3][:1] in (b"\x48", b"\x8c")) == (
        HEADERS,
        1,
        True,
    )


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
