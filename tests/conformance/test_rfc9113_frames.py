"""RFC 9113, sections 3 to 6: the preface, frames, streams and each type of frame, as a client sees a server keep them.

Each case of a table is one MUST. An error of the connection is a GOAWAY with one of the codes and the connection's
end; an error of a stream is RST_STREAM with one of the codes, or the same as an error of the connection.
"""

import struct
from collections.abc import Callable

import hpack
import pytest
from _pytest.mark import ParameterSet

from tests.conformance.calls import (
    CALL,
    QUESTION,
    STREAM_CHECK_NUMBERS,
    WATCH,
    ask,
    assert_answered,
    call_fields,
    data,
    headers,
    message,
    numbers,
    question,
)
from tests.conformance.http2 import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    FRAME_SIZE_MAX_DEFAULT,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    UNKNOWN_TYPE,
    WINDOW_SIZE_DEFAULT,
    WINDOW_SIZE_MAX,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Frame,
    Peer,
    assert_connection_error,
    assert_stream_error,
    block,
    frame,
    rst_stream,
    settings,
    window_update,
)

Connect = Callable[..., Peer]
PRIORITY_FIELDS = struct.pack(">IB", 0, 15)
WATCHING = headers(1, block(call_fields(WATCH))) + data(1, message(b""))
"""A call that the peer has ended and the server has not."""
OPEN = headers(1, block(call_fields(STREAM_CHECK_NUMBERS)))
"""A call that neither has ended."""
LONG_QUESTION = numbers(*[79_000_000_000] * 60_000)
"""Its answer has more than the 65,535 bytes of the first windows."""


# --- 3.4 The connection preface ---------------------------------------------------------------------------------


def test_3_4_server_sends_settings_first(peer: Peer) -> None:
    first = peer.next()
    assert first is not None
    assert (first.kind, first.flags & ACK, first.stream) == (SETTINGS, 0, 0)
    assert len(first.payload) % 6 == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"INVALID CONNECTION PREFACE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: numcheck.test\r\n\r\n",
        PREFACE[:-1] + b"X" + settings(),
        PREFACE + frame(PING, payload=bytes(8)),
        PREFACE + question(1),
    ],
    ids=["no preface", "HTTP/1.1", "last byte wrong", "PING before SETTINGS", "HEADERS before SETTINGS"],
)
def test_3_4_connection_ends_when_the_preface_is_wrong(connect: Connect, sent: bytes) -> None:
    peer = connect(None)
    peer.send(sent)
    assert not [one for one in peer.rest() if one.kind == HEADERS]


def test_3_4_preface_may_come_in_pieces_and_requests_with_it(connect: Connect) -> None:
    peer = connect(None)
    for byte in PREFACE + settings():
        peer.send(bytes([byte]))
    peer.send(question(1))
    assert_answered(peer.answer(1))
    peer = connect(None)
    peer.send(PREFACE + settings() + question(1))
    assert_answered(peer.answer(1))


# --- errors of the connection -----------------------------------------------------------------------------------

CONNECTION_ERRORS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "4.2 HEADERS larger than SETTINGS_MAX_FRAME_SIZE": (
        frame(HEADERS, END_HEADERS, 1, CALL + bytes(FRAME_SIZE_MAX_DEFAULT)),
        (FRAME_SIZE_ERROR,),
    ),
    "4.2 SETTINGS larger than SETTINGS_MAX_FRAME_SIZE": (
        frame(SETTINGS, payload=bytes(FRAME_SIZE_MAX_DEFAULT + 2)),
        (FRAME_SIZE_ERROR,),
    ),
    "4.3 header block that cannot be decoded": (headers(1, b"\x00\x85\xf2\xb2\x4a\x84\xff"), (COMPRESSION_ERROR,)),
    "4.3 PRIORITY within a header block": (
        headers(1, CALL, flags=0) + frame(PRIORITY, 0, 1, PRIORITY_FIELDS),
        (PROTOCOL_ERROR,),
    ),
    "4.3 HEADERS of another stream within a header block": (headers(1, CALL, flags=0) + headers(3), (PROTOCOL_ERROR,)),
    "5.1 idle: DATA": (data(1), (PROTOCOL_ERROR, STREAM_CLOSED)),
    "5.1 idle: RST_STREAM": (rst_stream(1), (PROTOCOL_ERROR,)),
    "5.1 idle: WINDOW_UPDATE": (window_update(1, 100), (PROTOCOL_ERROR,)),
    "5.1 idle: CONTINUATION": (frame(CONTINUATION, END_HEADERS, 1, CALL), (PROTOCOL_ERROR,)),
    "5.1.1 even stream identifier": (question(2), (PROTOCOL_ERROR,)),
    "5.1.1 stream identifier that decreases": (question(5) + question(3), (PROTOCOL_ERROR, STREAM_CLOSED)),
    "5.5 unknown frame within a header block": (
        headers(1, CALL, flags=0) + frame(UNKNOWN_TYPE, 0, 1, bytes(8)),
        (PROTOCOL_ERROR,),
    ),
    "6.1 DATA on stream 0": (data(0), (PROTOCOL_ERROR,)),
    "6.1 DATA whose padding is as long as the payload": (
        OPEN + frame(DATA, PADDED | END_STREAM, 1, b"\x06" + QUESTION[:5]),
        (PROTOCOL_ERROR,),
    ),
    "6.2 HEADERS on stream 0": (headers(0), (PROTOCOL_ERROR,)),
    "6.2 HEADERS whose padding is too long": (
        headers(1, bytes([len(CALL) + 1]) + CALL, flags=END_HEADERS | PADDED),
        (PROTOCOL_ERROR,),
    ),
    "6.3 PRIORITY on stream 0": (frame(PRIORITY, 0, 0, PRIORITY_FIELDS), (PROTOCOL_ERROR,)),
    "6.4 RST_STREAM on stream 0": (rst_stream(0), (PROTOCOL_ERROR,)),
    "6.4 RST_STREAM of 3 bytes": (OPEN + frame(RST_STREAM, 0, 1, bytes(3)), (FRAME_SIZE_ERROR,)),
    "6.5 SETTINGS acknowledgement with a payload": (frame(SETTINGS, ACK, 0, bytes(6)), (FRAME_SIZE_ERROR,)),
    "6.5 SETTINGS on a stream": (frame(SETTINGS, 0, 1), (PROTOCOL_ERROR,)),
    "6.5 SETTINGS of 3 bytes": (frame(SETTINGS, payload=bytes(3)), (FRAME_SIZE_ERROR,)),
    "6.5.2 ENABLE_PUSH of 2": (settings((ENABLE_PUSH, 2)), (PROTOCOL_ERROR,)),
    "6.5.2 INITIAL_WINDOW_SIZE of 2^31": (settings((INITIAL_WINDOW_SIZE, 2**31)), (FLOW_CONTROL_ERROR,)),
    "6.5.2 MAX_FRAME_SIZE of 2^14 - 1": (settings((MAX_FRAME_SIZE, 2**14 - 1)), (PROTOCOL_ERROR,)),
    "6.5.2 MAX_FRAME_SIZE of 2^24": (settings((MAX_FRAME_SIZE, 2**24)), (PROTOCOL_ERROR,)),
    "6.6 PUSH_PROMISE from a client": (
        OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + CALL),
        (PROTOCOL_ERROR,),
    ),
    "6.7 PING on a stream": (frame(PING, 0, 1, bytes(8)), (PROTOCOL_ERROR,)),
    "6.7 PING of 6 bytes": (frame(PING, payload=bytes(6)), (FRAME_SIZE_ERROR,)),
    "6.8 GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), (PROTOCOL_ERROR,)),
    "6.9 WINDOW_UPDATE of 0 on stream 0": (window_update(0, 0), (PROTOCOL_ERROR,)),
    "6.9 WINDOW_UPDATE of 3 bytes": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), (FRAME_SIZE_ERROR,)),
    "6.9.1 connection window over 2^31 - 1": (window_update(0, WINDOW_SIZE_MAX) * 2, (FLOW_CONTROL_ERROR,)),
    "6.9.2 INITIAL_WINDOW_SIZE that lifts a window over 2^31 - 1": (
        OPEN + window_update(1, WINDOW_SIZE_MAX - WINDOW_SIZE_DEFAULT) + settings((INITIAL_WINDOW_SIZE, 65_536)),
        (FLOW_CONTROL_ERROR,),
    ),
    "6.10 CONTINUATION on stream 0": (
        headers(1, CALL, flags=0) + frame(CONTINUATION, END_HEADERS, 0),
        (PROTOCOL_ERROR,),
    ),
    "6.10 CONTINUATION after END_HEADERS": (OPEN + frame(CONTINUATION, END_HEADERS, 1), (PROTOCOL_ERROR,)),
    "6.10 CONTINUATION of another stream": (
        headers(1, CALL[:20], flags=0) + frame(CONTINUATION, END_HEADERS, 3, CALL[20:]),
        (PROTOCOL_ERROR,),
    ),
    "6.10 CONTINUATION after DATA": (OPEN + data(1, flags=0) + frame(CONTINUATION, END_HEADERS, 1), (PROTOCOL_ERROR,)),
}


LENIENT: dict[str, str] = {
    "5.1.1 stream identifier that decreases": "libnghttp2 ignores it: it cannot tell it from a stream that it forgot",
    "6.9.2 INITIAL_WINDOW_SIZE that lifts a window over 2^31 - 1": "libnghttp2 resets the stream alone",
}
"""What libnghttp2 does not do, and no peer suffers from."""


def connection_error(case: str) -> ParameterSet:
    marks = [pytest.mark.xfail(reason=LENIENT[case], raises=TimeoutError)] if case in LENIENT else []
    return pytest.param(case, marks=marks)


@pytest.mark.parametrize("case", [connection_error(case) for case in CONNECTION_ERRORS])
def test_connection_ends_when_it_gets(peer: Peer, case: str) -> None:
    sent, codes = CONNECTION_ERRORS[case]
    peer.settle()
    peer.send(sent)
    if case in LENIENT:
        peer.give_up_after(0.5)
    assert_connection_error(peer, *codes)


# --- errors of a stream -----------------------------------------------------------------------------------------

STREAM_ERRORS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "4.2 DATA larger than SETTINGS_MAX_FRAME_SIZE": (
        OPEN + data(1, bytes(FRAME_SIZE_MAX_DEFAULT + 1)),
        (FRAME_SIZE_ERROR,),
    ),
    "5.1 half-closed (remote): DATA": (WATCHING + data(1), (STREAM_CLOSED,)),
    "5.1 half-closed (remote): HEADERS": (WATCHING + headers(1, flags=END_HEADERS | END_STREAM), (STREAM_CLOSED,)),
    "5.3 PRIORITY of 4 bytes": (OPEN + frame(PRIORITY, 0, 1, bytes(4)), (FRAME_SIZE_ERROR,)),
    "6.9 WINDOW_UPDATE of 0": (OPEN + window_update(1, 0), (PROTOCOL_ERROR,)),
    "6.9.1 stream window over 2^31 - 1": (OPEN + window_update(1, WINDOW_SIZE_MAX), (FLOW_CONTROL_ERROR,)),
}


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_stream_ends_when_it_gets(peer: Peer, case: str) -> None:
    sent, codes = STREAM_ERRORS[case]
    peer.send(sent)
    assert_stream_error(peer, 1, *codes)


def test_6_9_stream_error_leaves_the_connections_other_streams_alone(peer: Peer) -> None:
    peer.send(OPEN + window_update(1, WINDOW_SIZE_MAX))
    assert_stream_error(peer, 1, FLOW_CONTROL_ERROR)
    assert_answered(ask(peer, 3))


# --- what is to be ignored --------------------------------------------------------------------------------------

IGNORED: dict[str, bytes] = {
    "4.1 frame of an unknown type": frame(UNKNOWN_TYPE, 0xFF, 0, bytes(8)),
    "4.1 undefined flags of PING": frame(PING, 0xFE, 0, b"undefine"),
    "4.1 the reserved bit": frame(PING, 0, 2**31, b"reserved"),
    "5.3 PRIORITY of an idle stream": frame(PRIORITY, 0, 1, PRIORITY_FIELDS),
    "6.5.2 an unknown setting": settings((0xFFFF, 1)),
    "6.5.2 settings of no interest": settings((MAX_CONCURRENT_STREAMS, 0), (ENABLE_PUSH, 0), (ENABLE_PUSH, 0)),
    "6.7 acknowledgement of a PING that nobody sent": frame(PING, ACK, 0, bytes(8)),
    "7 unknown error code": question(1) + rst_stream(1, 0xFFFF),
}


@pytest.mark.parametrize("case", IGNORED)
def test_calls_are_answered_as_before_when_there_came(peer: Peer, case: str) -> None:
    peer.send(IGNORED[case])
    assert not [one for one in peer.settle() if one.kind == GOAWAY]
    assert_answered(ask(peer, 3))


# --- 5.1 Streams ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [data(1), window_update(1, 9), rst_stream(1), headers(1, flags=END_HEADERS | 1)])
def test_5_1_what_comes_for_a_closed_stream_is_never_answered(peer: Peer, late: bytes) -> None:
    """The connection may end with STREAM_CLOSED; it may not give a second answer."""
    assert_answered(ask(peer))
    peer.send(late + frame(PING, payload=bytes(8)))
    following = []
    while (one := peer.next()) is not None and not (one.kind == PING and one.flags & ACK):
        following.append(one)
    assert not [one for one in following if one.stream == 1 and one.kind in (HEADERS, DATA)]
    codes = [one.code for one in following if one.kind == GOAWAY]
    assert codes in ([], [STREAM_CLOSED], [PROTOCOL_ERROR])


def test_5_1_header_table_stays_in_step_when_a_block_comes_for_a_stream_that_was_reset(peer: Peer) -> None:
    """What nobody wants puts fields into the dynamic table, and the next call points to them."""
    encoder = hpack.Encoder()
    peer.send(headers(1), rst_stream(1), headers(1, encoder.encode(call_fields()), flags=END_HEADERS | END_STREAM))
    following = encoder.encode(call_fields())
    assert len(following) < 10
    assert_answered(ask(peer, 3, following))


def concurrent_streams_max(peer: Peer) -> int:
    frames = peer.until(lambda one: one.kind == SETTINGS and not one.flags & ACK)
    return dict(struct.iter_unpack(">HI", frames[-1].payload))[MAX_CONCURRENT_STREAMS]


@pytest.mark.parametrize("acknowledges", [False, True])
def test_5_1_2_one_stream_too_many_is_refused(peer: Peer, acknowledges: bool) -> None:
    peer.acknowledges = acknowledges
    most = concurrent_streams_max(peer)
    peer.settle()
    fields = block(call_fields(STREAM_CHECK_NUMBERS))
    peer.send(*(headers(2 * i + 1, fields) for i in range(most + 1)))
    assert_stream_error(peer, 2 * most + 1, REFUSED_STREAM, PROTOCOL_ERROR)


def test_5_1_2_streams_that_were_there_before_one_too_many_are_served(peer: Peer) -> None:
    """Before the limit is acknowledged it is nobody's fault: REFUSED_STREAM, so that the call may be repeated."""
    peer.acknowledges = False
    most = concurrent_streams_max(peer)
    fields = block(call_fields(STREAM_CHECK_NUMBERS))
    peer.send(*(headers(2 * i + 1, fields) for i in range(most + 1)))
    assert_stream_error(peer, 2 * most + 1, REFUSED_STREAM)
    peer.send(data(1))
    assert_answered(peer.answer(1))


# --- 6.1, 6.2 DATA and HEADERS ----------------------------------------------------------------------------------


def test_4_2_frames_as_large_as_may_be_are_taken(peer: Peer) -> None:
    question_of_16_kib = numbers(*[79_000_000_000] * 5_000)
    parts = [question_of_16_kib[i : i + FRAME_SIZE_MAX_DEFAULT] for i in range(0, len(question_of_16_kib), 16_384)]
    assert len(parts[0]) == FRAME_SIZE_MAX_DEFAULT
    peer.send(headers(1), *(data(1, part, flags=END_STREAM if part is parts[-1] else 0) for part in parts))
    assert peer.answer(1).grpc_status == 0


@pytest.mark.parametrize("size", [0, 1, 255])
def test_6_1_padding_is_no_part_of_the_data(peer: Peer, size: int) -> None:
    peer.send(headers(1), data(1, bytes([size]) + QUESTION + bytes(size), flags=END_STREAM | PADDED))
    assert_answered(peer.answer(1))


def test_6_2_padding_and_priority_are_no_part_of_the_header_block(peer: Peer) -> None:
    payload = b"\x08" + PRIORITY_FIELDS + CALL + bytes(8)
    peer.send(headers(1, payload, flags=END_HEADERS | PADDED | WITH_PRIORITY), data(1))
    assert_answered(peer.answer(1))


def test_6_1_empty_data_may_end_the_stream(peer: Peer) -> None:
    peer.send(headers(1), data(1, b"", flags=0), data(1, flags=0), data(1, b""))
    assert_answered(peer.answer(1))


@pytest.mark.parametrize("cut", range(0, len(CALL), 7))
def test_6_10_header_block_may_be_cut_anywhere(peer: Peer, cut: int) -> None:
    """Empty pieces are pieces as well. How many there may be is for the server to say."""
    peer.send(frame(HEADERS, 0, 1, CALL[:cut]), *(frame(CONTINUATION, 0, 1, CALL[i : i + 1]) for i in (cut, cut + 1)))
    peer.send(frame(CONTINUATION, 0, 1), frame(CONTINUATION, END_HEADERS, 1, CALL[cut + 2 :]), data(1))
    assert_answered(peer.answer(1))


# --- 6.4 RST_STREAM ---------------------------------------------------------------------------------------------


def test_6_4_nothing_more_comes_on_a_stream_that_was_reset(peer: Peer) -> None:
    peer.send(OPEN)
    peer.settle()
    peer.send(rst_stream(1))
    peer.settle()
    peer.send(question(3))
    frames = peer.until(lambda one: one.stream == 3 and one.ends_stream)
    assert not [one for one in frames if one.stream == 1]


# --- 6.5 SETTINGS -----------------------------------------------------------------------------------------------


def is_settings_ack(one: Frame) -> bool:
    return one.kind == SETTINGS and bool(one.flags & ACK)


def test_6_5_3_each_settings_is_acknowledged_once(connect: Connect) -> None:
    peer = connect(settings((INITIAL_WINDOW_SIZE, 1_000)))
    peer.settle()
    peer.send(settings((INITIAL_WINDOW_SIZE, 2_000)), settings())
    assert len([one for one in peer.settle() if is_settings_ack(one)]) == 2


def test_6_5_3_values_are_applied_in_the_order_of_their_appearance(connect: Connect) -> None:
    peer = connect(settings((INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 1)))
    peer.send(question(1))
    frames = peer.until(lambda one: one.kind == DATA)
    assert len(frames[-1].payload) == 1


# --- 6.7 PING ---------------------------------------------------------------------------------------------------


def test_6_7_ping_is_answered_with_its_own_payload(peer: Peer) -> None:
    payloads = [b"numcheck", bytes(8), b"\xff" * 8]
    peer.send(*(frame(PING, payload=payload) for payload in payloads))
    answered = [peer.until(lambda one: one.kind == PING)[-1] for _ in payloads]
    assert [(one.flags, one.stream, one.payload) for one in answered] == [(ACK, 0, payload) for payload in payloads]


def test_6_7_ping_is_answered_while_a_call_is_under_way(peer: Peer) -> None:
    peer.send(OPEN)
    peer.settle()
    peer.send(data(1))
    assert_answered(peer.answer(1))


# --- 6.8 GOAWAY -------------------------------------------------------------------------------------------------


def test_6_8_calls_under_way_are_answered_after_the_clients_goaway(peer: Peer) -> None:
    peer.send(OPEN)
    peer.settle()
    peer.send(frame(GOAWAY, payload=struct.pack(">II", 0, NO_ERROR)), data(1))
    assert_answered(peer.answer(1))


# --- 6.9 Flow control -------------------------------------------------------------------------------------------


def data_sizes(frames: list[Frame], stream: int = 1) -> list[int]:
    return [len(one.payload) for one in frames if one.kind == DATA and one.stream == stream]


def test_6_9_no_data_is_sent_when_the_window_is_0(connect: Connect) -> None:
    peer = connect(settings((INITIAL_WINDOW_SIZE, 0)))
    peer.send(question(1))
    frames = peer.until(lambda one: one.kind == HEADERS)
    assert not data_sizes(frames + peer.settle())
    for _ in range(3):
        peer.send(window_update(1, 1))
        frames = peer.until(lambda one: one.kind == DATA)
        assert data_sizes(frames + peer.settle()) == [1]
    peer.send(window_update(1, 1_000))
    assert peer.until(lambda one: one.ends_stream)[-1].kind == HEADERS


def test_6_9_windows_of_the_stream_and_of_the_connection_are_both_kept(connect: Connect) -> None:
    peer = connect(settings((INITIAL_WINDOW_SIZE, WINDOW_SIZE_MAX)))
    peer.settle()
    peer.send(headers(1))
    peer.send_data(1, LONG_QUESTION)
    got = 0
    while got < WINDOW_SIZE_DEFAULT:
        got += sum(data_sizes(peer.until(lambda one: one.kind == DATA)))
    assert got == WINDOW_SIZE_DEFAULT
    assert not data_sizes(peer.settle())
    peer.send(window_update(0, 100))
    assert sum(data_sizes(peer.until(lambda one: one.kind == DATA))) == 100
    assert not data_sizes(peer.settle())


def test_6_9_2_change_of_the_initial_window_changes_the_windows_of_open_streams(connect: Connect) -> None:
    """Below 0 as well: then as much has to be given back before anything is sent."""
    peer = connect(settings((INITIAL_WINDOW_SIZE, 4)))
    peer.send(question(1))
    assert data_sizes(peer.until(lambda one: one.kind == DATA)) == [4]
    peer.send(settings((INITIAL_WINDOW_SIZE, 2)))
    assert not data_sizes(peer.settle())
    peer.send(window_update(1, 2))
    assert not data_sizes(peer.settle())
    peer.send(window_update(1, 1))
    assert data_sizes(peer.until(lambda one: one.kind == DATA)) == [1]
    peer.send(settings((INITIAL_WINDOW_SIZE, 5)))
    assert data_sizes(peer.until(lambda one: one.kind == DATA)) == [3]


def test_6_5_2_no_frame_is_larger_than_the_peer_allows(connect: Connect) -> None:
    peer = connect(settings((INITIAL_WINDOW_SIZE, WINDOW_SIZE_MAX)))
    peer.settle()
    peer.send(window_update(0, 10**6), headers(1))
    peer.send_data(1, LONG_QUESTION)
    sizes = data_sizes(peer.until(lambda one: one.ends_stream))
    assert max(sizes) <= FRAME_SIZE_MAX_DEFAULT


@pytest.mark.parametrize("padding", [None, 0, 255])
def test_6_9_1_windows_are_given_back_whatever_they_were_used_for(peer: Peer, padding: int | None) -> None:
    """Over one connection goes more than its first window, padding included."""
    peer.settle()
    for stream in range(1, 25, 2):
        peer.send(window_update(0, 10**6), headers(stream), window_update(stream, 10**6))
        peer.send_data(stream, LONG_QUESTION, padding=padding)
        assert peer.answer(stream).grpc_status == 0


def test_6_9_1_window_of_the_connection_is_given_back_for_streams_that_are_no_more(peer: Peer) -> None:
    peer.settle()
    for stream in range(1, 301, 2):
        peer.send(headers(stream) + rst_stream(stream))
        peer.windows[stream] = 64_000
        peer.send_data(stream, bytes(64_000))
        assert peer.window(0) > 0
        peer.settle()


def test_6_9_1_more_than_the_window_allows_is_an_error(connect: Connect) -> None:
    """The peer takes no answer, so that nothing is given back to it, and sends all the same."""
    peer = connect(settings((INITIAL_WINDOW_SIZE, 0)))
    peer.settle()
    peer.send(OPEN, *[data(1, QUESTION * 100, flags=0)] * (peer.window(1) // (100 * len(QUESTION))))
    assert not [one for one in peer.settle() if one.kind in (RST_STREAM, GOAWAY)]
    peer.send(*[data(1, QUESTION * 100, flags=0)] * 100)
    assert_stream_error(peer, 1, FLOW_CONTROL_ERROR)
