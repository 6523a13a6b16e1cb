"""Places of codes that are being handed over: a few at once, and one service leaves some of them to others."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from numcheck.errors import DeliveryFailed

PLACE_TIMEOUT_S = 1.0  # how long a code waits for others to be handed over before it
SPARED_SHARE = 4  # of so many places one service leaves one to others


class Places:
    """Some places, which whoever hands a code over takes for as long as that lasts. Safe to use from any thread."""

    def __init__(self, count: int) -> None:
        """With a single place there is none to leave to others."""
        self._count, self._own_max = count, count - max(count // SPARED_SHARE, 1) or 1
        self._taken, self._freed = Counter[str](), threading.Condition()

    @contextmanager
    def taken(self, service: str, who: str) -> Iterator[None]:
        """Hold a place; DeliveryFailed, which says who is too slow, if none is free in PLACE_TIMEOUT_S."""
        with self._freed:
            if not self._freed.wait_for(lambda: self._is_free(service), PLACE_TIMEOUT_S):
                raise DeliveryFailed(f"{who} is too slow")
            self._taken[service] += 1
        try:
            yield
        finally:
            with self._freed:
                self._taken[service] -= 1
                self._taken += Counter()  # without those that hold none
                self._freed.notify_all()

    def _is_free(self, service: str) -> bool:
        return self._taken.total() < self._count and self._taken[service] < self._own_max
