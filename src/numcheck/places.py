"""Places for threads that wait for somebody else: a few at once, and one service leaves some of them to others."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

SPARED_SHARE = 4  # of so many places one service leaves one to others


class Places:
    """Some places, which a thread takes for as long as it waits. Safe to use from any thread."""

    def __init__(self, count: int) -> None:
        """With a single place there is none to leave to others."""
        self._count, self._own_max = count, count - max(count // SPARED_SHARE, 1) or 1
        self._taken, self._freed = Counter[str](), threading.Condition()

    @contextmanager
    def taken(self, service: str, *, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold a place for a service's sake, if one is free within `wait_s`, and yield whether."""
        with self._freed:
            had = self._freed.wait_for(lambda: self._is_free(service), wait_s)
            self._taken[service] += had
        try:
            yield had
        finally:
            with self._freed:
                self._taken[service] -= had
                self._taken += Counter()  # without those that hold none
                self._freed.notify_all()

    def _is_free(self, service: str) -> bool:
        return self._taken.total() < self._count and self._taken[service] < self._own_max
