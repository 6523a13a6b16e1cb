"""A thread that revokes what is registered on numbers that were taken from their operator, as soon as they are.

It asks every half a second as well: another node of the same database, or a command while no node ran, may have taken
numbers, and what a crash left undone waits in the store.
"""

import threading
import time

import structlog

from numcheck.errors import NumcheckError
from numcheck.registrations.withdrawal import Withdrawals

INTERVAL_S = 0.5

log = structlog.get_logger()


class Withdrawer:
    """Follows withdrawals until it is stopped. What cannot be written is tried again half a second later."""

    def __init__(self, withdrawals: Withdrawals) -> None:
        self._withdrawals = withdrawals
        self._taken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="withdrawer")

    def start(self) -> None:
        """Begin, with what was left undone."""
        self._thread.start()

    def follow(self) -> None:
        """Say that numbers may have been taken; returns at once."""
        self._taken.set()

    def stop(self) -> None:
        """End after the piece under way; the rest waits in the store."""
        self._stopping.set()
        self._withdrawals.stop()
        self._taken.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._taken.clear()
            try:
                self._follow()
            except (NumcheckError, OSError) as error:
                log.error("numbers that were taken cannot be followed", error=type(error).__name__)
                self._stopping.wait(INTERVAL_S)
            self._taken.wait(INTERVAL_S)

    def _follow(self) -> None:
        began = time.monotonic()
        if count := self._withdrawals.follow():
            log.info("registrations revoked", count=count, took_s=round(time.monotonic() - began, 3))
