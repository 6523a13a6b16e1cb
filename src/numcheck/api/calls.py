"""Pieces that the methods share: their view of a call, streams of answers, and the reading of a request."""

import math
import secrets
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError

from numcheck.api.slots import Slots
from numcheck.errors import MalformedMessage


class CallerWaits(Protocol):
    """A method's view of its call, without the caller; grpcio's context is one."""

    def is_active(self) -> bool:
        """Return False once nobody waits for an answer."""

    def time_remaining(self) -> float | None:
        """Return for how many seconds the caller still waits; None: without an end."""


Message = Callable[[], bytes]
"""Makes the next message of a watch: the same again, if nothing has changed."""

Pieces = Iterator[list[bytes]]
"""Yields the messages that a feed sends next; an empty list if there are none now. Its end ends the feed."""


class Feed(NamedTuple):
    """A feed: its messages; its service, whose events wake it; and the limits that it counts towards."""

    service: str
    pieces: Pieces
    slots: tuple[Slots, ...]


def parsed(message_type: Any, request: bytes) -> Any:
    """Return the request as a message of its type; MalformedMessage if it is not one."""
    try:
        return message_type.FromString(request)
    except DecodeError:
        raise MalformedMessage(f"the request is not a well-formed {message_type.DESCRIPTOR.name}") from None


class Served:
    """The call that a thread serves, for log lines and traces; its ids are made and read on first use."""

    __slots__ = ("_read_trace_parent", "_request_id", "call", "trace_id")

    def __init__(self, call: CallerWaits, read_trace_parent: Callable[[Any], str]) -> None:
        self.call, self._read_trace_parent = call, read_trace_parent
        self._request_id, self.trace_id = "", ""  # the trace is the node's own, until then the caller's

    @property
    def request_id(self) -> str:
        """The call's own name, 16 hexadecimal digits at random: the same in all that is told of it."""
        self._request_id = self._request_id or secrets.token_hex(8)
        return self._request_id

    @property
    def trace_parent(self) -> str:
        """The caller's `traceparent`; empty if it sent none."""
        return self._read_trace_parent(self.call)


_served: ContextVar[Served | None] = ContextVar("served", default=None)


def serve(call: CallerWaits, read_trace_parent: Callable[[Any], str]) -> None:
    """Note that this thread serves the call; repeated, it changes nothing."""
    known = _served.get()
    if known is None or known.call is not call:
        _served.set(Served(call, read_trace_parent))


def serve_again(known: Served) -> None:
    """Note that this thread serves a call which another thread may have served before."""
    _served.set(known)


def serve_nobody() -> None:
    """Note that this thread serves no call."""
    _served.set(None)


def served() -> Served | None:
    """Return the call that this thread serves, if it serves one."""
    return _served.get()


def patience_s() -> float:
    """Return how long the caller of this thread's unary call still waits; infinity without a caller or a deadline."""
    known = _served.get()
    left_s = None if known is None else known.call.time_remaining()
    return math.inf if left_s is None else float(left_s)
