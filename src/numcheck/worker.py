"""A thread that does one thing again and again: begun, woken, tried again after a failure, and ended, the same way for
every such thing."""

import threading
import traceback
from collections.abc import Callable

import structlog

from numcheck.errors import NumcheckError

log = structlog.get_logger()


class Worker:
    """Does pieces of work until it is stopped. Nothing that a piece raises ends it: it is tried again."""

    def __init__(
        self, name: str, work: Callable[[], float], complaint: str, *, first_s: float = 0.0, retry_s: float = 1.0
    ) -> None:
        """`work` does a piece, and returns after how many seconds the next is to be done if nothing wakes it before.

        The first is done after `first_s`; one that fails is tried again after `retry_s`, and `complaint` is what the
        log says of the first failure of a kind in a row, unless it was told of already.
        """
        self._work, self._complaint, self._first_s, self._retry_s = work, complaint, first_s, retry_s
        self._woken, self._stopping = threading.Event(), threading.Event()
        self.complained_of: type[Exception] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Have the next piece done now; returns at once."""
        self._woken.set()

    def stop(self) -> None:
        """End after the piece under way, if there is one; whoever stops a process waits so long, and no longer, by
        `deadline.end_together`."""
        self._stopping.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        self._woken.wait(self._first_s)
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                wait_s = self._work()
            except Exception as error:
                self._tell(error)
                self._stopping.wait(self._retry_s)
            else:
                self.complained_of = None
                if not self._stopping.is_set():
                    self._woken.wait(wait_s)

    def _tell(self, error: Exception) -> None:
        """Log what of a failure can be told: an error of ours names a block or a file and holds no number, of any other
        nothing is known but where it was raised."""
        kind = None if getattr(error, "told", False) else type(error)
        if kind not in (None, self.complained_of):
            self.complained_of = kind
            at = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-3:]]
            told = {"reason": str(error)} if isinstance(error, NumcheckError) else {"at": at}
            log.error(self._complaint, error=type(error).__name__, **told)
