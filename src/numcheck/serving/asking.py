"""Tells in the log of a caller that asks about many numbers: whoever reads a whole numbering plan must not go unseen.

It changes no answer.
"""

from collections import Counter, deque
from collections.abc import Callable

import structlog

from numcheck.worker import Worker

INTERVAL_S = 60.0
INTERVALS = 60  # make the hour that `numbers_asked_told` speaks of

log = structlog.get_logger()


class AskingLog:
    """Looks once a minute at what was asked in the hour before: a line for each caller that asks on over the bound."""

    def __init__(self, counts: Callable[[], Counter[str]], told: int, *, interval_s: float = INTERVAL_S) -> None:
        """Begin to look at `counts`, how many numbers each caller asked about: over `told` in an hour are told of."""
        self.counts, self.told, self._interval_s = counts, told, interval_s
        self._earlier: deque[Counter[str]] = deque([Counter()], maxlen=INTERVALS)
        self._worker = Worker("asking", self._look, "what callers ask about is not looked at", first_s=interval_s)
        self._worker.start()

    def look(self) -> None:
        """Tell of each caller that has asked since the last look, and about too many numbers within the hour."""
        counts = self.counts()
        asking = counts - self._earlier[-1]
        for name, count in sorted((counts - self._earlier[0]).items()):
            if count > self.told and name in asking:
                log.warning("a caller asks about many numbers", caller=name, numbers=count, within_s=self._within_s)
        self._earlier.append(counts)

    @property
    def _within_s(self) -> int:
        return int(len(self._earlier) * self._interval_s)

    def close(self) -> None:
        """End the thread that looks."""
        self._worker.stop()

    def _look(self) -> float:
        self.look()
        return self._interval_s
