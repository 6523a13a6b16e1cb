"""An event of the log is a line of it: JSON off a terminal, whatever its texts hold, with the call that it is of."""

import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import structlog

from numcheck.api import calls
from numcheck.errors import StoreDamaged, StoreUnavailable
from numcheck.serving import logs
from numcheck.store import Troubles
from numcheck.worker import Worker

HOSTILE = "x\x1b]0;title\x07\n2026-11-28 00:00:00 [info] forged \x9b31m\u202e\u2029"
CANARY = "79167654321"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Written:
    """What went to standard error since the log began."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured, self._text = captured, ""

    def getvalue(self) -> str:
        self._text += self._captured.readouterr().err
        return self._text


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Standard error of a log that has begun."""
    before = structlog.get_config()
    hooks = threading.excepthook, sys.unraisablehook
    handlers, shown = logging.root.handlers[:], warnings.showwarning
    logs.begin_log()
    yield Written(capsys)
    structlog.configure(**before)
    threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(capture=False)
    logging.root.handlers[:], warnings.showwarning = handlers, shown


def told(written: Written) -> list[dict[str, Any]]:
    """What was logged; each line is JSON and prints as it stands."""
    lines = written.getvalue().splitlines()
    assert not [one for line in lines for one in line if not one.isprintable()]
    return [json.loads(line) for line in lines]


log = structlog.get_logger()


def test_a_line_is_a_json_object_with_time_level_and_event_first(written: Written) -> None:
    log.info("index published", index_version=7)
    (line,) = told(written)
    assert [*line][:3] == ["time", "level", "event"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
    assert (line["level"], line["event"], line["index_version"]) == ("info", "index published", 7)


@pytest.mark.parametrize("form", ["json", "console"])
def test_hostile_texts_neither_begin_a_line_nor_reach_the_terminal(written: Written, form: str) -> None:
    logs.begin_log(form=form)
    log.info(HOSTILE, name=HOSTILE, names=[HOSTILE], **{HOSTILE: 1})
    text = written.getvalue()
    assert text.count("\n") == 1
    assert not [character for character in text.removesuffix("\n") if not character.isprintable()]
    assert form == "console" or json.loads(text)[HOSTILE] == 1


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_what_is_below_the_level_is_not_logged(written: Written, level: str, lines: int) -> None:
    logs.set_level(level)
    for tell in (log.debug, log.info, log.warning, log.error):
        tell("x")
    assert len(told(written)) == lines


def test_an_exception_is_told_by_its_kind_and_its_place_alone(written: Written) -> None:
    """Its text, and that of what it came from, may hold what it was about."""
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise ValueError(CANARY) from error
    except ValueError:
        log.exception("failed")
    (line,) = told(written)
    assert line["error"] == "ValueError"
    assert line["at"][-1].startswith("test_an_exception_is_told_by_its_kind")
    assert CANARY not in written.getvalue()


def test_libraries_warnings_and_dying_threads_take_the_same_form(written: Written) -> None:
    """They say which and where, and repeat nothing of what they were given."""

    def die() -> None:
        raise RuntimeError(CANARY)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logs.take_over()
        logging.getLogger("httpx").info("GET %s", CANARY)
        logging.getLogger("asyncio").error("lost %s", CANARY)
        warnings.warn(CANARY, UserWarning, stacklevel=1)
    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    lines = told(written)
    assert [line.get("library") for line in lines] == ["asyncio", "py.warnings", None]
    assert (lines[-1]["error"], lines[-1]["level"]) == ("RuntimeError", "error")
    assert CANARY not in written.getvalue()


class Waits:
    """A call, as far as a log knows it."""

    def __init__(self, trace_parent: str) -> None:
        self.trace_parent = trace_parent

    def is_active(self) -> bool:
        return True

    def time_remaining(self) -> float | None:
        return None


def serve(call: Waits) -> None:
    calls.serve(call, lambda one: str(one.trace_parent))


def in_a_thread(run: Any) -> None:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_lines_of_a_call_have_its_id_and_the_trace_of_its_caller(written: Written) -> None:
    """One id for all of its lines, another for the next call, and none outside of calls."""

    def two_calls() -> None:
        for trace in (TRACE, ""):
            call = Waits(trace)
            serve(call)
            log.info("x")
            serve(call)
            log.info("y")

    in_a_thread(two_calls)
    log.info("z")
    first, again, second, second_again, outside = told(written)
    assert first["request_id"] == again["request_id"] != second["request_id"] == second_again["request_id"]
    assert first["trace_id"] == again["trace_id"] == TRACE.split("-")[1]
    assert "trace_id" not in second
    assert "request_id" not in outside


@pytest.mark.parametrize(
    "trace", ["", CANARY, "00-" + "0" * 32 + TRACE[35:], TRACE.upper(), TRACE + "-x", "ff" + TRACE[2:], f"{CANARY:>55}"]
)
def test_what_is_no_traceparent_is_not_repeated(written: Written, trace: str) -> None:
    def call() -> None:
        serve(Waits(trace))
        log.info("x")

    in_a_thread(call)
    (line,) = told(written)
    assert "trace_id" not in line
    assert CANARY not in written.getvalue()


def test_a_store_that_is_away_is_told_once_by_whoever_meets_it_first(written: Written) -> None:
    """And once when it can be used again, by reading and writing; what is read of a full disk does not end that."""
    now = [0.0]
    troubles = Troubles(clock_s=lambda: now[0])
    for _ in range(3):
        error = troubles.met(StoreUnavailable("the disk is full"), writing=True)
        assert getattr(error, "told", False)
        troubles.passed(writing=False)
    troubles.met(StoreUnavailable("away"), writing=False)
    troubles.met(StoreDamaged("a block"), writing=False)
    assert [line["event"] for line in told(written)] == [
        "the store cannot be written: calls that need it get STORE_UNAVAILABLE"
    ]
    troubles.passed(writing=True)
    troubles.passed(writing=False)
    assert len(told(written)) == 1  # some connections answer while others break
    now[0] += 1
    troubles.passed(writing=True)
    troubles.passed(writing=False)
    troubles.passed(writing=False)
    assert [line["event"] for line in told(written)][1:] == ["the store is used again"]


def test_a_worker_repeats_nothing_that_was_told(written: Written) -> None:
    """What was not is told at its first failure in a row."""
    tried = threading.Semaphore(0)
    troubles, errors = Troubles(), iter([True, True, False, False, False])

    def work() -> float:
        tried.release()
        if next(errors, False):
            raise troubles.met(StoreUnavailable("away"), writing=False)
        raise StoreDamaged("block 7 of the store")

    worker = Worker("worker", work, "it cannot work", retry_s=0.001)
    worker.start()
    for _ in range(5):
        tried.acquire()
    worker.stop()
    events = [line["event"] for line in told(written)]
    assert events[0].startswith("the store cannot be read")
    assert events.count("it cannot work") == 1


def test_grpc_says_nothing_by_itself() -> None:
    """Its core writes to standard error in a form of its own, unless it is told not to before it is loaded."""
    assert grpc
    from tests.serving.command import run  # noqa: PLC0415

    ended = run("ready", "--server", "127.0.0.1:1", env={"NUMCHECK_SERVER_AUTHORITY_FILE": ""})
    assert len(ended.err.splitlines()) == 1
