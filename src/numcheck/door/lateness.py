"""Refuses calls of grpcio's listener that have waited too long for a thread.

grpcio bounds how many calls wait, not for how long, and takes the oldest first: beyond what the node can do, all would
wait alike. The rule is CoDel's, as services use it: if in a whole WINDOW_S no call has waited less than TARGET_S, the
queue stands, and a call that has waited twice as long is refused. Otherwise a slow moment has left the queue, which
passes, and calls may wait for WAITING_MAX_S; so it is while silent peers keep the threads, which is no overload, and
while fewer than LINE_MIN wait, which are no more than a slow machine makes of some clients.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from numcheck.door.handlers import behind
from numcheck.door.refusing import refuse
from numcheck.door.requests import RequestReader
from numcheck.errors import TooManyCalls

TARGET_S = 0.04
WINDOW_S = 0.1
WAITING_MAX_S = 5.0
LINE_MIN = 96


class Arrival(NamedTuple):
    """A call of a queue: when it came, and how many came before it."""

    at: float
    place: int


class StandingQueue:
    """Judges the calls of one queue as each begins, by how long it has waited and how many came since."""

    def __init__(self) -> None:
        self._window_ended, self._least_s, self._stands = 0.0, 0.0, False
        self._count = 0
        self._turn = threading.Lock()

    def come(self, now: float) -> Arrival:
        """Note that a call comes."""
        with self._turn:
            self._count += 1
            return Arrival(now, self._count - 1)

    def is_too_late(self, call: Arrival, now: float, *, held: bool = False) -> bool:
        """Return True if a call that begins now is too late. `held`: threads wait for silent peers."""
        waited_s = now - call.at
        with self._turn:
            if now > self._window_ended:
                is_recent = now < self._window_ended + WINDOW_S
                self._stands = is_recent and self._least_s > TARGET_S and not held
                self._window_ended, self._least_s = now + WINDOW_S, waited_s
            self._least_s = min(self._least_s, waited_s)
            stands = self._stands and not held and self._count - call.place > LINE_MIN
        return waited_s > (2 * TARGET_S if stands else WAITING_MAX_S)


class Lateness(grpc.ServerInterceptor):
    """Refuses late calls; it stands before whatever else costs a thread time."""

    def __init__(self, reader: RequestReader) -> None:
        """Judge calls by the queue of their threads, as `reader` names it."""
        self._reader = reader
        self._queues: defaultdict[str, StandingQueue] = defaultdict(StandingQueue)

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the handler of a method for a call that comes now."""
        handler = continuation(details)
        if handler is None:
            return None
        whose = self._reader.threads_of(details.method)
        arrival = self._queues[whose].come(time.monotonic())
        return behind(handler, lambda behaviour: self._in_time(behaviour, whose, arrival))

    def _in_time(self, behaviour: Any, whose: str, arrival: Arrival) -> Callable[..., Any]:
        def call(request: Any, context: grpc.ServicerContext, *rest: Any) -> Any:
            held = self._reader.waits_for_silent(whose)
            if self._queues[whose].is_too_late(arrival, time.monotonic(), held=held):
                refuse(context, TooManyCalls("as many calls wait as this node can begin soon"))
            return behaviour(request, context, *rest)

        return call
