"""Tells in the log of a caller that asks about many numbers: whoever reads a whole numbering plan must not go unseen.

It changes no answer.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable

import structlog

INTERVAL_S = 60.0
INTERVALS = 60  # make the hour that `numbers_asked_told` speaks of

log = structlog.get_logger()


class AskingLog:
    """Looks once a minute at what was asked in the hour before; a line a minute and caller while that is too much."""

    def __init__(self, counts: Callable[[], Counter[str]], told: int, *, interval_s: float = INTERVAL_S) -> None:
        """`counts` gives how many numbers each caller has asked about; more than `told` in an hour are told of."""
        self.counts, self._told, self._interval_s = counts, told, interval_s
        self._earlier: deque[Counter[str]] = deque([Counter()], maxlen=INTERVALS)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="asking", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Tell of each caller that has asked about too many numbers within the hour."""
        counts = self.counts()
        for name, count in sorted((counts - self._earlier[0]).items()):
            if count > self._told:
                log.warning("a caller asks about many numbers", caller=name, numbers=count, within_s=self._within_s)
        self._earlier.append(counts)

    @property
    def _within_s(self) -> int:
        return int(len(self._earlier) * self._interval_s)

    def close(self) -> None:
        """End the thread that looks."""
        self._closed.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._closed.wait(self._interval_s):
            self.look()
