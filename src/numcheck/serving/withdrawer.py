"""A thread that revokes what is registered on numbers that were taken from their operator, as soon as they are.

Of the nodes of a database one does. It asks every second as well: another node, or a command while no node ran,
may have taken numbers, and what a crash left undone waits in the store.
"""

import time

import structlog

from numcheck.registrations.withdrawal import Withdrawals
from numcheck.serving.sharing import Duty
from numcheck.worker import Worker

INTERVAL_S = 1.0

log = structlog.get_logger()


class Withdrawer:
    """Follows withdrawals until it is stopped, while `duty` is this node's. A write that fails is tried again a second
    later."""

    def __init__(self, withdrawals: Withdrawals, duty: Duty) -> None:
        """`withdrawals` are written under the lease of `duty`."""
        self._withdrawals, self._duty = withdrawals, duty
        complaint = "numbers that were taken cannot be followed"
        self._worker = Worker("withdrawer", self._follow, complaint, retry_s=INTERVAL_S)
        duty.on_taken = self.follow

    def start(self) -> None:
        """Begin, with what was left undone."""
        self._worker.start()

    def follow(self) -> None:
        """Say that numbers may have been taken; returns at once."""
        self._worker.wake()

    def stop(self) -> None:
        """End after the piece under way; the rest waits in the store."""
        self._withdrawals.stop()
        self._worker.stop()

    def _follow(self) -> float:
        self._duty.attempt(self._follow_withdrawals)
        return INTERVAL_S

    def _follow_withdrawals(self) -> None:
        began = time.monotonic()
        if count := self._withdrawals.follow():
            log.info("registrations revoked", count=count, took_s=round(time.monotonic() - began, 3))
