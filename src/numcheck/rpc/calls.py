"""What the servicers share: reading requests, and making every exception of a method a status."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.errors import MalformedMessage
from numcheck.rpc.errors import abort, log_failure


def parsed(message_type: Any, request: bytes) -> Any:
    """The request as a message of its type; MalformedMessage if it is none."""
    try:
        return message_type.FromString(request)
    except DecodeError:
        raise MalformedMessage(f"the request is not a well-formed {message_type.DESCRIPTOR.name}") from None


def timestamp(moment: datetime) -> Timestamp:
    """The moment as the API has it."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def refuse(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End the call with the error's status, and log it if it is not one of ours."""
    log_failure(error)
    abort(context, error)


def refusing(
    answer: Callable[[bytes, grpc.ServicerContext], bytes],
) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """Make every exception of a unary method a status."""

    def call(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return answer(request, context)
        except Exception as error:
            refuse(context, error)

    return call


def refusing_stream(
    answer: Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]],
) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]:
    """Make every exception of a streaming method a status; a client that went away is nobody to refuse."""

    def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            yield from answer(requests, context)
        except Exception as error:
            if context.is_active():
                refuse(context, error)

    return call


def refusing_push(
    answer: Callable[[Iterator[bytes], grpc.ServicerContext], bytes],
) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
    """Make every exception of a client-streaming method a status; a client that went away is nobody to refuse."""

    def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        try:
            return answer(requests, context)
        except Exception as error:
            if not context.is_active():
                raise
            refuse(context, error)

    return call
