"""Hands each code to the first courier in order that has its channel, and to the next one if that fails: first of the
same channel, then of the next one that the code may go by.

Invariants: a courier that failed FAILURES_MAX times in a row rests, and one code each OPEN_S tries it, as long as
another has the channel; no line of the log has a number or a code (R11). A courier that failed may have handed the code
over all the same, so that a user may get it twice; it is one code, and counts once (R10).
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from numcheck.delivery.requests import Message
from numcheck.errors import DeliveryFailed
from numcheck.registrations.registration import CodeToSend
from numcheck.serving.breaker import Breaker
from numcheck.serving.texts import Texts

log = structlog.get_logger()

HANDED_OVER, FAILED = "handed_over", "failed"
PATIENCE_MIN_S = 1.0  # that a caller has to have left for another courier to be tried


class Courier(Protocol):
    """A way out of the node: an HTTP gateway, an SMSC, the console."""

    channels: frozenset[str]

    def send(self, message: Message) -> None:
        """Hand a code over; DeliveryFailed if that cannot be done."""

    def close(self) -> None:
        """End its connections. Nobody may be sending."""


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

    def send(self, message: Message) -> None:
        """Hand the code over; DeliveryFailed if that cannot be done."""
        try:
            self._courier.send(message)
        except DeliveryFailed as failure:
            rests = self._breaker.failed()
            log.warning("a code was not handed over", courier=self.name, problem=str(failure), rests=rests)
            raise
        self._breaker.succeeded()


class Dispatcher:
    """Couriers in order, as one. Safe to use from any thread."""

    def __init__(self, routes: Sequence[Route], texts: Texts, *, patience_s: Callable[[], float]) -> None:
        """`patience_s` says how long the caller of a code still waits."""
        self._routes, self._texts, self._patience_s = routes, texts, patience_s
        self._lock = threading.Lock()
        self._counts = Counter[Tally]()
        self.channels = frozenset[str]().union(*(route.channels for route in routes))

    @property
    def counts(self) -> Mapping[Tally, int]:
        """Count of codes by courier, channel and outcome."""
        with self._lock:
            return dict(self._counts)

    def send(self, number: int, to_send: CodeToSend, *, service: str, message_id: str) -> str:
        """Hand the code over by one courier or another, and return the channel; DeliveryFailed if none takes it."""
        failure: DeliveryFailed | None = None
        for channel, route in self._in_turn(to_send.channels):
            if failure is not None and self._patience_s() < PATIENCE_MIN_S:
                break
            try:
                route.send(self._message(number, to_send, channel, service, message_id))
            except DeliveryFailed as one:
                failure = one
                self._count(route, channel, FAILED)
            else:
                self._count(route, channel, HANDED_OVER)
                return channel
        raise failure or DeliveryFailed("no courier has the channel")

    def _message(self, number: int, to_send: CodeToSend, channel: str, service: str, message_id: str) -> Message:
        code, _, language = to_send
        text = self._texts.text(service, code, language=language, channel=channel)
        return Message(number, code, channel, service, message_id, text, language)

    def _in_turn(self, channels: Sequence[str]) -> Iterator[tuple[str, Route]]:
        """Yield the couriers to try, each with the channel: those that do not rest, or else the first, as somebody has
        to be tried.

        A courier is asked only when its turn comes: a try that a resting one is due must not go to a code that another
        has taken.
        """
        able = [(channel, route) for channel in channels for route in self._routes if channel in route.channels]
        tried = False
        for channel, route in able:
            if not route.rests():
                tried = True
                yield channel, route
        if not tried:
            yield from able[:1]

    def _count(self, route: Route, channel: str, outcome: str) -> None:
        with self._lock:
            self._counts[Tally(route.name, channel, outcome)] += 1
