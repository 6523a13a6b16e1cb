"""Puts something before a method that grpcio calls, whatever the method's kind."""

from collections.abc import Callable
from typing import Any

THREADS = ("experimental_non_blocking", "experimental_thread_pool")
"""What grpcio reads of a behaviour: which threads call it, and that it sends by a callback instead of an iterator."""


def kind_of(handler: Any) -> str:
    """Return the attribute of a handler that holds its behaviour."""
    return "_".join("stream" if one else "unary" for one in (handler.request_streaming, handler.response_streaming))


def on_threads_of(behaviour: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `call`, to be called on the threads, and in the way, that `behaviour` was."""
    for attribute in THREADS:
        if hasattr(behaviour, attribute):
            setattr(call, attribute, getattr(behaviour, attribute))
    return call


def behind(handler: Any, wrap: Callable[[Any], Callable[..., Any]]) -> Any:
    """Return the handler with `wrap(behaviour)` in its behaviour's place."""
    kind = kind_of(handler)
    behaviour = getattr(handler, kind)
    return handler._replace(**{kind: on_threads_of(behaviour, wrap(behaviour))})
