"""The hot path: CheckNumbers and its stream make no protobuf object, neither for a request nor for a number."""

import grpc
import pytest

from numcheck.v1 import check_pb2, number_pb2
from tests.api.calls import call_raw, refusal, stream_raw
from tests.api.listeners import listening
from tests.fuzz.wire import packed
from tests.serving import small

BODY = packed(small.ACTIVE, small.INACTIVE)


class Trap:
    """A module that lets nobody have a thing of it."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was asked for")


@pytest.fixture
def trapped(monkeypatch, published):
    """A channel to a listener whose module for CheckService has no protobuf classes any more."""
    for name in ("check_pb2", "number_pb2"):
        monkeypatch.setattr(f"numcheck.api.check.{name}", Trap())
    with listening(published) as (_, channel):
        yield channel


def test_numbers_are_checked_when_there_is_no_protobuf_class(trapped):
    """Unary and streamed: bytes in, bytes out."""
    for answer in (call_raw(trapped, "CheckNumbers", BODY), *stream_raw(trapped, BODY, BODY)):
        read = check_pb2.CheckNumbersResponse.FromString(answer)
        assert list(read.statuses) == [number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_INACTIVE]


def test_trap_catches_who_makes_a_protobuf_object(trapped):
    """CheckNumber does, so the test above can fail."""
    assert refusal(lambda: call_raw(trapped, "CheckNumber", BODY)).code == grpc.StatusCode.INTERNAL
