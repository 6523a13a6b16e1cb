"""Both doors say the same of the node's health, and refuse alike."""

from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from numcheck.config import Settings
from numcheck.door.native_door import NativeDoor
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import Index, PublishedIndex
from numcheck.serving.services import check_service

NAMES = ["numcheck.v1.CheckService", "numcheck.v1.NumberingService"]


@pytest.fixture
def channels(index: Index, settings: Settings) -> Iterator[list[grpc.Channel]]:
    published = PublishedIndex()
    api = PlainDoor(settings, [check_service(published, settings)], Watches())
    native = NativeDoor(settings, published)
    published.publish(index)
    native.set_serving(serving=True)
    api.set_serving(serving=True)
    with grpc.insecure_channel(api.address) as one, grpc.insecure_channel(native.address) as other:
        yield [one, other]
    native.stop(1)
    api.stop(1)


def outcome(channel: grpc.Channel, path: str, request: bytes) -> tuple[object, ...]:
    """The first answer, or the refusal with all its details."""
    try:
        if path.endswith("Check"):
            return (channel.unary_unary(path)(request, timeout=10),)
        call = channel.unary_stream(path)(request, timeout=10)
        answer = next(call)
    except grpc.RpcError as error:
        details = [pair.value for pair in error.trailing_metadata() if pair.key == "grpc-status-details-bin"]
        return error.code(), error.details(), details
    call.cancel()
    return (answer,)


@pytest.mark.parametrize("path", ["Check", "Watch"])
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x07",
        b"\x0a\x05ab",
        b"\x0a\x01\xff",
        b"\x10\x01",
        *(HealthCheckRequest(service=name).SerializeToString() for name in ("", "x", NAMES[0])),
    ],
)
def test_both_doors_answer_the_same_when_health_is_asked(
    channels: list[grpc.Channel], path: str, request_bytes: bytes
) -> None:
    answers = [outcome(channel, f"/grpc.health.v1.Health/{path}", request_bytes) for channel in channels]
    assert answers[0] == answers[1]


def test_health_knows_the_services_that_are_served_there_and_no_other(channels: list[grpc.Channel]) -> None:
    elsewhere = HealthCheckRequest(service=NAMES[1]).SerializeToString()
    unknown = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN).SerializeToString()
    for channel in channels:
        assert outcome(channel, "/grpc.health.v1.Health/Check", elsewhere)[0] is grpc.StatusCode.NOT_FOUND
        assert outcome(channel, "/grpc.health.v1.Health/Watch", elsewhere) == (unknown,)
