"""Group commit: calls that want to write at the same time share one transaction, and one wait for the disk.

Invariants: `run` returns after its operation's transaction is committed and durable, or raises after it has left
nothing; an operation that is refused takes nobody else's with it. Operations of a group run one after the other, in the
order in which they were asked for, and each sees what those before it did.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from numcheck.errors import NumcheckError

GROUP_SIZE_MAX = 256  # operations: bounds how long the first of a group waits for the last


class Work(Protocol):
    """What operations write through: it counts its writes."""

    write_count: int


W = TypeVar("W", bound=Work)
T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Call(Generic[W]):
    operation: Callable[[W], object]
    result: object = None
    error: Exception | None = None
    done: bool = False


class GroupCommit(Generic[W]):
    """Runs operations in transactions that `begin` makes. Safe to ask from any thread."""

    def __init__(self, begin: Callable[[], AbstractContextManager[W]]) -> None:
        self._begin = begin
        self._waiting: list[_Call[W]] = []
        self._waiting_lock = threading.Lock()
        self._turn = threading.Lock()

    def run(self, operation: Callable[[W], T]) -> T:
        """The operation's result, once it is durable; or its exception, once it has left nothing."""
        call: _Call[W] = _Call(operation)
        with self._waiting_lock:
            self._waiting.append(call)
        # Whoever gets the turn does the work of all that wait; the others find theirs done.
        with self._turn:
            while not call.done:
                self._commit_waiting()
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # what its own operation returned

    def _commit_waiting(self) -> None:
        with self._waiting_lock:
            group, self._waiting = self._waiting[:GROUP_SIZE_MAX], self._waiting[GROUP_SIZE_MAX:]
        try:
            self._commit(group)
        except Exception as error:
            if len(group) == 1:
                group[0].result, group[0].error = None, error
            else:
                self._commit_each(group)
        for call in group:
            call.done = True

    def _commit(self, group: list[_Call[W]]) -> None:
        """All of the group in one transaction; it raises, leaving nothing, if one fails after it has written."""
        with self._begin() as work:
            for call in group:
                written_before = work.write_count
                try:
                    call.result, call.error = call.operation(work), None
                except NumcheckError as refusal:
                    if work.write_count != written_before:
                        raise
                    call.error = refusal

    def _commit_each(self, group: list[_Call[W]]) -> None:
        """Each in a transaction of its own, so that only those fail that would have failed alone."""
        for call in group:
            try:
                self._commit([call])
            except Exception as error:
                call.result, call.error = None, error
