"""RFC 9113, section 8: requests that are malformed are refused before anything is answered; the others are taken."""

import pytest

from tests.conformance.calls import (
    CHECK_NUMBERS,
    QUESTION,
    STREAM_CHECK_NUMBERS,
    ask,
    assert_answered,
    call_fields,
    data,
    headers,
    question,
)
from tests.conformance.http2 import (
    END_HEADERS,
    END_STREAM,
    NO_ERROR,
    PROTOCOL_ERROR,
    RST_STREAM,
    Fields,
    Peer,
    assert_stream_error,
    block,
)

PSEUDO, REGULAR = call_fields()[:4], call_fields()[4:]


def without(name: str) -> Fields:
    return [field for field in call_fields() if field[0] != name]


def replaced(name: str, value: str) -> Fields:
    return [(key, value if key == name else old) for key, old in call_fields()]


MALFORMED: dict[str, Fields] = {
    "8.2.1 name in upper case": call_fields("/x", ("X-Name", "value")),
    "8.2.1 name with a space": call_fields("/x", ("x name", "value")),
    "8.2.1 name with a colon": call_fields("/x", ("x:name", "value")),
    "8.2.1 empty name": call_fields("/x", ("", "value")),
    "8.2.1 NUL in a value": call_fields("/x", ("x-name", "a\0b")),
    "8.2.1 line feed in a value": call_fields("/x", ("x-name", "a\nb")),
    "8.2.1 carriage return in a value": call_fields("/x", ("x-name", "a\rb")),
    "8.2.1 value that starts with a space": call_fields("/x", ("x-name", " a")),
    "8.2.1 value that ends with a tab": call_fields("/x", ("x-name", "a\t")),
    "8.2.2 connection": call_fields("/x", ("connection", "keep-alive")),
    "8.2.2 proxy-connection": call_fields("/x", ("proxy-connection", "keep-alive")),
    "8.2.2 keep-alive": call_fields("/x", ("keep-alive", "timeout=5")),
    "8.2.2 transfer-encoding": call_fields("/x", ("transfer-encoding", "chunked")),
    "8.2.2 upgrade": call_fields("/x", ("upgrade", "h2c")),
    "8.2.2 te other than trailers": replaced("te", "trailers, deflate"),
    "8.3 unknown pseudo-header": [(":test", "value"), *call_fields()],
    "8.3 pseudo-header of a response": [*PSEUDO, (":status", "200"), *REGULAR],
    "8.3 pseudo-header after a regular one": [*PSEUDO[1:], *REGULAR, PSEUDO[0]],
    "8.3 :path twice": [*PSEUDO, (":path", "/y"), *REGULAR],
    "8.3 :method twice": [(":method", "POST"), *call_fields()],
    "8.3 :scheme twice": [(":scheme", "http"), *call_fields()],
    "8.3.1 no :method": without(":method"),
    "8.3.1 no :scheme": without(":scheme"),
    "8.3.1 no :path": without(":path"),
    "8.3.1 empty :path": replaced(":path", ""),
    "8.5 CONNECT with :scheme and :path": replaced(":method", "CONNECT"),
    "8.1.1 content-length that is no number": call_fields("/x", ("content-length", "many")),
    "8.1.1 two different content-lengths": call_fields("/x", ("content-length", "15"), ("content-length", "16")),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_request_is_malformed_when_it_has(peer: Peer, case: str) -> None:
    peer.send(headers(1, block(MALFORMED[case]), flags=END_HEADERS | END_STREAM))
    assert_stream_error(peer, 1, PROTOCOL_ERROR)


@pytest.mark.parametrize("size", [len(QUESTION) - 1, len(QUESTION) + 1])
def test_8_1_1_content_length_is_that_of_the_data(peer: Peer, size: int) -> None:
    peer.send(question(1, block(call_fields(STREAM_CHECK_NUMBERS, ("content-length", str(size))))))
    frames = peer.until(lambda one: one.kind == RST_STREAM and one.stream == 1)
    assert frames[-1].code == PROTOCOL_ERROR


def test_8_1_trailers_without_the_streams_end_are_malformed(peer: Peer) -> None:
    peer.send(headers(1), data(1, flags=0), headers(1, block([("x-name", "value")])))
    assert_stream_error(peer, 1, PROTOCOL_ERROR)


def test_8_1_trailers_with_a_pseudo_header_are_malformed(peer: Peer) -> None:
    trailers = headers(1, block([(":path", "/y")]), flags=END_HEADERS | END_STREAM)
    peer.send(headers(1), data(1, flags=0), trailers)
    assert_stream_error(peer, 1, PROTOCOL_ERROR)


VISIBLE = "".join(map(chr, range(33, 127)))
WELL_FORMED: dict[str, Fields] = {
    "8.1.1 content-length": call_fields(CHECK_NUMBERS, ("content-length", "15")),
    "8.2.1 a value of any byte that is visible": call_fields(
        CHECK_NUMBERS, ("x-name", "".join(map(chr, range(33, 127))))
    ),
    "8.2.1 bytes over 127 in a value": call_fields(CHECK_NUMBERS, ("x-name", "\x80\xff")),
    "8.2.1 a field without value": call_fields(CHECK_NUMBERS, ("x-name", "")),
    "8.2.3 crumbs of a cookie": call_fields(CHECK_NUMBERS, ("cookie", "a=b"), ("cookie", "c=d")),
    "8.3.1 host in the place of :authority": [*without(":authority"), ("host", "numcheck.test")],
    "8.3.1 https": replaced(":scheme", "https"),
    "8.3 pseudo-headers in another order": [*reversed(PSEUDO), *REGULAR],
    "8.2.1 the same field twice": call_fields(CHECK_NUMBERS, ("x-name", "a"), ("x-name", "b")),
}


@pytest.mark.parametrize("case", WELL_FORMED)
def test_call_is_answered_when_it_has(peer: Peer, case: str) -> None:
    assert len(QUESTION) == 15
    assert_answered(ask(peer, 1, block(WELL_FORMED[case])))


def test_8_1_trailers_of_a_request_are_taken(peer: Peer) -> None:
    peer.send(headers(1), data(1, flags=0), headers(1, block([("x-name", "value")]), flags=END_HEADERS | END_STREAM))
    assert_answered(peer.answer(1))


def test_8_1_request_may_be_given_up_without_error_once_it_is_answered(peer: Peer) -> None:
    """An answer that needs no more of the request: RST_STREAM with NO_ERROR, after the answer's end."""
    peer.send(headers(1, block(call_fields("/numcheck.v1.CheckService/Nothing"))))
    frames = peer.until(lambda one: one.kind == RST_STREAM and one.stream == 1)
    assert frames[-1].code == NO_ERROR
    assert [one.stream for one in frames if one.ends_stream] == [1]
    assert_answered(ask(peer, 3))


def test_malformed_request_leaves_the_connections_other_streams_alone(peer: Peer) -> None:
    """Where it ends with RST_STREAM, as here, and not with the connection."""
    peer.send(headers(1, block(without(":path"))))
    frames = peer.until(lambda one: one.kind == RST_STREAM)
    assert (frames[-1].stream, frames[-1].code) == (1, PROTOCOL_ERROR)
    assert_answered(ask(peer, 3))


def test_8_4_there_is_no_server_push(peer: Peer) -> None:
    peer.send(question(1))
    frames = peer.until(lambda one: one.ends_stream)
    assert {one.stream for one in frames} <= {0, 1}
