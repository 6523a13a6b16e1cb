"""CheckService over the API listener: translation only.

CheckNumbers and its stream pass the request's bytes to the kernel and the kernel's bytes back: no protobuf object a
request, no Python object a number. Nothing here knows grpcio's server; serving/ registers the handlers.
"""

import threading
from collections.abc import Callable, Iterator
from typing import cast

import grpc

from numcheck import e164
from numcheck.active import Operator
from numcheck.api.access import CallersIndex
from numcheck.api.asking import answered_count
from numcheck.api.calls import parsed, refusing, refusing_stream
from numcheck.api.errors import abort
from numcheck.errors import TooManyStreams, UnknownMethod
from numcheck.index import AgreedIndex, PublishedIndex
from numcheck.timestamps import timestamp
from numcheck.v1 import check_pb2, number_pb2

SERVICE_NAME = "numcheck.v1.CheckService"


class CheckService:
    """Answers from the published index, each request from one version of it."""

    name = SERVICE_NAME

    def __init__(
        self,
        published: PublishedIndex | AgreedIndex | CallersIndex,
        *,
        default_region: str,
        numbers_per_call_max: int,
        stream_count_max: int,
        asked: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """`stream_count_max` bounds the streams open at once: each holds a thread of the listener while it is open.

        `asked` is told how many numbers each answer is about.
        """
        self._published, self._asked = published, asked
        self._default_region = default_region
        self._numbers_per_call_max = numbers_per_call_max
        self._stream_places = threading.BoundedSemaphore(stream_count_max)

    def check_number(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """One number, as a person writes it."""
        text = parsed(check_pb2.CheckNumberRequest, request).number
        index = self._published.get()
        facts = index.facts(e164.parse(text, self._default_region))
        response = check_pb2.CheckNumberResponse(
            status=cast("number_pb2.NumberStatus", facts.status),
            number=facts.number,
            serving_operator=_try_operator_message(facts.serving_operator),
            range_holder=_try_operator_message(facts.range_holder),
            ported=facts.ported,
            region=facts.region,
            index_version=index.index_version,
        )
        self._asked(1)
        return response.SerializeToString()

    def check_numbers(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """Many numbers, bytes in and bytes out."""
        table = self._published.get().table
        return self._told(table.check_numbers(request, numbers_per_call_max=self._numbers_per_call_max))

    def stream_check_numbers(self, requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        """Many numbers a message, each message answered from the newest index then."""
        if not self._stream_places.acquire(blocking=False):
            raise TooManyStreams("as many streams as this node serves at once are open")
        try:
            for request in requests:
                table = self._published.get().table
                yield self._told(
                    table.check_numbers(request, numbers_per_call_max=self._numbers_per_call_max, echo_request_id=True)
                )
        finally:
            self._stream_places.release()

    def _told(self, response: bytes) -> bytes:
        self._asked(answered_count(response))
        return response

    def list_operators(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """Every operator that the index knows, by id."""
        parsed(check_pb2.ListOperatorsRequest, request)
        operators = self._published.get().operators
        messages = [operator_message(operators[operator_id]) for operator_id in sorted(operators)]
        return check_pb2.ListOperatorsResponse(operators=messages).SerializeToString()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service as grpcio registers it; with no (de)serialiser, grpcio passes bytes."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "CheckNumber": unary(refusing(self.check_number)),
                "CheckNumbers": unary(refusing(self.check_numbers)),
                "StreamCheckNumbers": stream(refusing_stream(self.stream_check_numbers)),
                "ListOperators": unary(refusing(self.list_operators)),
            },
        )


class UnknownMethods(grpc.GenericRpcHandler):
    """The last handler: refuses every method that no other has, with the details that every error of ours has."""

    def service(self, _call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A handler that refuses, whatever the method."""

        def refuse(_requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            abort(context, UnknownMethod("this node has no such method"))

        return grpc.stream_stream_rpc_method_handler(refuse)


def _try_operator_message(operator: Operator | None) -> number_pb2.Operator | None:
    return None if operator is None else operator_message(operator)


def operator_message(operator: Operator) -> number_pb2.Operator:
    """The operator as the API has it."""
    return number_pb2.Operator(
        operator_id=operator.operator_id,
        display_name=operator.display_name,
        tax_id=operator.tax_id or "",
        data_version=operator.data_version,
        data_time=timestamp(operator.data_time),
        synthetic=operator.synthetic,
    )
