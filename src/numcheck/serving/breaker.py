"""A breaker: what fails again and again is left alone for a while."""

import threading
from collections.abc import Callable

FAILURES_MAX = 5  # in a row; then it is open
OPEN_S = 30.0  # so long; then one attempt decides


class Breaker:
    """Says whether to try: open after FAILURES_MAX failures in a row, until an attempt, one each OPEN_S, goes well."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, and only runs forward."""
        self._clock, self._lock = clock, threading.Lock()
        self._failures, self._next_try = 0, 0.0

    def admits(self) -> bool:
        """Return True if it may be tried now; whoever may has to say how it went."""
        with self._lock:
            if self._failures < FAILURES_MAX:
                return True
            if self._clock() < self._next_try:
                return False
            # The others wait for this attempt, and no longer than for the one before: it may never come to an end.
            self._next_try = self._clock() + OPEN_S
            return True

    @property
    def is_open(self) -> bool:
        """True if what it guards is left alone."""
        with self._lock:
            return self._failures >= FAILURES_MAX

    def succeeded(self) -> None:
        """Note that it went well: closed."""
        with self._lock:
            self._failures = 0

    def failed(self) -> bool:
        """Note that it failed; return True if that has opened the breaker."""
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES_MAX:
                self._next_try = self._clock() + OPEN_S
            return self._failures == FAILURES_MAX
