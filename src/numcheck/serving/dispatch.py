"""Hands each code to the first courier in order that has its channel, and to the next one if that fails.

Invariants: a courier that failed FAILURES_MAX times in a row rests, and one code each OPEN_S tries it, as long as
another has the channel; no line of the log has a number or a code (R11). A courier that failed may have handed the code
over all the same, so that a user may get it twice; it is one code, and counts once (R10).
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import structlog

from numcheck.errors import DeliveryFailed
from numcheck.registrations.verifier import Courier
from numcheck.serving.breaker import Breaker

log = structlog.get_logger()

HANDED_OVER, FAILED = "handed_over", "failed"
PATIENCE_MIN_S = 1.0  # that a caller has to have left for another courier to be tried


class Tally(NamedTuple):
    """The labels under which codes are counted."""

    courier: str
    channel: str
    outcome: str


class Route:
    """A courier in its place: with a name, the channels that it serves, and its breaker."""

    def __init__(self, name: str, courier: Courier, channels: frozenset[str], clock: Callable[[], float]) -> None:
        self.name, self.channels = name, channels
        self._courier, self._breaker = courier, Breaker(clock)

    def rests(self) -> bool:
        """Return True if it failed too often to be tried now."""
        return not self._breaker.admits()

    def send(self, number: int, code: str, *, channel: str, service: str, message_id: str) -> None:
        """Hand the code over; DeliveryFailed if that cannot be done."""
        try:
            self._courier.send(number, code, channel=channel, service=service, message_id=message_id)
        except DeliveryFailed as failure:
            rests = self._breaker.failed()
            log.warning("a code was not handed over", courier=self.name, problem=str(failure), rests=rests)
            raise
        self._breaker.succeeded()


class Dispatcher:
    """Couriers in order, as one. Safe to use from any thread."""

    def __init__(self, routes: Sequence[Route], *, patience_s: Callable[[], float]) -> None:
        """`patience_s` says how long the caller of a code still waits."""
        self._routes, self._patience_s = routes, patience_s
        self._lock = threading.Lock()
        self._counts = Counter[Tally]()
        self.channels = frozenset[str]().union(*(route.channels for route in routes))

    @property
    def counts(self) -> Mapping[Tally, int]:
        """Count of codes by courier, channel and outcome."""
        with self._lock:
            return dict(self._counts)

    def send(self, number: int, code: str, *, channel: str, service: str, message_id: str) -> None:
        """Hand the code over by one courier or another; DeliveryFailed if none of them takes it."""
        able = [route for route in self._routes if channel in route.channels]
        failure: DeliveryFailed | None = None
        for route in self._in_turn(able):
            if failure is not None and self._patience_s() < PATIENCE_MIN_S:
                break
            try:
                route.send(number, code, channel=channel, service=service, message_id=message_id)
            except DeliveryFailed as one:
                failure = one
                self._count(route, channel, FAILED)
            else:
                self._count(route, channel, HANDED_OVER)
                return
        raise failure or DeliveryFailed("no courier has the channel")

    def _in_turn(self, able: Sequence[Route]) -> Iterator[Route]:
        """Yield the couriers to try: those that do not rest, or else the first, as somebody has to be tried.

        A courier is asked only when its turn comes: a try that a resting one is due must not go to a code that another
        has taken.
        """
        tried = False
        for route in able:
            if not route.rests():
                tried = True
                yield route
        if not tried:
            yield from able[:1]

    def _count(self, route: Route, channel: str, outcome: str) -> None:
        with self._lock:
            self._counts[Tally(route.name, channel, outcome)] += 1
