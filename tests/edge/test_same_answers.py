"""Both doors give the same bytes, statuses and details: grpcio asks both."""

import gzip
import random
import struct
import time
from types import MappingProxyType
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from peer import Doors

from numcheck.index import PublishedIndex
from numcheck.v1 import check_pb2

SERVICE = "/numcheck.v1.CheckService/"
REQUESTS = 1_500


def outcome(call: Any) -> tuple[Any, ...]:
    try:
        return ("answer", call())
    except grpc.RpcError as error:
        details = [pair.value for pair in error.trailing_metadata() or () if pair.key == "grpc-status-details-bin"]
        return ("refused", error.code(), error.details(), details)


def ask_both(channels: Any, path: str, request: bytes) -> list[tuple[Any, ...]]:
    return [outcome(lambda c=c: c.unary_unary(path)(request, timeout=10)) for c in channels]


def varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def random_request(rng: random.Random) -> bytes:
    """Well-formed, split, unpacked, with strange fields, cut, or noise."""
    parts = []
    for _ in range(rng.randrange(5)):
        numbers = [
            rng.choice((79_000_000_000 + rng.randrange(10**9), rng.getrandbits(64)))
            for _ in range(rng.choice((0, 1, 3, 200)))
        ]
        packed = b"".join(struct.pack("<Q", number) for number in numbers)
        parts.append(
            rng.choice(
                (
                    b"\x0a" + varint(len(packed)) + packed,
                    b"".join(b"\x09" + struct.pack("<Q", number) for number in numbers),
                    b"\x10" + varint(rng.getrandbits(64)),
                    b"\x18" + varint(rng.choice((0, 1, 10**6))),
                    b"\x7a\x03abc",
                    b"\x23\x08\x01\x24",
                )
            )
        )
    body = b"".join(parts)
    if rng.random() < 0.2 and body:
        body = body[: rng.randrange(len(body))]
    if rng.random() < 0.1:
        body += rng.randbytes(rng.randrange(1, 8))
    return body


@pytest.fixture
def channels(doors: Doors) -> Any:
    with grpc.insecure_channel(doors.api.address) as api, grpc.insecure_channel(doors.native.address) as native:
        yield api, native


def test_both_doors_answer_the_same_when_check_numbers_is_asked_at_random(channels: Any) -> None:
    rng = random.Random(4)
    for _ in range(REQUESTS):
        request = random_request(rng)
        answers = ask_both(channels, SERVICE + "CheckNumbers", request)
        assert answers[0] == answers[1], request.hex()


def test_both_doors_answer_the_same_when_check_recycled_is_asked_at_random(channels: Any) -> None:
    rng = random.Random(6)
    for _ in range(300):
        request = random_request(rng) + rng.choice((b"", b"\x12\x08" + rng.randbytes(8), b"\x11" + rng.randbytes(8)))
        answers = ask_both(channels, SERVICE + "CheckRecycled", request)
        assert answers[0] == answers[1], request.hex()
    full = check_pb2.CheckRecycledRequest(numbers=[79_161_234_567] * 65_536, since_unix_s=[2**40] * 65_536)
    answers = ask_both(channels, SERVICE + "CheckRecycled", full.SerializeToString())
    assert answers[0] == answers[1]
    assert len(check_pb2.CheckRecycledResponse.FromString(answers[0][1]).statuses) == 65_536


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_both_doors_answer_the_same_when_a_stream_is_asked_at_random(channels: Any, compression: Any) -> None:
    rng = random.Random(5)

    def drive(channel: Any, requests: list[bytes]) -> list[Any]:
        answers: list[Any] = []
        call = channel.stream_stream(SERVICE + "StreamCheckNumbers")(
            iter(requests), timeout=10, compression=compression
        )
        try:
            answers.extend(call)
        except grpc.RpcError as error:
            answers.append((error.code(), error.details(), [p.value for p in error.trailing_metadata()]))
        return answers

    for _ in range(60):
        requests = [random_request(rng) for _ in range(rng.randrange(12))]
        answers = [drive(channel, requests) for channel in channels]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "text", ["+79161234567", "8 916 123-45-67", "", "x", "+1", "７９１６", "+7 916 123 45 67 ext. 5"]
)
def test_both_doors_answer_the_same_when_one_number_is_asked(channels: Any, text: str) -> None:
    request = check_pb2.CheckNumberRequest(number=text).SerializeToString()
    answers = ask_both(channels, SERVICE + "CheckNumber", request)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("path", [SERVICE + "ListOperators", SERVICE + "Nothing", "/a/b"])
@pytest.mark.parametrize("body", [b"", b"\x07", b"\x0a\x01x"])
def test_both_doors_answer_the_same_when_the_path_is(channels: Any, path: str, body: bytes) -> None:
    answers = ask_both(channels, path, body)
    assert answers[0] == answers[1]


def test_both_doors_refuse_alike_when_there_are_too_many_numbers(channels: Any) -> None:
    request = check_pb2.CheckNumbersRequest(numbers=[1] * 65_537).SerializeToString()
    answers = ask_both(channels, SERVICE + "CheckNumbers", request)
    assert answers[0] == answers[1]
    assert answers[0][1] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_is_refused_when_it_is_larger_than_the_limit_or_inflates_to_more(channels: Any) -> None:
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        for channel in channels:
            call = channel.unary_unary(SERVICE + "CheckNumbers")
            found = outcome(lambda call=call, c=compression: call(bytes(2**20 + 1_025), timeout=10, compression=c))
            assert found[1] is grpc.StatusCode.RESOURCE_EXHAUSTED
            told = b"".join(found[3])  # by grpcio's own server nothing
            assert (b"MESSAGE_TOO_LARGE" in told, b"RetryInfo" in told) == (channel is channels[1], False)
    assert len(gzip.compress(bytes(2**20 + 1_025))) < 2_000


def test_a_large_stream_is_answered_whole_and_in_order_when_the_reader_is_slow(channels: Any) -> None:
    def requests() -> Any:
        for i in range(60):
            yield check_pb2.CheckNumbersRequest(numbers=[79_161_234_567] * 60_000, request_id=i + 1).SerializeToString()

    call = channels[1].stream_stream(SERVICE + "StreamCheckNumbers")(requests(), timeout=60)
    for i, answer in enumerate(call, 1):
        response = check_pb2.CheckNumbersResponse.FromString(answer)
        assert (response.request_id, len(response.statuses), len(response.operator_ids)) == (i, 60_000, 60_000)
        time.sleep(0.005)
    assert i == 60


def test_health_and_its_watch_follow_the_node(doors: Doors, channels: Any) -> None:
    stub = health_pb2_grpc.HealthStub(channels[1])
    request = health_pb2.HealthCheckRequest(service="numcheck.v1.CheckService")
    watch = stub.Watch(request, timeout=20)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    doors.native.set_serving(serving=False)
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert stub.Check(request, timeout=5).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    with pytest.raises(grpc.RpcError) as refused:
        stub.Check(health_pb2.HealthCheckRequest(service="x"), timeout=5)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_next_request_is_answered_from_the_new_index_when_one_is_published(doors: Doors, channels: Any) -> None:
    before = doors.index.table

    class Other:
        table = type(before)(
            directory=bytes(8),
            classes=CLASSES,
            extents=[bytes(8_000)],
            spans=[(0, 0, 1)],
            spaces=[(0, 0, 1)],
            index_version=2**40,
        )
        ranges, regions, operators = memoryview(b""), (), MappingProxyType({})

        def for_agreements(self, _agreements: Any) -> "Other":
            return self

    doors.native._publish(Other())  # type: ignore[arg-type]
    answer = channels[1].unary_unary(SERVICE + "CheckNumbers")(b"", timeout=5)
    assert check_pb2.CheckNumbersResponse.FromString(answer).index_version == 2**40


# Two classes, nothing allotted and no number at all: operator 0, whose varint is one byte.
CLASSES = struct.pack("<I2BBB8s", 0, 2, 2, 1, 0, b"") + struct.pack("<I2BBB8s", 0, 1, 1, 1, 0, b"")


def test_no_index_is_unavailable_with_details(settings: Any, index: Any) -> None:
    from numcheck.door.native_door import NativeDoor  # noqa: PLC0415

    listener = NativeDoor(settings, PublishedIndex())
    with grpc.insecure_channel(listener.address) as channel:
        found = outcome(lambda: channel.unary_unary(SERVICE + "CheckNumbers")(b"", timeout=5))
    listener.stop(1)
    assert found[1] is grpc.StatusCode.UNAVAILABLE
    assert b"INDEX_NOT_READY" in found[3][0]


def test_a_stream_under_way_ends_by_itself_when_the_node_stops(doors: Doors, channels: Any) -> None:
    def requests() -> Any:
        for i in range(10):
            yield check_pb2.CheckNumbersRequest(numbers=[1], request_id=i).SerializeToString()
            time.sleep(0.05)

    call = channels[1].stream_stream(SERVICE + "StreamCheckNumbers")(requests(), timeout=20)
    next(call)
    doors.native.stop(5)
    assert len(list(call)) == 9
