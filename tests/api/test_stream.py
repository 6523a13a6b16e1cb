"""StreamCheckNumbers: an answer a request, in order; how a stream ends, and how many may be open."""

from contextlib import suppress

import grpc
import pytest

from numcheck.v1 import check_pb2, number_pb2
from tests.api.calls import DEADLINE_S, SERVICE, refusal, refusal_of
from tests.api.listeners import listening
from tests.api.streams import opened
from tests.fuzz.wire import packed
from tests.serving import small

ACTIVE, INACTIVE = number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_INACTIVE
TRIES_MAX = 1_000


def request(*numbers, **fields):
    return check_pb2.CheckNumbersRequest(numbers=numbers, **fields)


def test_every_request_is_answered_in_order_with_its_id(stub):
    """500 requests of different sizes; ids of the caller's choice come back, the largest as well."""
    ids = [*range(499), 2**64 - 1]
    numbers = [[small.ACTIVE if place % 3 else small.INACTIVE] * (place % 7) for place in range(500)]
    requests = (request(*batch, request_id=one) for batch, one in zip(numbers, ids, strict=True))
    answers = list(stub.StreamCheckNumbers(requests))
    assert [answer.request_id for answer in answers] == ids
    wanted = [[ACTIVE if number == small.ACTIVE else INACTIVE for number in batch] for batch in numbers]
    assert [list(answer.statuses) for answer in answers] == wanted


def test_stream_ends_with_ok_when_the_caller_closes_its_side(channel):
    """The answers still due come first; a stream on which nothing was asked ends with OK as well."""
    with opened(channel) as asked, opened(channel) as silent:
        assert asked.ask(small.ACTIVE, request_id=1).request_id == 1
        for stream in (asked, silent):
            stream.close()
            assert list(stream.call) == []
            assert stream.call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("bad", "code", "reason"),
    [
        (b"\xff", "INVALID_ARGUMENT", "MALFORMED_MESSAGE"),
        (packed(*[0] * 65_537), "INVALID_ARGUMENT", "TOO_MANY_NUMBERS"),
        (request(min_index_version=2**63).SerializeToString(), "UNAVAILABLE", "INDEX_BEHIND"),
    ],
)
def test_stream_ends_with_the_refusal_when_one_request_is_refused(channel, bad, code, reason):
    """Every answer before the refused request is sent, and nothing after it is answered."""
    good = request(small.ACTIVE, request_id=1).SerializeToString()
    answers, refused = until_refused(channel, good, good, bad, good)
    assert [check_pb2.CheckNumbersResponse.FromString(answer).statuses for answer in answers] == [[ACTIVE]] * 2
    assert (refused.code.name, refused.reason) == (code, reason)


def until_refused(channel, *bodies):
    """The answers on a stream, and the refusal that ended it."""
    answers = []
    try:
        for answer in channel.stream_stream(f"{SERVICE}/StreamCheckNumbers")(iter(bodies), timeout=DEADLINE_S):
            answers.append(answer)
    except grpc.RpcError as error:
        return answers, refusal_of(error)
    raise AssertionError("the stream was not refused")


def test_node_serves_on_when_a_caller_cancels_its_stream(channel, stub):
    """A stream that was cancelled between two answers is cancelled for its caller alone."""
    with opened(channel) as cancelled, opened(channel) as other:
        cancelled.ask(small.ACTIVE)
        cancelled.call.cancel()
        assert refusal(lambda: next(cancelled.call)).code == grpc.StatusCode.CANCELLED
        assert list(other.ask(small.ACTIVE).statuses) == [ACTIVE]
    assert list(stub.CheckNumbers(request(small.ACTIVE)).statuses) == [ACTIVE]


def test_stream_is_refused_when_as_many_as_have_a_place_are_open(published):
    """With RetryInfo; the streams that are open answer on, and so do unary calls: half of the threads are theirs."""
    with listening(published, api_threads=2) as (_, channel), opened(channel) as first:
        first.ask(small.ACTIVE)
        with opened(channel) as second:
            refused = refusal(lambda: second.ask(small.ACTIVE))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
        assert refused.retry_delay_s is not None
        assert list(first.ask(small.ACTIVE).statuses) == [ACTIVE]


def test_place_is_free_again_when_a_stream_has_ended(published):
    """Closed, refused or cancelled: each gives its place back, so that the next stream is served."""
    with listening(published, api_threads=2) as (_, channel):
        with opened(channel) as closed:
            closed.ask(small.ACTIVE)
            closed.close()
            assert list(closed.call) == []
        with opened(channel) as refused:
            refused.ask(small.ACTIVE)
            assert refusal(lambda: refused.ask(min_index_version=2**63)).reason == "INDEX_BEHIND"
        with opened(channel) as cancelled:
            cancelled.ask(small.ACTIVE)
        assert first_served(channel).statuses == [ACTIVE]


def first_served(channel):
    """The answer on the first stream that has a place: the server learns of a cancelled one when it does."""
    for _ in range(TRIES_MAX):
        with opened(channel) as stream, suppress(grpc.RpcError):
            return stream.ask(small.ACTIVE)
    raise AssertionError("the place of a cancelled stream was never free again")


def test_index_is_the_newest_when_a_request_of_a_stream_comes(published, index):
    """A stream does not stay on the index that it began with."""
    with listening(published) as (_, channel), opened(channel) as stream:
        assert list(stream.ask(small.ACTIVE).statuses) == [ACTIVE]
        published.publish(index.with_freshness(small.DATA_TIME.replace(year=2027)))
        assert list(stream.ask(small.ACTIVE).statuses) == [number_pb2.NUMBER_STATUS_UNKNOWN]
