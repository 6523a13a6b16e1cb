"""A moment by which several things have to end: they share what is left until then, and nobody waits any longer."""

import threading
import time
from collections.abc import Callable

LAST_WAIT_S = 5.0  # for what cannot be ended


class Deadline:
    """The end of a wait that several things share."""

    def __init__(self, wait_s: float | None = None) -> None:
        """Begin the wait now: for LAST_WAIT_S, unless another is given."""
        self._until_s = time.monotonic() + (LAST_WAIT_S if wait_s is None else wait_s)

    @property
    def left_s(self) -> float:
        """Seconds that are left; 0 from the moment on."""
        return max(self._until_s - time.monotonic(), 0.0)

    def join(self, *threads: threading.Thread) -> None:
        """Wait for threads to end; leave behind those that have not by then."""
        for one in threads:
            one.join(self.left_s)


def end_together(*ends: Callable[[], object], deadline: Deadline | None = None) -> None:
    """Call functions that end something, all at the same time; leave behind what has not ended by the deadline.

    Each has a thread of its name that Python would wait for: `serving/ending.py` tells of it, and does not.
    """
    threads = [threading.Thread(target=one, name=one.__qualname__) for one in ends]
    for one in threads:
        one.start()
    (deadline or Deadline()).join(*threads)
