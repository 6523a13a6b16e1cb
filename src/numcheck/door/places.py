"""Who may hold a thread of the listener with a push, and for how long without sending anything.

A push holds its thread while it is open, and there are few: whoever sends nothing loses his, and no operator has so
many that the others have none.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from numcheck.access import Caller, Role
from numcheck.errors import TooManyStreams

STALL_TIMEOUT_S = 60.0
OWN_PUSHES_MAX = 2  # of one operator or clearing house; more than one, so that a connection that broke bars nobody


class PushPlaces:
    """The pushes that are under way, at most `count` at once."""

    def __init__(self, count: int) -> None:
        self._count, self._taken = count, Counter[str]()
        self._lock = threading.Lock()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """A place while the block runs; TooManyStreams if the caller, or everybody, has as many as may be."""
        key = _key(caller)
        with self._lock:
            if self._taken.total() >= self._count:
                raise TooManyStreams("as many pushes as this node takes at once are under way")
            if caller.role is not Role.ADMINISTRATOR and self._taken[key] >= OWN_PUSHES_MAX:
                raise TooManyStreams("as many pushes of the caller as this node takes at once are under way")
            self._taken[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[key] -= 1


def _key(caller: Caller) -> str:
    """Callers of one operator count as one."""
    return caller.uri if caller.operator_id is None else f"operator {caller.operator_id}"


class Attended:
    """The requests of a stream, which is cancelled if its caller lets the node wait for one for STALL_TIMEOUT_S."""

    def __init__(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> None:
        self._requests, self._context = requests, context
        self._timeout_s = STALL_TIMEOUT_S
        self._waiting_since: float | None = None  # None: not waiting; what the node itself takes is not the caller's
        self._done = threading.Event()

    def __enter__(self) -> "Attended":
        threading.Thread(target=self._attend, name="push-attendant", daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._done.set()

    def __iter__(self) -> "Attended":
        return self

    def __next__(self) -> bytes:
        self._waiting_since = time.monotonic()
        try:
            return next(self._requests)
        finally:
            self._waiting_since = None

    def _attend(self) -> None:
        while not self._done.wait(max(self._patience_s(), 0)):
            if self._patience_s() <= 0:
                self._context.cancel()
                return

    def _patience_s(self) -> float:
        since = self._waiting_since
        return self._timeout_s if since is None else since + self._timeout_s - time.monotonic()
