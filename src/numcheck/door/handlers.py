"""Wraps the methods that grpcio calls, of every kind."""

from collections.abc import Callable
from typing import Any

THREADS = ("experimental_non_blocking", "experimental_thread_pool")
"""Attributes that grpcio reads from a behaviour: it sends by a callback instead of an iterator; its threads."""


def kind_of(handler: Any) -> str:
    """Return the attribute of a handler that holds its behaviour."""
    return "_".join("stream" if one else "unary" for one in (handler.request_streaming, handler.response_streaming))


def on_threads_of(behaviour: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `call`, which grpcio is to call as it would `behaviour`: on the same threads, in the same way."""
    for attribute in THREADS:
        if hasattr(behaviour, attribute):
            setattr(call, attribute, getattr(behaviour, attribute))
    return call


def behind(handler: Any, wrap: Callable[[Any], Callable[..., Any]]) -> Any:
    """Return the handler with `wrap(behaviour)` instead of its behaviour."""
    kind = kind_of(handler)
    behaviour = getattr(handler, kind)
    return handler._replace(**{kind: on_threads_of(behaviour, wrap(behaviour))})
