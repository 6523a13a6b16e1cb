"""Tells once that the store cannot be used, and once that it can be again, however many calls and threads meet it; and
counts how long its transactions take."""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable

import structlog

from numcheck.errors import NumcheckError, StoreUnavailable

SETTLED_AFTER_S = 1.0  # without a failure: while connections break, some still answer

log = structlog.get_logger()


class Durations:
    """A histogram of seconds: how many fall into each bucket, which ends at its bound, and their sum."""

    bounds_s = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))

    def __init__(self) -> None:
        self.counts, self.sum_s = [0] * len(self.bounds_s), 0.0

    def add(self, seconds: float) -> None:
        """Count one. One thread at a time."""
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds


class Troubles:
    """A node's knowledge of its store being away. Writing is apart: a store on a full disk can still be read."""

    def __init__(self, *, logging: bool = True, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Be silent in the log if not `logging`: a command prints its one error itself."""
        self._logging, self._clock_s, self._met_at = logging, clock_s, 0.0
        self._lock = threading.Lock()
        self._met: set[bool] = set()
        self.failure_count = 0
        """How often the store could not be used."""
        self.durations = {name: Durations() for name in ("read", "write")}
        """How long transactions took, those that failed among them."""

    def met(self, error: NumcheckError, *, writing: bool) -> NumcheckError:
        """Note an error on its way to the caller; the first in a row by which the store cannot be used is told."""
        if not isinstance(error, StoreUnavailable) or error.passing:
            return error
        error.told = self._logging
        with self._lock:
            self.failure_count += 1
            self._met_at = self._clock_s()
            is_first = not self._met
            self._met.add(writing and not error.away)
        if is_first and self._logging:
            use = "reached" if error.away else "written" if writing else "read"
            log.error(f"the store cannot be {use}: calls that need it get STORE_UNAVAILABLE", reason=str(error))
        return error

    def took(self, seconds: float, *, writing: bool) -> None:
        """Note how long a transaction took, from when it was asked for."""
        with self._lock:
            self.durations["write" if writing else "read"].add(seconds)

    def passed(self, *, writing: bool) -> None:
        """Note that the store was used; it is told if it could not be before."""
        if writing not in self._met or self._clock_s() - self._met_at < SETTLED_AFTER_S:
            return
        with self._lock:
            was_last = writing in self._met and len(self._met) == 1
            self._met.discard(writing)
        if was_last and self._logging:
            log.warning("the store is used again")
