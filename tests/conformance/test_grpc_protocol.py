"""The gRPC protocol over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md, compression.md, http-grpc-status-mapping.md), in frames.

What both doors must do is asked of both. What the protocol leaves to the server, or grpc-core does its own way,
is asked of the native door alone.
"""

import base64
import gzip
import re
import signal
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.conformance.calls import (
    CHECK_NUMBERS,
    QUESTION,
    STREAM_CHECK_NUMBERS,
    ask,
    assert_answered,
    call_fields,
    data,
    headers,
    message,
    question,
)
from tests.conformance.conftest import serving_by
from tests.conformance.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    Answer,
    Fields,
    Peer,
    block,
    rst_stream,
)
from tests.serving.small import fill

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 4, 8, 12, 13
MALFORMED = message(b"\x07")
BODY = QUESTION[5:]


@pytest.fixture
def both(either: str) -> Iterator[Peer]:
    """A connection to each door in turn."""
    with Peer(either) as one:
        yield one


def refused(peer: Peer, fields: Fields, *, body: bytes = QUESTION) -> Answer:
    peer.send(headers(1, block(fields)), data(1, body))
    return peer.answer(1)


def told_by(answer: Answer) -> status_pb2.Status:
    """The status in a refusal's details."""
    encoded = (answer.headers | answer.trailers)["grpc-status-details-bin"]
    return status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))


def reason_of(answer: Answer) -> str:
    info = error_details_pb2.ErrorInfo()
    assert told_by(answer).details[0].Unpack(info)
    return info.reason


# --- Requests ---------------------------------------------------------------------------------------------------

ACCEPTED: dict[str, Fields] = {
    "a user agent": call_fields(CHECK_NUMBERS, ("user-agent", "grpc-python/1.85.1 grpc-c/50.0.0 (linux; chttp2)")),
    "grpc-timeout in hours": call_fields(CHECK_NUMBERS, ("grpc-timeout", "99999999H")),
    "grpc-timeout in minutes": call_fields(CHECK_NUMBERS, ("grpc-timeout", "99999999M")),
    "grpc-timeout in seconds": call_fields(CHECK_NUMBERS, ("grpc-timeout", "10S")),
    "grpc-timeout in milliseconds": call_fields(CHECK_NUMBERS, ("grpc-timeout", "10000m")),
    "grpc-timeout in microseconds": call_fields(CHECK_NUMBERS, ("grpc-timeout", "10000000u")),
    "grpc-encoding: identity": call_fields(CHECK_NUMBERS, ("grpc-encoding", "identity")),
    "grpc-accept-encoding": call_fields(CHECK_NUMBERS, ("grpc-accept-encoding", "identity, deflate, gzip")),
    "grpc-message-type": call_fields(CHECK_NUMBERS, ("grpc-message-type", "numcheck.v1.CheckNumbersRequest")),
    "a grpc- name that nobody knows": call_fields(CHECK_NUMBERS, ("grpc-unheard-of", "value")),
    "metadata in ASCII": call_fields(CHECK_NUMBERS, ("x-name", "value, with a comma")),
    "metadata in base64": call_fields(CHECK_NUMBERS, ("x-name-bin", base64.b64encode(bytes(range(40))).decode())),
    "metadata in base64 without padding": call_fields(CHECK_NUMBERS, ("x-name-bin", "AQ")),
    "content-type with +proto": [*call_fields()[:-1], ("content-type", "application/grpc+proto")],
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_call_is_answered_when_it_has(both: Peer, case: str) -> None:
    assert_answered(ask(both, 1, block(ACCEPTED[case])))


HTTP_REFUSALS: dict[str, tuple[Fields, str]] = {
    "content-type: application/json": ([*call_fields()[:-1], ("content-type", "application/json")], "415"),
    "content-type: application/grpc-web": ([*call_fields()[:-1], ("content-type", "application/grpc-web")], "415"),
    "no content-type": (call_fields()[:-1], "415"),
    "no te": ([field for field in call_fields() if field[0] != "te"], "400"),
    "HEAD": ([(":method", "HEAD"), *call_fields()[1:]], "405"),
    "GET": ([(":method", "GET"), *call_fields()[1:]], "405"),
}


@pytest.mark.parametrize("case", HTTP_REFUSALS)
def test_what_is_no_grpc_gets_an_http_status_and_no_grpc_status(peer: Peer, case: str) -> None:
    fields, status = HTTP_REFUSALS[case]
    answer = refused(peer, fields)
    assert answer.headers[":status"] == status
    assert "grpc-status" not in answer.headers | answer.trailers
    assert answer.body.startswith(b"gRPC calls ") == (case != "HEAD")
    assert_answered(ask(peer, 3))


@pytest.mark.parametrize(
    "path",
    [
        *("/numcheck.v1.CheckService/Nothing", "/numcheck.v1.NoService/CheckNumbers", "/", "//", "/a", "/a/b/c"),
        *("/numcheck.v1.checkservice/CheckNumbers", f"{CHECK_NUMBERS}/", f"{CHECK_NUMBERS}?a=b", "/" + "x" * 100),
    ],
)
def test_unknown_path_is_unimplemented(both: Peer, path: str) -> None:
    assert refused(both, call_fields(path)).grpc_status == UNIMPLEMENTED
    assert_answered(ask(both, 3))


def test_metadata_in_base64_may_be_several_values_in_one(peer: Peer) -> None:
    assert_answered(ask(peer, 1, block(call_fields(CHECK_NUMBERS, ("x-name-bin", "AQ,AgM,BAUG")))))


# --- Length-prefixed messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(len(QUESTION) + 1))
def test_message_may_be_cut_anywhere_over_data_frames(both: Peer, cut: int) -> None:
    """DATA frame boundaries have no relation to messages; the last frame may be empty."""
    both.send(headers(1), data(1, QUESTION[:cut], flags=0), data(1, QUESTION[cut:]))
    assert_answered(both.answer(1))


@pytest.mark.parametrize("piece", [1, 4, 15, 16, 10_000])
def test_stream_answers_each_message_however_they_are_packed(both: Peer, piece: int) -> None:
    sent = b"".join(message(BODY + b"\x10" + bytes([i])) for i in range(1, 30))
    both.send(headers(1, block(call_fields(STREAM_CHECK_NUMBERS))))
    both.send(*(data(1, sent[i : i + piece], flags=0) for i in range(0, len(sent), piece)), data(1, b""))
    answer = both.answer(1)
    assert answer.grpc_status == OK
    ids = []
    rest = answer.body
    while rest:
        size = 5 + int.from_bytes(rest[1:5], "big")
        ids.append(rest[size - 1])  # request_id is the last field of an answer
        rest = rest[size:]
    assert ids == list(range(1, 30))


INTERNAL_ERRORS: dict[str, tuple[Fields, bytes]] = {
    "a prefix cut": (call_fields(), QUESTION[:4]),
    "a message cut": (call_fields(), QUESTION[:-1]),
    "no body": (call_fields(), QUESTION[:5]),
    "a compressed flag without grpc-encoding": (call_fields(), message(gzip.compress(BODY), compressed=1)),
    "a compressed flag with identity": (
        call_fields(CHECK_NUMBERS, ("grpc-encoding", "identity")),
        message(BODY, compressed=1),
    ),
    "a flag of 2": (call_fields(), message(BODY, compressed=2)),
    "what is not gzip": (call_fields(CHECK_NUMBERS, ("grpc-encoding", "gzip")), message(BODY, compressed=1)),
    "gzip that is cut": (
        call_fields(CHECK_NUMBERS, ("grpc-encoding", "gzip")),
        message(gzip.compress(BODY)[:-1], compressed=1),
    ),
}


@pytest.mark.parametrize("case", INTERNAL_ERRORS)
def test_call_is_an_internal_error_when_it_brings(peer: Peer, case: str) -> None:
    fields, body = INTERNAL_ERRORS[case]
    assert refused(peer, fields, body=body).grpc_status in (INTERNAL, RESOURCE_EXHAUSTED)
    assert_answered(ask(peer, 3))


def test_gzip_is_read_by_both(both: Peer) -> None:
    fields = block(call_fields(CHECK_NUMBERS, ("grpc-encoding", "gzip")))
    both.send(headers(1, fields), data(1, message(gzip.compress(BODY), compressed=1)))
    assert_answered(both.answer(1))
    both.send(headers(3, fields), data(3, QUESTION))  # and a message that is not compressed all the same
    assert_answered(both.answer(3))


@pytest.mark.parametrize("encoding", ["br", "snappy", "zstd", "GZIP"])
def test_encoding_that_is_not_read_is_unimplemented_and_those_that_are_are_named(peer: Peer, encoding: str) -> None:
    fields = call_fields(CHECK_NUMBERS, ("grpc-encoding", encoding))
    answer = refused(peer, fields, body=message(zlib.compress(BODY), compressed=1))
    assert answer.grpc_status == UNIMPLEMENTED
    assert "gzip" in (answer.headers | answer.trailers)["grpc-accept-encoding"]


def test_message_that_is_too_large_is_refused_by_its_prefix(both: Peer) -> None:
    both.send(headers(1), data(1, b"\0\x7f\xff\xff\xff", flags=0))
    assert both.answer(1).grpc_status == RESOURCE_EXHAUSTED
    assert_answered(ask(both, 3))


def test_metadata_over_the_limit_is_refused_and_the_connection_lives(both: Peer) -> None:
    """8 KiB, as RFC 9113 section 6.5.2 counts them; by grpc-core once its settings are acknowledged."""
    both.settle()
    more = [(f"x-name-{i}", "v" * 100) for i in range(60)]
    assert refused(both, call_fields(CHECK_NUMBERS, *more)).grpc_status == RESOURCE_EXHAUSTED
    assert_answered(ask(both, 3))


# --- Responses --------------------------------------------------------------------------------------------------


def test_response_is_headers_messages_trailers(both: Peer) -> None:
    both.send(question(1))
    frames = [one for one in both.until(lambda one: one.ends_stream) if one.stream == 1]
    kinds = [one.kind for one in frames]
    assert kinds[0] == kinds[-1] == HEADERS
    assert set(kinds[1:-1]) == {DATA}
    assert [bool(one.flags & END_STREAM) for one in frames] == [False] * (len(frames) - 1) + [True]
    first, last = (dict(fields) for fields in both.fields[1])
    assert first[":status"] == "200"
    assert first["content-type"] in ("application/grpc", "application/grpc+proto")
    assert "grpc-status" not in first
    assert last["grpc-status"] == "0"
    assert not [name for name in last if name.startswith(":")]


def test_refusal_is_one_block_of_headers(peer: Peer) -> None:
    """Trailers-Only: HTTP status, content type and gRPC status together, and the end of the stream."""
    peer.send(headers(1), data(1, MALFORMED))
    frames = [one for one in peer.until(lambda one: one.ends_stream) if one.stream == 1]
    assert [(one.kind, one.flags & (END_STREAM | END_HEADERS)) for one in frames] == [
        (HEADERS, END_STREAM | END_HEADERS)
    ]
    (fields,) = (dict(fields) for fields in peer.fields[1])
    assert (fields[":status"], fields["content-type"]) == ("200", "application/grpc")
    assert fields["grpc-status"] == str(INVALID_ARGUMENT)


def test_refusals_message_is_percent_encoded_and_its_details_are_the_same_status(both: Peer) -> None:
    answer = refused(both, call_fields(), body=MALFORMED)
    fields = answer.headers | answer.trailers
    assert re.fullmatch(r"(?:[\x20-\x24\x26-\x7e]|%[0-9A-F]{2})*", fields["grpc-message"])
    status = told_by(answer)
    assert (status.code, status.message) == (INVALID_ARGUMENT, fields["grpc-message"])
    assert reason_of(answer) == "MALFORMED_MESSAGE"


def test_what_is_too_large_is_refused_with_its_reason(peer: Peer) -> None:
    """By the native door; grpcio's server refuses it without details."""
    large = refused(peer, call_fields(), body=b"\0\x7f\xff\xff\xff")
    assert reason_of(large) == "MESSAGE_TOO_LARGE"
    more = [(f"x-name-{i}", "v" * 100) for i in range(60)]
    peer.send(headers(3, block(call_fields(CHECK_NUMBERS, *more))), data(3, QUESTION))
    assert reason_of(peer.answer(3)) == "METADATA_TOO_LARGE"


def test_answers_before_a_refusal_are_sent_before_it(both: Peer) -> None:
    both.send(headers(1, block(call_fields(STREAM_CHECK_NUMBERS))), data(1, QUESTION, flags=0))
    both.until(lambda one: one.kind == DATA)
    both.send(data(1, MALFORMED, flags=0))
    answer = both.answer(1)
    assert answer.trailers["grpc-status"] == str(INVALID_ARGUMENT)


# --- Deadlines and cancellation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", ["20m", "20000u", "20000000n", "1n"])
def test_call_that_does_not_come_in_time_ends_when_its_time_is_up(peer: Peer, timeout: str) -> None:
    peer.send(headers(1, block(call_fields(STREAM_CHECK_NUMBERS, ("grpc-timeout", timeout)))))
    assert peer.answer(1).grpc_status == DEADLINE_EXCEEDED


def test_calls_that_are_cancelled_in_any_state_leave_nothing_behind(peer: Peer) -> None:
    """More of them than the connection takes at once."""
    states = [
        [headers(0)],
        [headers(0), data(0, QUESTION[:3], flags=0)],
        [headers(0), data(0, QUESTION, flags=0)],
        [headers(0, block(call_fields(STREAM_CHECK_NUMBERS))), data(0, QUESTION, flags=0)],
    ]
    stream = 1
    for _ in range(12):
        for frames in states:
            peer.send(*(one[:5] + stream.to_bytes(4, "big") + one[9:] for one in frames), rst_stream(stream))
            stream += 2
        peer.settle()
    assert_answered(ask(peer, stream))


# --- The end of a connection ------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["native", "plain"])
def test_calls_under_way_end_and_later_ones_are_not_begun_when_the_node_stops(tmp_path: Path, door: str) -> None:
    """A GOAWAY that gives notice, then one that names the last stream, the answers, and the connection's end."""
    with ExitStack() as opened:
        node = opened.enter_context(serving_by(door, fill(tmp_path), env={"NUMCHECK_DRAIN_TIMEOUT_S": "5"}))
        peer = opened.enter_context(Peer(node.address))
        peer.send(headers(1, block(call_fields(STREAM_CHECK_NUMBERS))), data(1, QUESTION, flags=0))
        peer.until(lambda one: one.kind == DATA)
        node.process.signal(signal.SIGTERM)
        notice = peer.until(lambda one: one.kind == GOAWAY)[-1]
        assert (int.from_bytes(notice.payload[:4], "big"), notice.code) == (2**31 - 1, NO_ERROR)
        peer.settle()
        final = peer.until(lambda one: one.kind == GOAWAY)[-1]
        assert (int.from_bytes(final.payload[:4], "big"), final.code) == (1, NO_ERROR)
        peer.send(question(3), data(1))
        frames = peer.rest()
        assert [one.stream for one in frames if one.ends_stream] == [1]
        assert dict(peer.fields[1][-1])["grpc-status"] == "0"
        assert node.process.wait() == 0
