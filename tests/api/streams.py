"""A stream that a test feeds and reads by hand."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.api.calls import DEADLINE_S


class OpenStream:
    """StreamCheckNumbers under way."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.SimpleQueue[check_pb2.CheckNumbersRequest | None] = queue.SimpleQueue()
        stub = check_pb2_grpc.CheckServiceStub(channel)
        self.call: Any = stub.StreamCheckNumbers(iter(self._requests.get, None), timeout=DEADLINE_S)

    def ask(self, *numbers: int, **fields: int) -> check_pb2.CheckNumbersResponse:
        """Send a request and wait for its answer."""
        self._requests.put(check_pb2.CheckNumbersRequest(numbers=numbers, **fields))
        answer: check_pb2.CheckNumbersResponse = next(self.call)
        return answer

    def close(self) -> None:
        """Close the caller's side."""
        self._requests.put(None)


@contextmanager
def opened(channel: grpc.Channel) -> Iterator[OpenStream]:
    """A stream that ends with the test."""
    stream = OpenStream(channel)
    try:
        yield stream
    finally:
        stream.close()
        stream.call.cancel()
