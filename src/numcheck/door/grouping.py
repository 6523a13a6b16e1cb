"""Runs calls that take steps (`steps.py`): equal steps of many calls are taken together, with no thread for each call.

Invariants: one thread at a time runs a call; a call that waits for anything but the store delays no other; every call
that was begun is answered, even if its own steps fail, or those of the others.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from numcheck.api.access import Call, serve_call
from numcheck.api.calls import Served, serve_again, serve_nobody
from numcheck.deadline import Deadline
from numcheck.door.native import trace_parent_of
from numcheck.door.turns import Crew, Turns
from numcheck.steps import Alone, Step, Steps, advanced, outcome_of, outcomes_of
from numcheck.store.groups import GROUP_SIZE_MAX

if TYPE_CHECKING:
    from numcheck._edge import Call as NativeCall


class Stepping:
    """A call that takes steps, and the outcome of its last one."""

    __slots__ = ("_made", "_refuse", "_served", "_steps", "call", "outcome")

    def __init__(
        self,
        call: "NativeCall",
        made: Call,
        steps: Steps[bytes],
        refuse: Callable[["NativeCall", Exception], None],
    ) -> None:
        """Take the steps of `call`, whose caller is in `made`; `refuse` ends it with an error's status."""
        self.call, self._made, self._steps, self._refuse = call, made, steps, refuse
        self._served = Served(call, trace_parent_of)
        self.outcome: Any = None

    def advance(self) -> Step | None:
        """Return the next step; None if the call has none left and was answered."""
        self.enter()
        try:
            return advanced(self._steps, self.outcome)
        except StopIteration as end:
            self.call.answer(end.value, last=True)
        except Exception as error:
            self._refuse(self.call, error)
        return None

    def enter(self) -> None:
        """Note that this thread serves the call."""
        serve_call(self._made)
        serve_again(self._served)


def run_steps(ready: Iterable[Stepping], start: Callable[[Stepping, Alone], None]) -> list[Stepping]:
    """Take one step of each call, and return the calls with steps left; `start` begins a step that waits for others."""
    waiting: dict[Callable[..., Any], list[tuple[Stepping, Any]]] = defaultdict(list)
    answered: list[Stepping] = []
    for one in ready:
        step = one.advance()
        if step is None:
            answered.append(one)
        elif isinstance(step, Alone):
            start(one, step)
        else:
            waiting[step.run].append((one, step.argument))
    for one in answered:  # before the others' step, which may take milliseconds
        one.call.send()
    serve_nobody()  # a step of many calls belongs to none of them
    for run, stepping in waiting.items():
        outcomes = outcomes_of(run, [argument for _, argument in stepping])
        for (one, _), outcome in zip(stepping, outcomes, strict=True):
            one.outcome = outcome
    return [one for stepping in waiting.values() for one, _ in stepping]


class Writer:
    """Runs the grouped calls from construction to `stop`: one thread takes the steps of all of them."""

    def __init__(self, waiting: Crew) -> None:
        """Begin to run; steps that wait for others run on the threads of `waiting`."""
        self._waiting = waiting
        self._new = Turns[Stepping]()
        self._going_on: deque[Stepping] = deque()
        self._woken = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def add(self, calls: Sequence[Stepping]) -> None:
        """Run these calls, each when it is its line's turn."""
        with self._woken:
            for one in calls:
                self._new.add(one.call.line, one)
            self._woken.notify()

    def stop(self, deadline: Deadline) -> None:
        """Run the calls that wait, and end the thread."""
        with self._woken:
            self._stopped = True
            self._woken.notify()
        deadline.join(self._thread)

    def _run(self) -> None:
        while self._run_group():
            pass

    def _run_group(self) -> bool:
        """Take a step of each waiting call, and keep no reference to any; False at the end."""
        group = self._take_group()
        going_on = run_steps(group, self.start)
        # Calls with steps left come first: a call that began earlier is answered earlier.
        with self._woken:
            self._going_on.extendleft(reversed(going_on))
        return bool(group)

    def _take_group(self) -> list[Stepping]:
        """Wait for calls, and return up to GROUP_SIZE_MAX of them; none at the end."""
        with self._woken:
            self._woken.wait_for(lambda: self._going_on or self._new or self._stopped)
            group = [self._going_on.popleft() for _ in range(min(len(self._going_on), GROUP_SIZE_MAX))]
            while len(group) < GROUP_SIZE_MAX and (one := self._new.take()):
                one.call.begin()
                group.append(one)
            return group

    def start(self, one: Stepping, step: Alone) -> None:
        """Take a step that waits for others on a waiting thread; the call then goes on here."""

        def run() -> None:
            one.enter()
            one.outcome = outcome_of(step)
            with self._woken:
                self._going_on.append(one)
                self._woken.notify()

        self._waiting.add(one.call.line, run)
