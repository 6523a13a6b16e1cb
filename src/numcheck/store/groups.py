"""Group commit: calls that want to write at the same time share one transaction, and one wait for the disk.

Invariants: `run` returns after its operation's transaction is committed and durable; an operation that is refused
leaves nothing, and takes nobody else's with it. Operations of a group run one after the other, in the order in which
they were asked for, and each sees what those before it did. An operation runs again only if its transaction was left
before its commit, or undone by the database: any other commit that fails may have been done all the same, its
acknowledgement lost on the way, so that all of its callers get the error.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

from numcheck.errors import NumcheckError, StoreUnavailable
from numcheck.store.failures import UNDONE_TRIES

GROUP_SIZE_MAX = 256  # operations: bounds how long the first of a group waits for the last


class Work(Protocol):
    """A connection for the writes of operations, which it counts."""

    write_count: int

    def look_ahead(self, wanted: Sequence[bytes]) -> None:
        """Look for what operations will ask for."""

    def flush(self) -> None:
        """Write what was put off."""


W = TypeVar("W", bound=Work)
T = TypeVar("T")


class _Call(Generic[W]):
    """An operation that is waited for; whoever waits is woken when it is done, or when it is his turn to lead."""

    __slots__ = ("done", "error", "operation", "result", "wake", "wanted")

    def __init__(self, operation: Callable[[W], object], wanted: Sequence[bytes]) -> None:
        self.operation, self.wanted = operation, wanted
        self.result: object = None
        # Until it is known to be durable it is not: whoever leads may be interrupted at any line.
        self.error: Exception | None = StoreUnavailable("the write was broken off")
        self.done = False
        self.wake = threading.Lock()
        self.wake.acquire()


class GroupCommit(Generic[W]):
    """Runs operations in transactions that `begin` makes. Safe to ask from any thread.

    One caller leads: it commits all that wait, wakes them, and hands the lead to the first that has come since. (A lock
    that all of them wait for would wake them one after the other, each to find its operation done.)
    """

    def __init__(self, begin: Callable[[], AbstractContextManager[W]]) -> None:
        self._begin = begin
        self._waiting: list[_Call[W]] = []
        self._lock = threading.Lock()
        self._led = False

    def run(self, operation: Callable[[W], T], wanted: Sequence[bytes] = ()) -> T:
        """Return the operation's result, once it is durable; or its exception, or that of the transaction it was in.

        `wanted` is what the operation will ask for: that of a whole group is looked for at once.
        """
        call: _Call[W] = _Call(operation, wanted)
        with self._lock:
            self._waiting.append(call)
            leading, self._led = not self._led, True
        if not leading:
            call.wake.acquire()
        if not call.done:
            self._lead(call)
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # what its own operation returned

    def _lead(self, own: _Call[W]) -> None:
        """Commit what waits, until the caller's own is done; then somebody else leads, or nobody."""
        try:
            while not own.done:
                self._commit_waiting(own)
        finally:
            with self._lock:
                self._led = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].wake.release()

    def _commit_waiting(self, own: _Call[W]) -> None:
        with self._lock:
            group, self._waiting = self._waiting[:GROUP_SIZE_MAX], self._waiting[GROUP_SIZE_MAX:]
        try:
            self._commit(group)
        finally:
            for call in group:
                call.done = True
                if call is not own:
                    call.wake.release()

    def _commit(self, group: list[_Call[W]], tries: int = UNDONE_TRIES) -> None:
        """All of the group in one transaction; if one fails after it has written, each in one of its own.

        If the database has undone it, all of the group once more.
        """
        outcomes: list[tuple[object, NumcheckError | None]] = []
        left_early = False
        try:
            with self._begin() as work:
                try:
                    if wanted := [one for call in group for one in call.wanted]:
                        work.look_ahead(wanted)
                    outcomes += [_outcome(call.operation, work) for call in group]
                    work.flush()
                except Exception:
                    left_early = True
                    raise
        except Exception as error:
            if isinstance(error, StoreUnavailable) and error.undone and tries > 1:
                self._commit(group, tries - 1)
                return
            if left_early and len(group) > 1:
                for call in group:
                    self._commit([call])
                return
            for call in group:
                call.error = error
            return
        for call, (result, refusal) in zip(group, outcomes, strict=True):
            call.result, call.error = result, refusal


def _outcome(operation: Callable[[W], object], work: W) -> tuple[object, NumcheckError | None]:
    """Return what an operation comes to: its result, or its refusal if it has written nothing; any other exception goes
    on."""
    written_before = work.write_count
    try:
        return operation(work), None
    except NumcheckError as refusal:
        if work.write_count != written_before:
            raise
        return None, refusal
