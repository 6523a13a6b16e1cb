"""Ends calls whose peer lets the node wait, by one thread for all of them."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

GIVE_BACK_TIMEOUT_S = 5.0
INTERVAL_S = 0.1  # at which it is looked for calls that have waited too long


class Patience:
    """Cancels what waits longer than it may, from construction to `close`."""

    def __init__(self, *, interval_s: float = INTERVAL_S) -> None:
        self._interval_s, self._closed = interval_s, threading.Event()
        self._waiting: dict[object, tuple[float, Callable[[], object]]] = {}
        threading.Thread(target=self._run, name="patience", daemon=True).start()

    @contextmanager
    def at_most(self, timeout_s: float, cancel: Callable[[], object]) -> Iterator[None]:
        """Call `cancel`, from another thread, if the block runs longer than `timeout_s`."""
        key = object()
        self._waiting[key] = time.monotonic() + timeout_s, cancel
        try:
            yield
        finally:
            self._waiting.pop(key, None)

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._interval_s):
            now = time.monotonic()
            for key, (until, cancel) in list(self._waiting.items()):
                if now > until and self._waiting.pop(key, None) is not None:
                    cancel()


def give_back(threads: ThreadPoolExecutor) -> None:
    """End threads that have nothing more to do. One that is not done in GIVE_BACK_TIMEOUT_S is left behind."""
    ending = threading.Thread(target=threads.shutdown, daemon=True)
    ending.start()
    ending.join(GIVE_BACK_TIMEOUT_S)
