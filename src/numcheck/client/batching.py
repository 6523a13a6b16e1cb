"""Gathers checks that are made at the same time into batches: of threads, or of tasks of asyncio.

A batch is sent as soon as fewer than CALLS_MAX calls are under way. Checks that come meanwhile wait, and are the next
batch. So a check alone is sent at once, batches grow with the load by themselves, and there is no pause to choose. (A
pause costs a check alone that time, and under load it changes nothing.)
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from numcheck.status import NumberStatus

CALLS_MAX = 4
BATCH_SIZE_MAX = 10_000
STATUSES = {status.value: status for status in NumberStatus}


class Checked(NamedTuple):
    """The answer to a batch: a NumberStatus and an operator id (0: none) for each number, in its order."""

    statuses: Sequence[int]
    operator_ids: Sequence[int]
    index_version: int

    def number(self, position: int) -> "CheckedNumber":
        """Return the answer about one of the numbers."""
        return CheckedNumber(STATUSES[self.statuses[position]], self.operator_ids[position], self.index_version)


class CheckedNumber(NamedTuple):
    """The answer about one number: its status, its serving operator's id (0: none), and the index's version."""

    status: NumberStatus
    operator_id: int
    index_version: int


class _Batch:
    """Numbers that threads have put together, and what their one call comes to."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.min_index_version = 0
        self.checked: Future[Checked] = Future()

    def add(self, number: int, min_index_version: int) -> int:
        """Add a number, and return its position."""
        self.numbers.append(number)
        self.min_index_version = max(self.min_index_version, min_index_version)
        return len(self.numbers) - 1


class ThreadBatches:
    """Batches of the threads that call `check`. The thread of a batch's first number makes its call."""

    def __init__(self, ask: Callable[[Sequence[int], int], Checked]) -> None:
        """`ask` makes a call: of these numbers, with this min_index_version."""
        self._ask = ask
        self._calls = threading.Semaphore(CALLS_MAX)
        self._lock, self._open = threading.Lock(), _Batch()

    def check(self, number: int, min_index_version: int) -> CheckedNumber:
        """Return the answer about a number; raise what the batch's call raised."""
        with self._lock:
            if len(self._open.numbers) == BATCH_SIZE_MAX:
                self._open = _Batch()
            batch = self._open
            position = batch.add(number, min_index_version)
        if position == 0:
            self._make_call(batch)
        return batch.checked.result().number(position)

    def _make_call(self, batch: _Batch) -> None:
        """Wait for a free call, close the batch, and ask."""
        try:
            with self._calls:
                with self._lock:
                    if self._open is batch:
                        self._open = _Batch()
                checked = self._ask(batch.numbers, batch.min_index_version)
            check_length(checked, len(batch.numbers))
        except BaseException as error:  # also where this thread is interrupted: the others wait for the same call
            batch.checked.set_exception(error)
        else:
            batch.checked.set_result(checked)


class _Asked(NamedTuple):
    number: int
    min_index_version: int
    answer: "asyncio.Future[CheckedNumber]"


class TaskBatches:
    """Batches of the tasks of one event loop."""

    def __init__(self, ask: Callable[[Sequence[int], int], Awaitable[Checked]]) -> None:
        """`ask` makes a call: of these numbers, with this min_index_version."""
        self._ask = ask
        self._waiting: deque[_Asked] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._is_due = self._has_lone = False

    def check(self, number: int, min_index_version: int) -> Awaitable[CheckedNumber]:
        """Return an awaitable of the answer, which raises the exception of its call if that fails."""
        if not (self._calls or self._is_due or self._has_lone):
            self._has_lone = True
            return self._check_alone(number, min_index_version)
        return self._check_with_others(number, min_index_version)

    async def _check_alone(self, number: int, min_index_version: int) -> CheckedNumber:
        """Ask from the caller's own task: without another task and a future the call costs what a bare one does."""
        try:
            checked = await self._ask([number], min_index_version)
        finally:
            self._has_lone = False
        check_length(checked, 1)
        return checked.number(0)

    def _check_with_others(self, number: int, min_index_version: int) -> "asyncio.Future[CheckedNumber]":
        loop = asyncio.get_running_loop()
        asked = _Asked(number, min_index_version, loop.create_future())
        self._waiting.append(asked)
        self._send_soon(loop)
        return asked.answer

    async def drain(self) -> None:
        """Wait until every batch is answered."""
        while self._is_due or self._calls:
            await (asyncio.wait(self._calls) if self._calls else asyncio.sleep(0))

    def _send_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what waits, once the tasks that run now have asked as well."""
        if not self._is_due and len(self._calls) < CALLS_MAX:
            self._is_due = True
            loop.call_soon(self._send_waiting)

    def _send_waiting(self) -> None:
        """Make calls of what waits, as many as may be under way."""
        self._is_due = False
        while self._waiting and len(self._calls) < CALLS_MAX:
            size = min(len(self._waiting), BATCH_SIZE_MAX)
            batch = [asked for asked in (self._waiting.popleft() for _ in range(size)) if not asked.answer.done()]
            if batch:
                call = asyncio.get_running_loop().create_task(self._make_call(batch))
                self._calls.add(call)
                call.add_done_callback(self._end_call)

    def _end_call(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._send_waiting()

    async def _make_call(self, batch: list[_Asked]) -> None:
        numbers = [asked.number for asked in batch]
        try:
            checked = await self._ask(numbers, max(asked.min_index_version for asked in batch))
            check_length(checked, len(batch))
        except asyncio.CancelledError:
            for asked in batch:
                asked.answer.cancel()
            raise
        except Exception as error:
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
        else:
            version = checked.index_version
            for asked, status, operator_id in zip(batch, checked.statuses, checked.operator_ids, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(CheckedNumber(STATUSES[status], operator_id, version))


def check_length(checked: Checked, count: int) -> None:
    """Raise ValueError unless the answer is about that many numbers."""
    if len(checked.statuses) != count or len(checked.operator_ids) != count:
        raise ValueError("the node answered about another count of numbers than it was asked")
