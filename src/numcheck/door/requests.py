"""Reads the one request of a unary method when its caller was let in, and waits for it only so long.

grpcio itself reads the request before it calls anything of ours, on a thread that waits for as long as the peer likes.
So every method is a streaming one to grpcio, and the first message of the stream is the request. Calls of the services
in `kept` run on threads of their own: whoever fills the others does not keep an administrator out.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from numcheck.door.handlers import kind_of, on_threads_of
from numcheck.door.patience import Patience

REQUEST_TIMEOUT_S = 10.0


class RequestReader(grpc.ServerInterceptor):
    """Stands next to the methods, behind what judges callers."""

    def __init__(self, patience: Patience, kept: Mapping[str, ThreadPoolExecutor]) -> None:
        """`kept` has the threads of a service, by its name, where they are its own."""
        self._patience, self._kept = patience, kept

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the method's handler, which reads a single request itself."""
        handler = continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        behaviour = getattr(handler, kind_of(handler))

        def call(requests: Iterator[bytes], context: grpc.ServicerContext, *rest: Any) -> Any:
            return behaviour(self._only(requests, context, details.method), context, *rest)

        on_threads_of(behaviour, call)
        threads = self._kept.get(details.method[1:].partition("/")[0])
        if threads is not None and not hasattr(call, "experimental_thread_pool"):
            call.experimental_thread_pool = threads  # type: ignore[attr-defined]
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(call)
        return grpc.stream_unary_rpc_method_handler(call)

    def _only(self, requests: Iterator[bytes], context: grpc.ServicerContext, method: str) -> bytes:
        """Return the request; the call ends, by an exception of grpcio's, if there is none in time."""
        with self._patience.at_most(REQUEST_TIMEOUT_S, context.cancel):
            for request in requests:
                return request
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f'"{method}" requires exactly one request message.')
        raise AssertionError("abort always raises")
