"""Reads the single request of a unary method once its caller was admitted, and waits for it for a bounded time.

grpcio would read the request before any code of ours runs, on a thread that waits for as long as the peer likes. So
every method is a streaming one to grpcio, and the first message of the stream is the request. Calls of the services in
`kept` run on threads of their own, so that a crowd on the others cannot keep an administrator out. While requests of
one caller keep up to half of the threads waiting, each has REQUEST_TIMEOUT_S to come; a further one has only
CROWDED_TIMEOUT_S, and LATE_TIMEOUT_S if its caller has lately let that time pass: others need the threads.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from numcheck.api.access import this_caller
from numcheck.door.handlers import kind_of, on_threads_of
from numcheck.door.patience import Patience

REQUEST_TIMEOUT_S = 10.0
CROWDED_TIMEOUT_S = 0.5
LATE_TIMEOUT_S, LATE_FOR_S = 0.1, 10.0
SILENT_S, SILENT_FOR_S = 0.04, 1.0


class RequestReader(grpc.ServerInterceptor):
    """Reads requests; it is the last interceptor, behind the one that admits callers."""

    def __init__(
        self, patience: Patience, kept: Mapping[str, ThreadPoolExecutor], *, threads: int, kept_threads: int
    ) -> None:
        """Cancel late requests by `patience`; `kept` has the services with threads of their own, by name.

        Each of those has `kept_threads`, and all others together have `threads`.
        """
        self._patience, self._kept = patience, kept
        self._threads, self._kept_threads = threads, kept_threads
        self._waiting: Counter[tuple[str, str]] = Counter()  # by whose threads, and by caller
        self._silent_until: dict[str, float] = {}  # by whose threads, after a request was long in coming
        self._late_until: dict[str, float] = {}  # by caller, after a request of theirs did not come in time
        self._lock = threading.Lock()

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the method's handler, which reads its single request itself."""
        handler = continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        behaviour = getattr(handler, kind_of(handler))

        def call(requests: Iterator[bytes], context: grpc.ServicerContext, *rest: Any) -> Any:
            return behaviour(self._only(requests, context, details.method), context, *rest)

        on_threads_of(behaviour, call)
        threads = self._kept.get(_service(details.method))
        if threads is not None and not hasattr(call, "experimental_thread_pool"):
            call.experimental_thread_pool = threads  # type: ignore[attr-defined]
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(call)
        return grpc.stream_unary_rpc_method_handler(call)

    def threads_of(self, method: str) -> str:
        """Return whose threads run a method's calls: its service's, if that has its own, or those of all others, ""."""
        service = _service(method)
        return service if service in self._kept else ""

    def waits_for_silent(self, whose: str) -> bool:
        """Return True if half of these threads wait for requests, or one has lately waited for long."""
        with self._lock:
            waiting = sum(count for (threads, _), count in self._waiting.items() if threads == whose)
        return waiting >= max(self._count(whose) // 2, 1) or time.monotonic() < self._silent_until.get(whose, 0)

    def _count(self, whose: str) -> int:
        return self._kept_threads if whose else self._threads

    def _only(self, requests: Iterator[bytes], context: grpc.ServicerContext, method: str) -> bytes:
        """Return the request; if it does not come in time, grpcio raises and the call ends."""
        uri = this_caller().uri
        with self._waited_for(self.threads_of(method), uri) as is_crowded:
            began = time.monotonic()
            is_late = began < self._late_until.get(uri, 0)
            timeout_s = REQUEST_TIMEOUT_S if not is_crowded else LATE_TIMEOUT_S if is_late else CROWDED_TIMEOUT_S
            try:
                with self._patience.at_most(timeout_s, context.cancel):
                    for request in requests:
                        return request
            except Exception:
                # A caller that gives up a call at once has kept a thread for hardly any time.
                if (ended := time.monotonic()) - began >= CROWDED_TIMEOUT_S / 2:
                    self._late_until[uri] = ended + LATE_FOR_S
                raise
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f'"{method}" requires exactly one request message.')
        raise AssertionError("abort always raises")

    @contextmanager
    def _waited_for(self, whose: str, uri: str) -> Iterator[bool]:
        """Count a request of a caller during the block; yield True if their requests keep over half of the threads."""
        key, began = (whose, uri), time.monotonic()
        with self._lock:
            self._waiting[key] += 1
            is_crowded = self._waiting[key] > max(self._count(whose) // 2, 1)
        try:
            yield is_crowded
        finally:
            with self._lock:
                if (ended := time.monotonic()) - began > SILENT_S:
                    self._silent_until[whose] = ended + SILENT_FOR_S
                self._waiting[key] -= 1
                if not self._waiting[key]:
                    del self._waiting[key]


def _service(method: str) -> str:
    return method[1:].partition("/")[0]
