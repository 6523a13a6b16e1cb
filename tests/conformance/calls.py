"""Calls of the listener under test in frames, and what their answers must be."""

import struct

from tests.conformance.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, Answer, Fields, Peer, block, frame
from tests.serving.small import ACTIVE

CHECK_NUMBERS = "/numcheck.v1.CheckService/CheckNumbers"
STREAM_CHECK_NUMBERS = "/numcheck.v1.CheckService/StreamCheckNumbers"
WATCH = "/grpc.health.v1.Health/Watch"


def call_fields(path: str = CHECK_NUMBERS, *more: tuple[str, str]) -> Fields:
    """The header fields of a call, as the gRPC protocol has them."""
    pseudo = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "numcheck.test")]
    return [*pseudo, ("te", "trailers"), ("content-type", "application/grpc"), *more]


CALL = block(call_fields())


def message(body: bytes, *, compressed: int = 0) -> bytes:
    """A length-prefixed message."""
    return struct.pack(">BI", compressed, len(body)) + body


def numbers(*asked: int) -> bytes:
    """A CheckNumbersRequest, in a message."""
    packed = b"".join(struct.pack("<Q", number) for number in asked)
    size, varint = len(packed), b""
    while size >= 0x80:
        varint, size = varint + bytes([size & 0x7F | 0x80]), size >> 7
    return message(b"\x0a" + varint + bytes([size]) + packed)


QUESTION = numbers(ACTIVE)


def headers(stream: int, fields: bytes = CALL, *, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, fields)


def data(stream: int, payload: bytes = QUESTION, *, flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, payload)


def question(stream: int, fields: bytes = CALL) -> bytes:
    """A whole call."""
    return headers(stream, fields) + data(stream)


def ask(peer: Peer, stream: int = 1, fields: bytes = CALL) -> Answer:
    """Call and wait for the answer."""
    peer.send(question(stream, fields))
    return peer.answer(stream)


def assert_answered(answer: Answer) -> None:
    """It is the answer to QUESTION: one ACTIVE number."""
    assert answer.headers[":status"] == "200"
    assert answer.headers["content-type"].startswith("application/grpc")
    assert answer.trailers["grpc-status"] == "0"
    assert answer.body[:1] == b"\0"
    assert len(answer.body) == 5 + int.from_bytes(answer.body[1:5], "big")
    assert answer.body[5:8] == b"\x0a\x01\x04"  # statuses, packed, one of them: NUMBER_STATUS_ACTIVE
