"""Group commit: calls that want to write at the same time share one transaction, and one wait for the disk.

A group is all that wait once its transaction has begun: the longer that takes, as other threads or other nodes are
writing, the more share it.

Invariants: `run_each` returns after the transaction of its operations is committed and durable; an operation that is
refused leaves nothing, and takes nobody else's with it. Operations of a group run one after the other, in the order in
which they were asked for, and each sees what those before it did. An operation runs again only if its transaction was
left before its commit, or undone by the database: any other commit that fails may have been done all the same, its
acknowledgement lost on the way, so that all of its callers get the error.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from numcheck.errors import NumcheckError, StoreUnavailable
from numcheck.store.failures import UNDONE_TRIES

GROUP_SIZE_MAX = 256  # operations: bounds how long the first of a group waits for the last


class Work(Protocol):
    """A connection for the writes of operations, which it counts."""

    @property
    def write_count(self) -> int:
        """Number of writes so far."""

    def look_ahead(self, needs: Sequence[Any]) -> None:
        """Read at once what operations need."""

    def flush(self) -> None:
        """Write what was put off."""


W = TypeVar("W", bound=Work)
T = TypeVar("T")


class Operation(NamedTuple, Generic[W]):
    """Work of a transaction that others may share.

    `needs` says what it will read, if that is known: that of a whole group is read at once.
    """

    run: Callable[[W], object]
    needs: Any = None


class _Batch(Generic[W]):
    """Operations that one thread waits for; it is woken when they are done, or when it is its turn to lead."""

    __slots__ = ("done", "operations", "outcomes", "wake")

    def __init__(self, operations: Sequence[Operation[W]]) -> None:
        self.operations = operations
        # Until it is known to be durable it is not: whoever leads may be interrupted at any line.
        self.outcomes: Sequence[object] = [StoreUnavailable("the write was broken off")] * len(operations)
        self.done = False
        self.wake = threading.Lock()
        self.wake.acquire()


class GroupCommit(Generic[W]):
    """Runs operations in transactions that `begin` makes. Safe to ask from any thread.

    One caller leads: it commits all that wait, wakes them, and hands the lead to the first that has come since. (A lock
    that all of them wait for would wake them one after the other, each to find its operations done.)
    """

    def __init__(self, begin: Callable[[], AbstractContextManager[W]]) -> None:
        self._begin = begin
        self._waiting: list[_Batch[W]] = []
        self._lock = threading.Lock()
        self._led = False

    def run(self, operation: Callable[[W], T]) -> T:
        """Return the operation's result, once it is durable; or raise its exception, or its transaction's."""
        (outcome,) = self.run_each([Operation(operation)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[no-any-return]  # what its own operation returned

    def run_each(self, operations: Sequence[Operation[W]]) -> Sequence[Any]:
        """Return what each operation comes to, once that is durable: its result, or an exception."""
        batch = _Batch(operations)
        with self._lock:
            self._waiting.append(batch)
            leading, self._led = not self._led, True
        if not leading:
            batch.wake.acquire()
        if not batch.done:
            self._lead(batch)
        return batch.outcomes

    def _lead(self, own: _Batch[W]) -> None:
        """Commit what waits, until the caller's own is done; then somebody else leads, or nobody."""
        try:
            while not own.done:
                self._commit_waiting(own)
        finally:
            with self._lock:
                self._led = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].wake.release()

    def _commit_waiting(self, own: _Batch[W]) -> None:
        group: list[_Batch[W]] = []

        def taken() -> list[Operation[W]]:
            group.extend(() if group else self._take_group())
            return [operation for batch in group for operation in batch.operations]

        try:
            outcomes = self._commit(taken)
            for batch in group:
                count = len(batch.operations)
                batch.outcomes, outcomes = outcomes[:count], outcomes[count:]
        finally:
            taken()  # whoever was interrupted before is not to be left among those that wait
            for batch in group:
                batch.done = True
                if batch is not own:
                    batch.wake.release()

    def _take_group(self) -> list[_Batch[W]]:
        """Take the first batch, and as many behind it as a transaction holds."""
        with self._lock:
            size = count = 0
            for batch in self._waiting:
                size += len(batch.operations)
                if count and size > GROUP_SIZE_MAX:
                    break
                count += 1
            group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    def _commit(self, take: Callable[[], Sequence[Operation[W]]], tries: int = UNDONE_TRIES) -> list[object]:
        """Run the operations that `take` gives in one transaction; if one fails after it has written, each half in one
        of its own.

        If the database has undone it, all of them once more.
        """
        outcomes: list[object] = []
        left_early = False
        try:
            with self._begin() as work:
                operations = take()
                try:
                    if needs := [one.needs for one in operations if one.needs is not None]:
                        work.look_ahead(needs)
                    outcomes += [_outcome(operation.run, work) for operation in operations]
                    work.flush()
                except Exception:
                    left_early = True
                    raise
        except Exception as error:
            operations = take()
            away = isinstance(error, StoreUnavailable)
            if isinstance(error, StoreUnavailable) and error.undone and tries > 1:
                return self._commit(lambda: operations, tries - 1)
            if left_early and not away and len(operations) > 1:
                half = len(operations) // 2
                return self._commit(lambda: operations[:half]) + self._commit(lambda: operations[half:])
            return [error] * len(operations)
        return outcomes


def _outcome(operation: Callable[[W], object], work: W) -> object:
    """Return what an operation comes to: its result, or its refusal if it has written nothing; any other exception goes
    on."""
    written_before = work.write_count
    try:
        return operation(work)
    except NumcheckError as refusal:
        if work.write_count != written_before:
            raise
        return refusal
