"""Counts the plain door's calls, by method and status."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any

import grpc
from google.protobuf.descriptor_pool import Default

from numcheck.door.handlers import behind

UNKNOWN_METHOD = ""


class CallCounter(grpc.ServerInterceptor):
    """Counts calls; it is the first interceptor, so that it counts what the others refuse as well."""

    def __init__(self, services: Collection[str]) -> None:
        """Count the calls of these services, whose descriptors are loaded, by method, and all others under one name."""
        pool = Default()
        self._methods = {
            f"/{service}/{method.name}" for service in services for method in pool.FindServiceByName(service).methods
        }
        self._counts: Counter[tuple[str, str]] = Counter()
        self._turn = threading.Lock()

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many calls have ended, by method (or UNKNOWN_METHOD) and name of status."""
        with self._turn:
            return dict(self._counts)

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the handler of a method, counted."""
        handler = continuation(details)
        if handler is None:
            return None
        method = details.method if details.method in self._methods else UNKNOWN_METHOD
        streaming = handler.response_streaming
        return behind(handler, lambda behaviour: self._counted(behaviour, method, streaming=streaming))

    def _counted(self, behaviour: Any, method: str, *, streaming: bool) -> Any:
        def call(request: Any, context: grpc.ServicerContext, *rest: Any) -> Any:
            answered = threading.Event()
            context.add_callback(lambda: self._count(method, context, answered=answered.is_set()))
            found = behaviour(request, context, *rest)
            if streaming and found is not None:
                return _to_the_end(found, answered.set)
            if not streaming:
                answered.set()
            return found

        return call

    def _count(self, method: str, context: grpc.ServicerContext, *, answered: bool) -> None:
        code = context.code()  # type: ignore[attr-defined]
        if code is None:
            code = grpc.StatusCode.OK if answered else grpc.StatusCode.CANCELLED
        with self._turn:
            self._counts[method, code.name] += 1


def _to_the_end(answers: Iterator[bytes], ended: Callable[[], None]) -> Iterator[bytes]:
    yield from answers
    ended()
