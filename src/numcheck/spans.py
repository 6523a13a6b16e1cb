"""Spans: of which parts a call, or a piece of a node's own work, is made, and when each began and ended.

Invariants: a name is a word of this program or a method's path, and a fact a word of a closed set, a count, or a name
out of the settings: never a number, a code, an address, a user's identifier or the text of an error (R11). Without a
tracer nothing is traced, and what would be part of a trace costs one look into a variable.
"""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import NamedTuple, Protocol

TRACE_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1  # of the flags

Fact = str | int | float | bool
Tell = Callable[..., None]
"""Adds facts, as keyword arguments, to a span."""


class Parent(NamedTuple):
    """A span of a caller's, as its `traceparent` names it."""

    trace_id: str
    span_id: str
    sampled: bool


class Span(Protocol):
    """A span that has begun, of a trace that is kept."""

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to, 32 hexadecimal digits."""

    @property
    def span_id(self) -> str:
        """Its own name in the trace, 16 hexadecimal digits."""

    def part(self, name: str, began_ns: int) -> "Span":
        """Begin a span that is a part of this one."""

    def tell(self, **facts: Fact) -> None:
        """Add facts."""

    def end(self, problem: str = "") -> None:
        """End it; `problem` is a word for its failure."""


class Tracer(Protocol):
    """Decides which traces are kept, and begins them."""

    def begin(self, name: str, began_ns: int, parent: Parent | None, *, is_call: bool) -> Span | None:
        """Begin a trace, or go on with a caller's; None if it is not kept."""


_tracer: Tracer | None = None
_here: ContextVar[Span | None] = ContextVar("span", default=None)


def trace_with(tracer: Tracer | None) -> None:
    """Trace from now on by this tracer; None: not at all. Doors learn it when they are made."""
    global _tracer  # noqa: PLW0603  # as the log, it is the process's
    _tracer = tracer


def is_traced() -> bool:
    """Return True if there is a tracer."""
    return _tracer is not None


def parent_of(text: str) -> Parent | None:
    """Read a `traceparent` (W3C Trace Context, 3.2); None if it is none, which is no error."""
    found = TRACE_PARENT.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if (rest and version == "00") or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & SAMPLED))


def begin_call(path: str, parent: Parent | None, *, came_ns: int) -> Span | None:
    """Begin the span of a call that came at a moment; None if it is not traced."""
    return None if _tracer is None else _tracer.begin(path[1:], came_ns, parent, is_call=True)


def trace_id() -> str:
    """Return the trace that this thread's work belongs to; empty if it is not traced."""
    span = _here.get()
    return "" if span is None else span.trace_id


def trace_parent() -> str:
    """Return the `traceparent` of what this thread does, for whomever it asks; empty if it is not traced."""
    span = _here.get()
    return "" if span is None else f"00-{span.trace_id}-{span.span_id}-{SAMPLED:02x}"


def work(name: str) -> AbstractContextManager[Tell]:
    """Trace the block as work of the node's own."""
    span = None if _tracer is None else _tracer.begin(name, time.time_ns(), None, is_call=False)
    return UNTRACED if span is None else _Block(span)


def part(name: str) -> AbstractContextManager[Tell]:
    """Trace the block as a part of what this thread does, if that is traced."""
    outer = _here.get()
    return UNTRACED if outer is None else part_of(outer, name)


def part_of(span: Span, name: str) -> AbstractContextManager[Tell]:
    """Trace the block as a part of a span."""
    return _Block(span.part(name, time.time_ns()))


class _Block:
    """Does the work of a block in a span, which ends with it."""

    __slots__ = ("_outer", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._outer: Span | None = None

    def __enter__(self) -> Tell:
        self._outer = _here.get()
        _here.set(self._span)
        return self._span.tell

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        _here.set(self._outer)  # no token: the last part of a stream may end on another thread
        self._span.end("" if kind is None else kind.__name__)


def _tell_nobody(**_facts: Fact) -> None:
    pass


UNTRACED: AbstractContextManager[Tell] = nullcontext(_tell_nobody)
