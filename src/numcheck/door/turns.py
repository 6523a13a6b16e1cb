"""Calls that wait for a thread of Python's, and whose turn it is.

What one party has waiting in one lane is a line (`Call.line`). Lines are served in turn, so that a long one makes its
own calls wait and no others. How long a line may get is decided before: by the loop, as each call comes.
"""

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from numcheck.access import Runs
from numcheck.door.methods import Method
from numcheck.door.patience import give_back

if TYPE_CHECKING:
    from numcheck._edge import Call

LANES = {
    Runs.QUICK: "quick",
    Runs.EACH: "quick",
    Runs.WATCH: "quick",  # what begins it
    Runs.FEED: "waiting",  # the same
    Runs.WAITING: "waiting",
}
KEPT = "kept"
SPARED_SHARE = 4  # of so many threads one line leaves one to others


def lane_of(method: Method, kept: frozenset[str]) -> str:
    """Return the lane of a method's calls, as the native door names it (_edge.LANES); services of `kept` have one."""
    return KEPT if method.service in kept else LANES[method.runs]


class Turns:
    """Calls that wait, line by line. For one thread at a time."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[Call]] = {}  # as their turns come
        self._count = 0

    def __len__(self) -> int:
        """Return how many calls wait."""
        return self._count

    def add(self, call: "Call") -> None:
        """Have a call wait at the end of its line."""
        self._lines.setdefault(call.line, deque()).append(call)
        self._count += 1

    def take(self, may: Callable[[int], bool] = lambda _line: True) -> "Call | None":
        """Return the first call of the first line that `may` go on, which then is the last; None if there is none."""
        line = next(filter(may, self._lines), None)
        if line is None:
            return None
        calls = self._lines.pop(line)
        call = calls.popleft()
        if calls:
            self._lines[line] = calls
        self._count -= 1
        return call


class Crew:
    """Threads for calls that wait for others. One line leaves one in SPARED_SHARE: others find one free."""

    def __init__(self, threads: int, name: str, answer: Callable[["Call"], object]) -> None:
        """`answer` answers a call, on one of `threads` threads."""
        self._at_once_max, self._answer = threads - threads // SPARED_SHARE, answer
        self._turns, self._running = Turns(), Counter[int]()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def add(self, call: "Call") -> None:
        """Have a call answered in its turn."""
        with self._lock:
            self._turns.add(call)
        self._threads.submit(self._answer_next)

    def close(self) -> None:
        """Give the threads back: those that cannot be ended are left behind."""
        give_back(self._threads)

    def _answer_next(self) -> None:
        """Answer the call whose turn it is, if its line may have another thread; if not, it does so as one ends."""
        with self._lock:
            call = self._turns.take(lambda line: self._running[line] < self._at_once_max)
            if call is None:
                return
            self._running[call.line] += 1
        try:
            self._answer(call)
        finally:
            self._end(call.line)

    def _end(self, line: int) -> None:
        with self._lock:
            self._running[line] -= 1
            if not self._running[line]:
                del self._running[line]
            others_wait = len(self._turns) > 0
        if others_wait:  # perhaps for this: whoever found the line full has gone
            with contextlib.suppress(RuntimeError):  # closed
                self._threads.submit(self._answer_next)
