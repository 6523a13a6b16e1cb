"""Peers that have not been let in, or are gone: what they hold is bounded, and others get in (R6)."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from numcheck.config import Settings
from numcheck.door import native_door
from numcheck.door.native_door import NativeDoor
from numcheck.index import Index
from tests.conformance.calls import CHECK_NUMBERS, WATCH, ask, call_fields, data, headers
from tests.conformance.http2 import (
    ACK,
    DATA,
    EMPTY_SETTINGS,
    GOAWAY,
    NO_ERROR,
    PING,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    Peer,
    block,
)
from tests.edge.world import index_of_the_world, listening

PER_ADDRESS_MAX = 1_024  # of _edge.pxd, as docs/limits.md has it
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    if native_door.LACKING is not None:
        pytest.skip(native_door.LACKING)
    return index_of_the_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def one_loop(settings: Settings) -> Settings:
    return settings.model_copy(update={"threads": 1})


@pytest.fixture
def listener(index: Index, one_loop: Settings) -> Iterator[NativeDoor]:
    with listening(index, one_loop) as one:
        yield one


def connected(listener: NativeDoor) -> socket.socket:
    host, _, port = listener.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def is_ended(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionError:
        return True


def test_oldest_of_the_connections_that_never_call_makes_way_for_the_newest(listener: NativeDoor) -> None:
    """One address fills its share, and still whoever calls from there is answered, and stays."""
    with ExitStack() as opened:
        caller = opened.enter_context(Peer(listener.address))
        assert_answered_at_all(caller, 1)
        idle = [opened.enter_context(connected(listener)) for _ in range(PER_ADDRESS_MAX + 50)]
        for peer in idle[:50]:
            assert is_ended(peer)
        newest = opened.enter_context(Peer(listener.address))
        assert_answered_at_all(newest, 1)
        assert_answered_at_all(caller, 3)
        assert listener.counters()[0].connections <= PER_ADDRESS_MAX + 2


def assert_answered_at_all(peer: Peer, stream: int) -> None:
    assert ask(peer, stream).trailers["grpc-status"] == "0"


@pytest.mark.parametrize("limit", [40])
def test_connections_that_never_call_do_not_fill_the_loop(
    index: Index, one_loop: Settings, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(native_door, "CONNECTIONS_MAX", limit)
    with listening(index, one_loop) as listener, ExitStack() as opened:
        callers = [opened.enter_context(Peer(listener.address)) for _ in range(limit // 2)]
        for caller in callers:
            assert_answered_at_all(caller, 1)
        idle = [opened.enter_context(connected(listener)) for _ in range(limit)]
        assert is_ended(idle[0])
        assert_answered_at_all(opened.enter_context(Peer(listener.address)), 1)
        for caller in callers:
            assert_answered_at_all(caller, 3)


def test_connection_without_a_call_is_ended_and_told_why(
    index: Index, one_loop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent one, one that has said that it speaks HTTP/2, and not one that was let in."""
    monkeypatch.setattr(native_door, "STRANGERS_FOR_S", 0.3)
    with listening(index, one_loop) as listener, Peer(listener.address) as caller:
        assert_answered_at_all(caller, 1)
        with connected(listener) as silent, Peer(listener.address) as polite:
            (goaway,) = (one for one in polite.rest() if one.kind == GOAWAY)
            assert (goaway.code, goaway.payload[8:]) == (NO_ERROR, b"no call of this connection was let in")
            assert is_ended(silent)
        assert_answered_at_all(caller, 3)


def test_peer_that_answers_no_ping_is_gone_and_its_connection_ends(
    index: Index, one_loop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch keeps no connection of a peer that was stopped; one whose peer answers goes on."""
    monkeypatch.setattr(native_door, "KEEPALIVE_S", 0.5)
    watch = headers(1, block(call_fields(WATCH))) + data(1, b"\0\0\0\0\0")
    with listening(index, one_loop) as listener, Peer(listener.address) as alive, connected(listener) as stopped:
        alive.send(watch)
        alive.until(lambda one: one.kind == DATA)
        stopped.sendall(PREFACE + EMPTY_SETTINGS + watch)
        with ThreadPoolExecutor(1) as threads:
            pings = threads.submit(lambda: [alive.until(is_ping)[-1] for _ in range(4)])
            while stopped.recv(65_536):
                pass  # it reads, and says nothing
            assert len(pings.result()) == 4
        alive.settle()
        assert listener.counters()[0].connections == 1


def is_ping(one: Frame) -> bool:
    return one.kind == PING and not one.flags & ACK


HTTP1 = [
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /numcheck.v1.CheckService/CheckNumbers HTTP/1.0\r\n\r\n",
    b"X\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", HTTP1)
def test_peer_that_speaks_http_1_is_told_what_is_spoken_here(listener: NativeDoor, request_bytes: bytes) -> None:
    """In its own protocol, with no frame before it, and then the connection ends."""
    with connected(listener) as peer:
        peer.sendall(request_bytes)
        said = b"".join(iter(lambda: peer.recv(4_096), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-length: %d\r\n" % len(body) in head
    assert b"gRPC" in body


def test_peer_that_speaks_neither_is_ended(listener: NativeDoor) -> None:
    with Peer(listener.address, None) as peer:
        peer.send(b"\x16\x03\x01 a ClientHello")
        assert {one.kind for one in peer.rest()} <= {SETTINGS, GOAWAY, WINDOW_UPDATE}


def test_empty_message_that_is_said_to_be_compressed_is_empty(listener: NativeDoor) -> None:
    """As grpc-core has it; one byte of it has to be gzip."""
    for stream, body, status in ((1, b"\1\0\0\0\0", 0), (3, b"\1\0\0\0\1x", 13)):
        with Peer(listener.address) as peer:
            peer.send(headers(stream, block(call_fields(CHECK_NUMBERS, ("grpc-encoding", "gzip")))), data(stream, body))
            assert peer.answer(stream).grpc_status == status
