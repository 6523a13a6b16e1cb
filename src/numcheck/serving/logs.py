"""The log of a node and of commands, on standard error: a line an event, whatever texts its fields hold.

Off a terminal a line is a JSON object: `time`, `level`, `event`, what the event has besides, and the `request_id` and
`trace_id` of the call that it belongs to. Lines of libraries, dying threads and Python itself take the same
form; of an exception that is not ours, its kind and its place are told, never its text: it may hold a number (R11).
"""

import json
import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from numcheck import spans
from numcheck.api.calls import served
from numcheck.printable import printable

FRAMES_MAX = 5

log = structlog.get_logger()


def begin_log(level: str = "info", form: str = "auto") -> None:
    """Log from now on what is of this level or above, as JSON or, on a terminal, for a person; again to change it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _with_call,
            _with_kind_of_error,
            *_rendered(form),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    set_level(level)


def set_level(level: str) -> None:
    """Log from now on what is of this level or above it: debug, info, warning or error."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))


def take_over() -> None:
    """Have libraries, threads that die and Python's warnings say in the log what they would write themselves."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)  # its errors come to the store as exceptions
    threading.excepthook = lambda died: _tell_death(died.exc_type, died.exc_traceback)
    sys.unraisablehook = lambda died: _tell_death(died.exc_type, died.exc_traceback)


def frames_of(trace: TracebackType | None) -> list[str]:
    """Return where an exception was raised, the innermost place last."""
    return [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-FRAMES_MAX:]]


class _Libraries(logging.Handler):
    """Says that a library has something to say: which one, and where. Its words may hold what it was given."""

    def emit(self, record: logging.LogRecord) -> None:
        kind, _, trace = record.exc_info or (None, None, None)
        told = {"error": kind.__name__, "raised_at": frames_of(trace)} if kind else {}
        at = f"{record.module}:{record.lineno}"
        level = min(record.levelno // 10 * 10, logging.ERROR)
        log.log(max(level, logging.DEBUG), "a library complains", library=record.name, at=at, **told)


def _tell_death(kind: type[BaseException], trace: TracebackType | None) -> None:
    if kind is not SystemExit:
        log.error("a thread or a piece of clearing up died", error=kind.__name__, at=frames_of(trace))


def _with_call(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the call that the line belongs to, if this thread serves one, and the trace: the node's, or the caller's."""
    call = served()
    if call is not None:
        event["request_id"] = call.request_id
    if trace_id := spans.trace_id() if call is None else call.trace_id or _trace_id(call.trace_parent):
        event["trace_id"] = trace_id
    return event


def _trace_id(trace_parent: str) -> str:
    parent = spans.parent_of(trace_parent)
    return "" if parent is None else parent.trace_id


def _with_kind_of_error(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Tell an exception by its kind and its place."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        event["error"], event["at"] = type(error).__name__, frames_of(error.__traceback__)
    return event


def _rendered(form: str) -> list[Processor]:
    if form == "json" or (form == "auto" and not sys.stderr.isatty()):
        return [_in_order, structlog.processors.JSONRenderer(serializer=_as_json)]
    return [_escaped, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="time")]


def _in_order(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {**{name: event.pop(name) for name in ("time", "level", "event")}, **event}


def _as_json(event: EventDict, **_options: Any) -> str:
    return printable(json.dumps(event, ensure_ascii=False, default=repr))


def _escaped(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {printable(name): _printable_value(value) for name, value in event.items()}


def _printable_value(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value  # of others the renderer shows repr()
