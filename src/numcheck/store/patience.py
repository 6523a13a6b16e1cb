"""Ends what PostgreSQL answers no more: nobody waits for ever, and what is not known to be done is not acknowledged.

PostgreSQL's own timeouts do not end a COMMIT that waits for its standbys, and TCP's see nothing of what lies behind a
proxy. So a COMMIT waits for COMMIT_WAIT_S; then its wait is cancelled, and PostgreSQL warns that no standby has
confirmed it. Anything else that lasts is a reason to ask the server over another connection whether it answers. A
connection that gets no answer either way is broken off, and what it was to commit is unknown.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

COMMIT_WAIT_S = 10.0  # for a standby to confirm it
SILENCE_MAX_S = 10.0  # of a statement, before it is asked whether the server answers at all
ANSWER_WAIT_S = 5.0  # for an answer to that, and to a cancelled wait
LOOK_EVERY_S = 0.5
IDLE_S = 10.0  # after which nobody looks any more


def break_off(driver: Any) -> None:
    """End a driver's connection under the thread that waits for it, which gets the driver's error."""
    with suppress(Exception), socket.socket(fileno=os.dup(driver.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


class _Wait:
    """A wait of a thread for what it has asked for over a driver's connection."""

    __slots__ = ("_cancelled", "_commits", "_driver", "_since_s")

    def __init__(self, driver: Any, *, commits: bool) -> None:
        self._driver, self._commits, self._since_s = driver, commits, time.monotonic()
        self._cancelled = False

    def look(self, answers: Callable[[], bool]) -> None:
        """Do what has to be done by now; it may take ANSWER_WAIT_S."""
        waited_s = time.monotonic() - self._since_s
        if self._cancelled:
            if waited_s > COMMIT_WAIT_S + ANSWER_WAIT_S:
                break_off(self._driver)
        elif self._commits:
            if waited_s > COMMIT_WAIT_S:
                self._cancelled = True
                with suppress(Exception):  # whatever the driver has against it: then it is broken off
                    self._driver.cancel_safe(timeout=ANSWER_WAIT_S)
        elif waited_s > SILENCE_MAX_S:
            if answers():
                self._since_s = time.monotonic()
            else:
                break_off(self._driver)


class Patience:
    """Looks after the waits of one engine's connections, on a thread of its own. Safe to ask from any."""

    def __init__(self, answers: Callable[[], bool]) -> None:
        """`answers` asks the server over another connection, and takes no longer than ANSWER_WAIT_S."""
        self._answers = answers
        self._turn = threading.Lock()
        self._waits: set[_Wait] = set()
        self._looks = False

    @contextmanager
    def waiting(self, driver: Any, *, commits: bool) -> Iterator[None]:
        """End the block's wait for an answer if there is none; `commits`: it is that to a COMMIT."""
        one = _Wait(driver, commits=commits)
        with self._turn:
            self._waits.add(one)
            begins, self._looks = not self._looks, True
        if begins:
            threading.Thread(target=self._look, name="patience", daemon=True).start()
        try:
            yield
        finally:
            with self._turn:
                self._waits.discard(one)

    def _look(self) -> None:
        busy_at_s = time.monotonic()
        while True:
            time.sleep(LOOK_EVERY_S)
            with self._turn:
                waits = list(self._waits)
                if waits:
                    busy_at_s = time.monotonic()
                elif time.monotonic() - busy_at_s > IDLE_S:
                    self._looks = False
                    return
            for one in waits:
                one.look(self._answers)
