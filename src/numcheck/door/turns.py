"""The order in which waiting calls get a Python thread.

The waiting calls of one party in one lane are a line (`Call.line`). Lines are served in turn, so that a long one delays
its own calls and no others. The event loop bounds the length of a line, as each call comes.
"""

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from numcheck.access import Runs
from numcheck.deadline import Deadline
from numcheck.door.methods import Method
from numcheck.door.patience import give_back

Waiting = TypeVar("Waiting")

LANES = {
    Runs.QUICK: "quick",
    Runs.LOOKUP: "quick",
    Runs.EACH: "quick",
    Runs.WATCH: "quick",  # what begins it
    Runs.FEED: "waiting",  # the same
    Runs.GROUPED: "grouped",
    Runs.WAITING: "waiting",
    Runs.EXCHANGE: "waiting",
}
KEPT = "kept"
SPARED_SHARE = 4  # of so many threads one line leaves one to others


def lane_of(method: Method, kept: frozenset[str]) -> str:
    """Return the lane of a method's calls, as the native door names it (_edge.LANES); services of `kept` have one."""
    return KEPT if method.service in kept else LANES[method.runs]


class Turns(Generic[Waiting]):
    """Waiting calls, line by line. For one thread at a time."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[Waiting]] = {}  # as their turns come
        self._count = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._count

    def add(self, line: int, one: Waiting) -> None:
        """Add one at the end of its line."""
        self._lines.setdefault(line, deque()).append(one)
        self._count += 1

    def take(self, may: Callable[[int], bool] = lambda _line: True) -> Waiting | None:
        """Return the first of the first line that `may` go on, and move that line to the end; None if there is none."""
        line = next(filter(may, self._lines), None)
        if line is None:
            return None
        waiting = self._lines.pop(line)
        one = waiting.popleft()
        if waiting:
            self._lines[line] = waiting
        self._count -= 1
        return one


class Crew:
    """Threads for calls that wait for others. A line leaves one thread in SPARED_SHARE free for the other lines."""

    def __init__(self, threads: int, name: str) -> None:
        """Have `threads` threads, and begin none before it is needed."""
        self._at_once_max = threads - threads // SPARED_SHARE
        self._turns, self._running = Turns[tuple[int, Callable[[], object]]](), Counter[int]()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def add(self, line: int, run: Callable[[], object]) -> None:
        """Call `run` when it is its line's turn."""
        with self._lock:
            self._turns.add(line, (line, run))
        self._threads.submit(self._run_next)

    def close(self, deadline: Deadline | None = None) -> None:
        """Give the threads back; leave behind those that cannot be ended."""
        give_back(self._threads, deadline=deadline)

    def _run_next(self) -> None:
        """Run the next call whose line may have another thread; if there is none, one that ends will run it."""
        with self._lock:
            found = self._turns.take(lambda line: self._running[line] < self._at_once_max)
            if found is None:
                return
            line, run = found
            self._running[line] += 1
        try:
            run()
        finally:
            self._end(line)

    def _end(self, line: int) -> None:
        with self._lock:
            self._running[line] -= 1
            if not self._running[line]:
                del self._running[line]
            others_wait = len(self._turns) > 0
        if others_wait:  # perhaps for this thread: the one that found the line full has gone
            with contextlib.suppress(RuntimeError):  # closed
                self._threads.submit(self._run_next)
