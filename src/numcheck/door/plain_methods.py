"""Registers a door's methods with grpcio's server."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from numcheck.access import Runs
from numcheck.door.feeds import Feeds
from numcheck.door.methods import NO_SUCH_METHOD, Method
from numcheck.door.patience import Patience
from numcheck.door.refusing import refuse, refusing, refusing_exchange, refusing_push, refusing_stream
from numcheck.door.watches import Watches
from numcheck.errors import TooManyStreams, UnknownMethod
from numcheck.steps import Steps, alone


class PlainMethods(grpc.GenericRpcHandler):
    """Handlers of a table's methods for grpcio, which passes bytes where it has no (de)serialiser."""

    def __init__(
        self,
        methods: Sequence[Method],
        watches: Watches,
        feeds: Feeds,
        patience: Patience,
        *,
        stream_count_max: int,
    ) -> None:
        """Register the methods; `stream_count_max` bounds the streams of single calls, each of which keeps a thread."""
        self._watches, self._feeds, self._patience = watches, feeds, patience
        self._stream_slots = threading.BoundedSemaphore(stream_count_max)
        self._handlers = {method.path: self._handler(method) for method in methods}
        self._unknown: Any = grpc.stream_stream_rpc_method_handler(self._refuse_unknown)
        self.unknown = NO_SUCH_METHOD

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call's method; for an unknown method, one that refuses with details."""
        return self._handlers.get(details.method, self._unknown)

    def _refuse_unknown(self, _requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        refuse(context, UnknownMethod(self.unknown))

    def _handler(self, method: Method) -> Any:
        match method.runs:
            case Runs.WATCH:
                return self._watches.method(method.answer)
            case Runs.FEED:
                return self._feeds.method(method.answer)
            case Runs.EACH:
                return grpc.stream_stream_rpc_method_handler(refusing_stream(self._each(method.answer)))
            case Runs.LOOKUP | Runs.GROUPED:
                return grpc.unary_unary_rpc_method_handler(refusing(_in_steps(method.answer)))
            case _ if method.streams_requests:
                return self._taking_stream(method)
            case _:
                return grpc.unary_unary_rpc_method_handler(refusing(method.answer))

    def _taking_stream(self, method: Method) -> Any:
        if method.streams_answers:
            return grpc.stream_stream_rpc_method_handler(refusing_exchange(method.answer, self._patience))
        return grpc.stream_unary_rpc_method_handler(refusing_push(method.answer, self._patience))

    def _each(self, answer: Callable[..., bytes]) -> Callable[..., Iterator[bytes]]:
        def answer_all(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            if not self._stream_slots.acquire(blocking=False):
                raise TooManyStreams("as many streams as this node serves at once are open")
            try:
                for request in requests:
                    yield answer(request, context)
            finally:
                self._stream_slots.release()

        return answer_all


def _in_steps(answer: Callable[..., Steps[bytes]]) -> Callable[..., bytes]:
    """Take the steps of each call on the thread that runs it here; transactions are shared nevertheless."""
    return lambda request, context: alone(answer(request, context))
