"""The log of a node and of commands: a line an event, whatever texts its fields hold."""

import io
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo

from numcheck.printable import printable


def begin_log() -> None:
    """Log from now on so that no name, region or path can forge a line or a colour."""
    *processors, _ = structlog.get_config()["processors"]
    if _escaped in processors:
        return
    colors = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_traceback)
    structlog.configure(
        processors=[*processors, _escaped, renderer], logger_factory=lambda *_: structlog.PrintLogger(sys.stderr)
    )


def set_level(level: str) -> None:
    """Log from now on what is of this level or above it: debug, info, warning or error."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))


def _escaped(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {printable(name): _printable_value(value) for name, value in event.items()}


def _printable_value(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value  # of others the renderer shows repr()


def _traceback(written: TextIO, error: ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    written.write("\n".join(map(printable, text.getvalue().split("\n"))))
