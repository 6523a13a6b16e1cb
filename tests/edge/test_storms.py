"""A client that keeps the protocol loses no connection by what its calls come to, at any rate, on either door.

By counts: other calls on the same connection all are answered, and what was counted as an attack is by far outdone.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import grpc
import pytest
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import GRPCError
from test_strangers import PATH, REQUEST, AsBytes

from tests.conformance.calls import data, headers, message, numbers
from tests.conformance.http2 import ENHANCE_YOUR_CALM, GOAWAY, PING, PRIORITY, Peer, frame, rst_stream, window_update
from tests.edge.peer import Doors

CALL_COUNT = 5_000  # more than twice what may be reset in a burst before its answer
BESIDE_COUNT = 500
STREAM = "/numcheck.v1.CheckService/StreamCheckNumbers"
BAD = b"\x07"
LARGE = REQUEST[:1] + b"\x80\xf1\x04" + REQUEST[2:] * 10_000
EACH_DOOR = pytest.mark.parametrize("name", ["api", "native"])


@contextmanager
def channel_to(doors: Doors, name: str) -> Iterator[grpc.Channel]:
    """One connection, of its own."""
    listener = doors.api if name == "api" else doors.native
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(listener.address, options=options) as channel:
        yield channel


def outcome(channel: grpc.Channel, request: bytes, timeout_s: float) -> grpc.StatusCode:
    try:
        channel.unary_unary(PATH)(request, timeout=timeout_s)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def cancel(channel: grpc.Channel, request: bytes) -> grpc.StatusCode:
    call = channel.unary_unary(PATH).future(request, timeout=60)
    call.cancel()
    code: grpc.StatusCode = call.code()
    return code


STORMS = {
    "errors": (partial(outcome, request=BAD, timeout_s=60), {grpc.StatusCode.INVALID_ARGUMENT}),
    "deadlines": (
        partial(outcome, request=REQUEST, timeout_s=0.001),
        {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED},
    ),
    "cancellations": (partial(cancel, request=REQUEST), {grpc.StatusCode.CANCELLED, grpc.StatusCode.OK}),
    "cancellations of large calls": (partial(cancel, request=LARGE), {grpc.StatusCode.CANCELLED, grpc.StatusCode.OK}),
}


@EACH_DOOR
@pytest.mark.parametrize("kind", STORMS)
def test_calls_beside_a_storm_of_failing_ones_are_all_answered(doors: Doors, name: str, kind: str) -> None:
    """grpcio resets a call whose status came without a message, and each that is cancelled or late."""
    storm, expected = STORMS[kind]
    count = CALL_COUNT // 5 if "large" in kind or name == "api" else CALL_COUNT
    with channel_to(doors, name) as channel, ThreadPoolExecutor(8) as threads:
        beside = [threads.submit(outcome, channel, REQUEST, 60) for _ in range(BESIDE_COUNT)]
        found = Counter(threads.map(lambda _: storm(channel), range(count)))
        assert set(found) <= expected, found
        assert {one.result() for one in beside} == {grpc.StatusCode.OK}
        assert outcome(channel, REQUEST, 60) is grpc.StatusCode.OK
    if name == "native":
        assert sum(one.accepted for one in doors.native.counters()) == 1


async def cancelled_by_grpclib(address: str, count: int) -> list[object]:
    """Calls that fail, calls that are given up as soon as they are sent, and in the end one that is answered."""
    host, port = address.split(":")
    async with Channel(host, int(port), codec=AsBytes()) as channel:
        ask = UnaryUnaryMethod(channel, PATH, bytes, bytes)
        for _ in range(count):
            with pytest.raises(GRPCError):
                await ask(BAD, timeout=60)
            async with ask.open(timeout=60) as stream:
                await stream.send_message(REQUEST, end=True)
                await stream.cancel()
        return [await ask(REQUEST, timeout=60)]


def test_grpclib_may_cancel_as_often_as_it_likes(doors: Doors) -> None:
    expected = doors.index.table.check_numbers(REQUEST, numbers_per_call_max=1)
    assert asyncio.run(cancelled_by_grpclib(doors.native.address, 1_500)) == [expected]
    assert sum(one.accepted for one in doors.native.counters()) == 1


def test_a_reset_after_the_answer_costs_nothing(doors: Doors) -> None:
    """As grpc-core does it after a status that came alone: by hand, one call after the other."""
    with Peer(doors.native.address) as peer:
        for stream in range(1, 2 * CALL_COUNT, 2):
            peer.send(headers(stream) + data(stream, message(BAD)))
            assert peer.answer(stream).grpc_status == grpc.StatusCode.INVALID_ARGUMENT.value[0]
            peer.send(rst_stream(stream))
        peer.settle()


def test_answers_may_be_read_slowly_by_a_client_that_buffers_none(doors: Doors) -> None:
    """grpcio then gives the window back in many small pieces, several for each answer."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(doors.native.address, options=options) as channel:
        answers = channel.stream_stream(STREAM)(iter([REQUEST] * CALL_COUNT), timeout=60)
        assert sum(1 for _ in answers) == CALL_COUNT


def test_window_may_be_given_back_byte_by_byte_but_no_more_than_was_sent(doors: Doors) -> None:
    with Peer(doors.native.address) as peer:
        peer.send(headers(1) + data(1, numbers(*[79_161_234_567] * 2_000)))
        size = len(peer.answer(1).body)
        assert size > 3_000  # far more pieces than frames that bring nothing
        peer.send(window_update(0, 1) * size)
        peer.settle()
        peer.send(window_update(0, 1) * 5_000)
        goaways = [one for one in peer.rest() if one.kind == GOAWAY]
    assert {one.code for one in goaways} == {ENHANCE_YOUR_CALM}


def test_each_call_may_come_with_a_priority_and_a_ping(doors: Doors) -> None:
    """As some clients measure the way, and order their streams, with each call: at any rate."""
    with Peer(doors.native.address) as peer:
        for stream in range(1, 2 * CALL_COUNT, 2):
            peer.send(frame(PRIORITY, 0, stream, bytes([0, 0, 0, 0, 15])) + headers(stream))
            peer.send(data(stream, numbers(79_161_234_567)) + frame(PING, 0, 0, bytes(8)))
            assert peer.answer(stream).grpc_status == 0
        peer.settle()


def test_a_flood_of_resets_before_the_answers_is_ended_and_told_why(doors: Doors) -> None:
    question = numbers(79_161_234_567)
    flood = b"".join(headers(stream) + data(stream, question) + rst_stream(stream) for stream in range(1, 60_001, 2))
    with Peer(doors.native.address) as peer:
        peer.send(flood)
        goaways = [one for one in peer.rest() if one.kind == GOAWAY]
    assert {one.code for one in goaways} == {ENHANCE_YOUR_CALM}
    assert b"reset before they were answered" in goaways[0].payload[8:]
