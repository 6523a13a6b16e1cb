"""Limits on long calls under way at once, of all callers and of one."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from numcheck.access import Caller, Role
from numcheck.errors import TooManyStreams

OWN_PUSHES_MAX = 2  # of one operator or clearing house; more than one, so that a connection that broke bars nobody


class Slots:
    """A limit of calls at once, and of calls of one service."""

    def __init__(self, count_max: int, per_service_max: int) -> None:
        self._count_max, self._per_service_max = count_max, per_service_max
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, service: str) -> Iterator[None]:
        """Take a slot during the block; TooManyStreams if there is none."""
        with self._lock:
            if self._taken.total() >= self._count_max:
                raise TooManyStreams("as many such calls as this node serves at once are open")
            if self._taken[service] >= self._per_service_max:
                raise TooManyStreams("as many such calls as this node serves one service at once are open")
            self._taken[service] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[service] -= 1


class PushSlots:
    """A limit of `count` pushes at once."""

    def __init__(self, count: int) -> None:
        self._count, self._taken = count, Counter[str]()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, caller: Caller) -> Iterator[None]:
        """Take a slot during the block; TooManyStreams if the caller, or all together, have used theirs up."""
        with self._lock:
            if self._taken.total() >= self._count:
                raise TooManyStreams("as many pushes as this node takes at once are under way")
            if caller.role is not Role.ADMINISTRATOR and self._taken[caller.party] >= OWN_PUSHES_MAX:
                raise TooManyStreams("as many pushes of the caller as this node takes at once are under way")
            self._taken[caller.party] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[caller.party] -= 1
