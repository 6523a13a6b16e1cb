"""Turns exceptions of methods that grpcio calls into statuses, and tells a stream that was cut from one that ended."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc
from grpc_status import rpc_status

from numcheck.api.calls import CallerWaits, serve
from numcheck.api.errors import log_failure, status_of
from numcheck.door.attended import Attended
from numcheck.door.patience import Patience
from numcheck.errors import ConcurrentPush

SENDING = "send_initial_metadata"  # as grpc._server names the operation among those that are due
SENDING_POLL_S = 0.0005
GRACE_S = 0.05  # for a cut to be heard of, where grpcio does not say what is due


def trace_parent_of(context: Any) -> str:
    """Return the `traceparent` of a call's metadata; empty if there is none, or more than one."""
    found = [value for name, value in context.invocation_metadata() or () if name == "traceparent"]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


def refuse(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End the call with the error's status, and log it if it is not one of ours."""
    serve(context, trace_parent_of)
    log_failure(error)
    abort(context, error)


def finish(context: grpc.ServicerContext, send: Callable[[bytes | None], None], error: Exception) -> None:
    """End a call that is answered by the callback `send` with the error's status, on any thread."""
    status = rpc_status.to_status(status_of(error))
    context.set_code(status.code)
    context.set_details(status.details)
    context.set_trailing_metadata(status.trailing_metadata)
    send(None)


def abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End the call with the error's status."""
    context.abort_with_status(rpc_status.to_status(status_of(error)))
    raise AssertionError("abort_with_status always raises")


def refusing(
    answer: Callable[[bytes, CallerWaits], bytes],
) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """Turn every exception of a unary method into a status."""

    def call(request: bytes, context: grpc.ServicerContext) -> bytes:
        serve(context, trace_parent_of)
        try:
            return answer(request, context)
        except Exception as error:
            refuse(context, error)

    return call


def refusing_stream(
    answer: Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]],
) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]:
    """Turn every exception of a streaming method into a status, unless its client has gone."""

    def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        serve(context, trace_parent_of)
        try:
            yield from answer(requests, context)
        except Exception as error:
            if context.is_active():
                refuse(context, error)

    return call


def to_the_end(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Yield the requests of a stream that has to be whole; raise unless the caller itself has ended it.

    grpcio ends the requests of a stream that was cut just as it ends those of a whole one, and learns of the cut from
    the next event. Events are handled in their order, so once an operation that is begun now has been handled, a cut
    before it has been as well. That operation is the sending of the initial metadata, which is due anyway.
    """
    yield from requests
    context.send_initial_metadata(())  # raises what grpcio passes over in silence if the cut is known already
    _await_sent(context)
    if not context.is_active():
        yield from requests  # raises the same
        raise ConcurrentPush("the caller went away")


def _await_sent(context: grpc.ServicerContext) -> None:
    """Wait until the initial metadata has been sent or the call has ended; grpcio has no public way to wait for it."""
    state: Any = getattr(context, "_state", None)
    if state is None:
        time.sleep(GRACE_S)
        return
    with state.condition:
        while SENDING in state.due and context.is_active():
            state.condition.wait(SENDING_POLL_S)


def refusing_exchange(
    answer: Callable[[Iterator[bytes], CallerWaits], Iterator[bytes]], patience: Patience
) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]:
    """Turn every exception of a method of two streams into a status; the answers sent before it stay valid."""

    def answer_all(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        return answer(Attended(requests, context, patience), context)

    return refusing_stream(answer_all)


def refusing_push(
    answer: Callable[[Iterator[bytes], CallerWaits], bytes], patience: Patience
) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
    """Turn every exception of a client-streaming method into a status, unless its client has gone."""

    def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        serve(context, trace_parent_of)
        try:
            return answer(to_the_end(Attended(requests, context, patience), context), context)
        except Exception as error:
            if context.is_active():
                refuse(context, error)
            abort(context, error)  # nobody hears it; of anything else that is raised grpcio writes a log

    return call
