"""Answers that a client keeps: those of the newest index version that it has seen, and no older ones."""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from numcheck.client.batching import Checked, CheckedNumber, check_length


class CachePolicy(NamedTuple):
    """How many answers a client keeps, and for how long.

    An answer is dropped when any other answer is of a newer index version, and at the latest after `age_s`: so much
    later than it happened may a push become known to a client that asks about nothing else meanwhile.
    """

    size_max: int = 100_000
    age_s: float = 5.0


class AnswerCache:
    """Answers about single numbers, all of one index version; any thread may use it."""

    def __init__(self, policy: CachePolicy, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._policy, self._lock = policy, threading.Lock()
        self._index_version, self._asked_at = 0, now()
        self._kept: dict[int, tuple[float, CheckedNumber]] = {}  # the oldest first

    def try_get(self, number: int, min_index_version: int) -> CheckedNumber | None:
        """Return the answer about a number, if it is kept, young enough, and of an index version that is wanted."""
        with self._lock:
            kept = self._kept.get(number)
            if kept is None or self._index_version < min_index_version:
                return None
            asked_at, answer = kept
            return answer if self._is_young(asked_at) else None

    def keep(self, numbers: Sequence[int], checked: Checked, asked_at: float) -> None:
        """Keep the answers to a batch that was asked at a moment of `now`, unless a newer index has answered."""
        check_length(checked, len(numbers))
        with self._lock:
            # Of a store that was restored all versions are older than those of before: they count once those are old.
            if checked.index_version < self._index_version and self._is_young(self._asked_at):
                return
            if checked.index_version != self._index_version:
                self._kept.clear()
            self._index_version, self._asked_at = checked.index_version, asked_at
            for place, number in enumerate(numbers):
                self._kept.pop(number, None)  # so that it becomes the youngest
                self._kept[number] = asked_at, checked.number(place)
            for oldest in list(islice(self._kept, max(len(self._kept) - self._policy.size_max, 0))):
                del self._kept[oldest]

    def _is_young(self, asked_at: float) -> bool:
        return self.now() - asked_at <= self._policy.age_s
