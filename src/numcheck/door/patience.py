"""Cancels calls whose peer keeps the node waiting; one thread watches all of them."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from numcheck.deadline import Deadline

INTERVAL_S = 0.02  # between two looks for calls that have waited too long


class Patience:
    """Cancels blocks that run longer than they may, until `close`.

    The thread begins with the first such block, and sleeps while there is none.
    """

    def __init__(self, *, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._waiting: dict[object, tuple[float, Callable[[], object]]] = {}
        self._wake = threading.Condition()
        self._asleep, self._begun, self._closed = True, False, False

    @contextmanager
    def at_most(self, timeout_s: float, cancel: Callable[[], object]) -> Iterator[None]:
        """Call `cancel`, from another thread, if the block runs longer than `timeout_s`."""
        key = object()
        self._waiting[key] = time.monotonic() + timeout_s, cancel
        if self._asleep:  # read after `_waiting` was written: the thread reads the two in the other order
            self._rouse()
        try:
            yield
        finally:
            self._waiting.pop(key, None)

    def close(self) -> None:
        """End the thread; nothing is cancelled any more."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def _rouse(self) -> None:
        with self._wake:
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._run, name="patience", daemon=True).start()
            self._wake.notify()

    def _run(self) -> None:
        while self._sleep():
            now = time.monotonic()
            for key, (until, cancel) in list(self._waiting.items()):
                if now > until and self._waiting.pop(key, None) is not None:
                    cancel()

    def _sleep(self) -> bool:
        """Wait until a block runs, and then for the interval; False at the end."""
        with self._wake:
            self._asleep = True
            self._wake.wait_for(lambda: self._waiting or self._closed)
            self._asleep = False
            return not self._wake.wait_for(lambda: self._closed, self._interval_s)


def give_back(*pools: ThreadPoolExecutor, deadline: Deadline | None = None) -> None:
    """End the idle threads of pools; leave behind those that are not done by the deadline."""
    ending = [threading.Thread(target=one.shutdown, daemon=True) for one in pools]
    for one in ending:
        one.start()
    (deadline or Deadline()).join(*ending)
