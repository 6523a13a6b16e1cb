"""Any frames in any order crash nothing, leave nothing behind, and end with their own connection.

2,000 conversations, of which `make fuzz` has 200,000 with the address sanitizer: NUMCHECK_EDGE_CONVERSATIONS sets how
many, NUMCHECK_EDGE_SEED which.
"""

import contextlib
import gc
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from numcheck.config import Settings
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.index import Index
from tests.conformance.calls import CALL, call_fields, message
from tests.conformance.http2 import END_HEADERS, HEADERS, PREFACE, block, frame, literal, rst_stream, settings
from tests.edge.authority import Authority
from tests.edge.pipeline import Call, Pipeline, interleaved
from tests.edge.random_calls import any_call
from tests.edge.world import index_of_the_world, listening
from tests.fuzz.bodies import TELLING, flip
from tests.fuzz.wire import packed

REPEATED_SIZE_MAX = 10_000  # 1,200 times as much fit into a frame
CONVERSATIONS = int(os.environ.get("NUMCHECK_EDGE_CONVERSATIONS", "2000"))
SEED = os.environ.get("NUMCHECK_EDGE_SEED", "1")
TOGETHER = 16
PATIENCE_S = 30
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")
QUESTION = packed(*TELLING[:50])
STREAMS = (0, 1, 3, 5, 7, 9, 2, 31, 2**31 - 1, 2**32 - 1)
VALUES = (0, 1, 5, 100, 16_384, 65_535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)

Frames = list[bytes]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    if LACKING is not None:
        pytest.skip(LACKING)
    return index_of_the_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def settings_of(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, listen="127.0.0.1:0", threads=1)


@pytest.fixture
def listener(index: Index, settings_of: Settings) -> Iterator[NativeDoor]:
    with listening(index, settings_of) as one:
        yield one


# --- conversations --------------------------------------------------------------------------------------------------


def frames_of(sent: bytes) -> Frames:
    """Sound frames, one by one."""
    found, start = [], 0
    while start < len(sent):
        end = start + 9 + int.from_bytes(sent[start : start + 3], "big")
        found.append(sent[start:end])
        start = end
    return found


def any_frame(chance: Random) -> bytes:
    """A frame of any kind, with the flags and the stream that chance gives it; at times shorter than it says."""
    kind = chance.choice((*range(11), 0xFF))
    size = chance.choice((0, 1, 4, 5, 6, 8, 9, 12, 40, chance.randrange(300)))
    value = b"".join(chance.choice(VALUES).to_bytes(4, "big") for _ in range(size // 4 + 1))[:size]
    payload = chance.choice((value, chance.randbytes(size), CALL))
    whole = frame(kind, chance.choice((0, 1, 4, 5, 8, 0x20, 0xFF)), chance.choice(STREAMS), payload)
    return whole if chance.random() < 0.97 else whole[: chance.randrange(len(whole))]


def some_settings(chance: Random) -> bytes:
    return settings(*((chance.randrange(8), chance.choice(VALUES)) for _ in range(chance.randrange(4))))


def some_block(chance: Random) -> bytes:
    """Headers that gRPC does not have, or has otherwise."""
    names = ("grpc-timeout", "grpc-encoding", "te", "content-type", ":path", ":method", "connection", "X", "", "a-bin")
    fields = call_fields(*([] if chance.random() < 0.5 else ["/x"]))
    extra = block([(chance.choice(names), "v" * chance.randrange(100))])
    tricks = (b"\xbe" * chance.randrange(50), b"\x3f\xe1\x3f", b"\x80", literal(b"x", b"y" * 126) * 90, extra)
    return frame(HEADERS, END_HEADERS, chance.choice(STREAMS), block(fields) + chance.choice(tricks))


def cut_in_two(chance: Random, one: bytes) -> bytes:
    """HEADERS with the rest of its block in a CONTINUATION."""
    if len(one) < 12 or one[3] != HEADERS:
        return one
    place, stream = chance.randrange(9, len(one)), int.from_bytes(one[5:9], "big")
    return frame(HEADERS, one[4] & ~END_HEADERS, stream, one[9:place]) + frame(9, END_HEADERS, stream, one[place:])


def repeated(chance: Random, one: bytes) -> bytes:
    """It several times, so that all of a conversation stays below what a frame can hold."""
    return one * chance.choice((2, 3, 1_200)) if len(one) <= REPEATED_SIZE_MAX else one


EDITS: tuple[Callable[[Random, Frames, int], None], ...] = (
    lambda chance, frames, at: frames.insert(at, any_frame(chance)),
    lambda chance, frames, at: frames.insert(at, some_settings(chance)),
    lambda chance, frames, at: frames.insert(at, some_block(chance)),
    lambda chance, frames, at: frames.insert(at, rst_stream(chance.choice(STREAMS), chance.choice(VALUES))),
    lambda chance, frames, at: frames.insert(at, frames[chance.randrange(len(frames))]),
    lambda chance, frames, at: frames.__setitem__(at, flip(chance, frames[at])),
    lambda chance, frames, at: frames.__setitem__(at, cut_in_two(chance, frames[at])),
    lambda chance, frames, at: frames.__setitem__(at, repeated(chance, frames[at])),
    lambda _, frames, at: frames.append(frames.pop(at)),
    lambda _, frames, at: frames.__delitem__(slice(at, len(frames) - 1)),
)


def conversation(chance: Random) -> bytes:
    """Calls, and then a few edits: the more of them, the rarer."""
    calls = [any_call(chance) for _ in range(chance.randrange(1, 6))]
    frames = frames_of(settings() + interleaved(calls, 1, chance))
    while chance.random() < 0.7:
        chance.choice(EDITS)(chance, frames, chance.randrange(len(frames)))
    beginning = PREFACE if chance.random() < 0.98 else flip(chance, PREFACE)
    return beginning + b"".join(frames)


# --- what comes of them ---------------------------------------------------------------------------------------------


def connected(address: str) -> socket.socket:
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def talk(peer: socket.socket, said: bytes, chance: Random) -> None:
    """Say it, in pieces, and then nothing more; a listener may end the connection before."""
    try:
        while said:
            size = chance.choice((1, 9, 100, 10**6))
            peer.sendall(said[:size])
            said = said[size:] if size > 1 or chance.random() < 0.5 else b""
        if chance.random() < 0.9:
            peer.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def listen_to_the_end(peer: socket.socket) -> None:
    """Until the listener ends the connection."""
    try:
        while peer.recv(2**20):
            pass
    except ConnectionError:
        pass


def assert_answers(listener: NativeDoor, index: Index, tls: ssl.SSLContext | None = None) -> None:
    client = Pipeline(listener.address, tls)
    calls = [Call("question", CALL, (message(QUESTION),))]
    client.send(calls, Random(1))
    (answer,) = client.outcomes(calls)
    client.close()
    assert answer.body == message(index.table.check_numbers(QUESTION, numbers_per_call_max=50))


def test_conversations_of_any_frames_end_and_leave_the_listener_as_it_was(listener: NativeDoor, index: Index) -> None:
    chance = Random(SEED)
    for _ in range(CONVERSATIONS // TOGETHER):
        peers = [connected(listener.address) for _ in range(TOGETHER)]
        for peer in peers:
            talk(peer, conversation(chance), chance)
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_WR)
            listen_to_the_end(peer)
            peer.close()
        assert_answers(listener, index)


# --- leaks ----------------------------------------------------------------------------------------------------------


def resident_size() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1_024


@pytest.mark.skipif(SANITIZED, reason="the sanitizer keeps what was freed for a while")
def test_memory_stays_when_connections_come_and_go(listener: NativeDoor, index: Index) -> None:
    """Of 10,000 connections: some ask, some break off in a call, in a message or in a header block."""
    whole = PREFACE + settings() + interleaved([Call("", CALL, (message(QUESTION),))], 1, Random(1))
    chance = Random(2)

    def come_and_go(count: int) -> None:
        for _ in range(count):
            peer = connected(listener.address)
            peer.sendall(whole[: chance.choice((len(whole), chance.randrange(len(whole))))])
            peer.shutdown(socket.SHUT_WR)
            listen_to_the_end(peer)
            peer.close()
        assert_answers(listener, index)

    come_and_go(1_000)
    before = resident_size()
    come_and_go(9_000)
    assert resident_size() - before < 3 * 2**20  # 350 bytes a connection would show


@pytest.mark.skipif(SANITIZED, reason="the sanitizer keeps what was freed for a while")
def test_memory_stays_when_connections_over_tls_come_and_go(
    index: Index, settings_of: Settings, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    server, client = authority.issue("server"), authority.issue("client")
    files = {"tls_certificate_file": server.certificate, "tls_key_file": server.key}
    tls = ssl.create_default_context(cafile=authority.file)
    tls.load_cert_chain(client.certificate, client.key)
    tls.set_alpn_protocols(["h2"])
    with listening(index, settings_of.model_copy(update={**files, "tls_client_authority_file": authority.file})) as one:
        for _ in range(200):
            assert_answers(one, index, tls)
        before = resident_size()
        for _ in range(1_000):
            assert_answers(one, index, tls)
        assert resident_size() - before < 6 * 2**20  # a leaked SSL takes some 30,000 bytes
