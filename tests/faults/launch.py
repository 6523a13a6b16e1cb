"""Runs a node with its disk recorded and, if asked for, a bug planted: `python -m tests.faults.launch`.

One line of JSON on standard input says what to run, and when: everything is imported before, so that a campaign's
next node starts at once when this one is killed. A second line, a number, arms the bug: `points.py`.
"""

import ctypes
import json
import sys
import threading
from datetime import UTC, datetime, timedelta

import grpc  # noqa: F401 - imported for the sake of starting fast, as are the next ones
import psycopg  # noqa: F401
import sqlalchemy.dialects.sqlite  # noqa: F401

import numcheck.serving.node
import numcheck.serving.registrations
from numcheck.cli import main
from tests.faults.plants import PLANTS, RIGHT
from tests.faults.points import ARMED, POINTS, say


def record(directory: str, log: str) -> None:
    """Let the preloaded recorder write down what happens to the directory's files."""
    reason = ctypes.CDLL(None).recorder_begin(directory.encode(), log.encode())
    if reason:
        raise OSError(reason, "the recorder cannot begin")


def set_clock(ahead: timedelta) -> None:
    """Let registrations live by a clock that is ahead."""
    assert callable(numcheck.serving.registrations._now)
    numcheck.serving.registrations._now = lambda: datetime.now(UTC) + ahead


def arm() -> None:
    """Wait for the order to arm the bug; there may be none."""
    if line := sys.stdin.readline():
        POINTS.arm(int(line))
        say(ARMED)


def launch() -> None:
    """Wait for the order and follow it."""
    line = sys.stdin.readline()
    if not line:
        return
    order = json.loads(line)
    if order["log"]:
        record(order["data_dir"], order["log"])
    set_clock(timedelta(seconds=order["ahead_s"]))
    PLANTS.get(order["plant"], RIGHT).plant()
    threading.Thread(target=arm, daemon=True).start()
    sys.argv = ["numcheck", *order["arguments"]]
    main()


if __name__ == "__main__":
    launch()
