"""Clients that break off, hold up or garble, after grpc's own bad-client tests (grpc/test/core/bad_client).

Whatever they do, the node answers the next client, which is grpcio.
"""

import random
from collections.abc import Callable, Iterator

import grpc
import pytest

from tests.conformance.calls import (
    CALL,
    CHECK_NUMBERS,
    QUESTION,
    STREAM_CHECK_NUMBERS,
    ask,
    assert_answered,
    call_fields,
    data,
    headers,
    numbers,
    question,
)
from tests.conformance.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    Peer,
    block,
    frame,
    literal,
    settings,
    window_update,
)

Connect = Callable[..., Peer]
CONVERSATION = PREFACE + settings() + headers(1) + data(1, QUESTION[:7], flags=0) + data(1, QUESTION[7:])


@pytest.fixture(autouse=True)
def next_client(native: str) -> Iterator[None]:
    yield
    with grpc.insecure_channel(native, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert channel.unary_unary(CHECK_NUMBERS)(QUESTION[5:], timeout=5)


@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_connection_prefix(connect: Connect, end: str) -> None:
    """The conversation breaks off after each of its bytes."""
    for size in range(len(CONVERSATION)):
        peer = connect(None)
        peer.send(CONVERSATION[:size])
        if end == "FIN":
            peer.end_of_writing()
            peer.rest()
        else:
            peer.reset()


def test_initial_settings_frame(connect: Connect) -> None:
    """Each byte of it is wrong in turn."""
    first = settings((INITIAL_WINDOW_SIZE, 70_000))
    for i in range(len(first)):
        for wrong in (0, 0x7F, 0xFF):
            peer = connect(None)
            peer.send(PREFACE + first[:i] + bytes([wrong]) + first[i + 1 :] + bytes(20))
            peer.end_of_writing()
            peer.rest()


def test_head_of_line_blocking(connect: Connect) -> None:
    """A stream that takes nothing holds up no other of its connection."""
    peer = connect(settings((INITIAL_WINDOW_SIZE, 0)))
    peer.settle()
    peer.send(headers(1))
    peer.send_data(1, numbers(*[79_000_000_000] * 10_000))
    peer.settle()
    for stream in range(3, 61, 2):
        peer.send(question(stream), window_update(stream, 1_000))
        assert_answered(peer.answer(stream))


DUPLICATES = [field for field in call_fields() if not field[0].startswith(":")]


@pytest.mark.parametrize("field", DUPLICATES, ids=lambda field: field[0])
def test_duplicate_header(peer: Peer, field: tuple[str, str]) -> None:
    """It is answered or refused, once."""
    peer.send(question(1, block([*call_fields(), field])))
    peer.answer(1)
    assert_answered(ask(peer, 3))


@pytest.mark.parametrize("size", [9_000, 60_000])
def test_large_metadata(peer: Peer, size: int) -> None:
    """Refused; or, far over the limit, the end of the connection, and never an answer."""
    value = b"v" * 100
    fields = CALL + literal(b"x-name", value) * (size // 140)
    parts = [fields[i : i + 16_384] for i in range(0, len(fields), 16_384)]
    peer.send(headers(1, parts[0], flags=END_HEADERS * (len(parts) == 1)))
    peer.send(*(frame(CONTINUATION, END_HEADERS * (part is parts[-1]), 1, part) for part in parts[1:]), data(1))
    peer.end_of_writing()
    assert not [one for one in peer.rest() if one.kind == DATA]


def test_out_of_bounds(connect: Connect) -> None:
    """A frame says that it is longer than what comes, of every type."""
    for kind in range(11):
        peer = connect()
        peer.send(headers(1, block(call_fields(STREAM_CHECK_NUMBERS))), frame(kind, 0, 1, bytes(100))[:50])
        peer.end_of_writing()
        peer.rest()


def test_simple_request_garbled(connect: Connect) -> None:
    """One bit of it is wrong; every bit in turn would take long, so some that a seed chooses."""
    rng = random.Random(9113)
    conversation = bytearray(CONVERSATION)
    for _ in range(400):
        place, bit = rng.randrange(len(PREFACE), len(conversation)), 1 << rng.randrange(8)
        conversation[place] ^= bit
        peer = connect(None)
        peer.send(bytes(conversation))
        peer.end_of_writing()
        peer.rest()
        conversation[place] ^= bit


def test_server_registered_method(connect: Connect) -> None:
    """The request's body breaks off after each of its bytes, with the stream's end or the connection's."""
    for size in range(len(QUESTION)):
        for flags in (0, END_STREAM):
            peer = connect()
            peer.send(headers(1), data(1, QUESTION[:size], flags=flags))
            peer.end_of_writing()
            assert not [one for one in peer.rest() if one.kind == DATA]
