"""Hands each code to the first courier in order that has its channel, and to the next one if that fails: first of the
same channel, then of the next one that the code may go by.

Invariants: a courier that failed FAILURES_MAX times in a row rests, and one code each OPEN_S tries it; one whose codes
do not come back rests for that operator's numbers (delivery/shares.py); either as long as another can be tried. No line
of the log has a number or a code (R11). A courier that failed may have handed the code over all the same, so that a
user may get it twice; it is one code, and counts once (R10).
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from numcheck import spans
from numcheck.delivery.requests import Message
from numcheck.delivery.shares import Share
from numcheck.errors import DeliveryFailed
from numcheck.registrations.registration import CodeToSend
from numcheck.serving.breaker import Breaker
from numcheck.serving.ledger import Ledger
from numcheck.serving.terms import Terms

log = structlog.get_logger()

HANDED_OVER, FAILED = "handed_over", "failed"
PATIENCE_MIN_S = 1.0  # that a caller has to have left for another courier to be tried


class Courier(Protocol):
    """A way out of the node: an HTTP gateway, an SMSC, the console."""

    channels: frozenset[str]

    def send(self, message: Message) -> str:
        """Hand a code over, and return the name that its carrier gave it, if it did; DeliveryFailed."""

    def close(self) -> None:
        """End its connections. Nobody may be sending."""


class Tally(NamedTuple):
    """The labels under which codes are counted."""

    courier: str
    channel: str
    outcome: str


class Admission(NamedTuple):
    """A code's leave to go over a courier: the share that it counts for, and the stretch of that."""

    share: Share
    stretch: int


class Route:
    """A courier in its place: with a name, the channels that it serves, its breaker, and its share by operator."""

    def __init__(
        self,
        name: str,
        courier: Courier,
        channels: frozenset[str],
        clock: Callable[[], float],
        percent_min: Callable[[], int],
    ) -> None:
        """`percent_min` is the least share of its codes that has to come back."""
        self.name, self.channels = name, channels
        self._courier, self._breaker = courier, Breaker(clock)
        self._clock, self._percent_min = clock, percent_min
        self._shares: dict[str, Share] = {}  # as many as there are operators

    @property
    def shares(self) -> Mapping[str, Share]:
        """The share of its codes that come back, by operator."""
        return dict(self._shares)

    @property
    def fails(self) -> bool:
        """True if it rests for every operator's numbers, as it failed too often in a row."""
        return self._breaker.is_open

    def try_admit(self, operator: str) -> Admission | None:
        """Return the leave of a code to an operator's number; None if the courier rests."""
        share = self._share_of(operator)
        stretch = share.try_admit()
        if stretch is None:
            return None
        if not self._breaker.admits():
            share.judge(stretch, None)
            return None
        return Admission(share, stretch)

    def admit(self, operator: str) -> Admission:
        """Return the leave of a code that has no other courier."""
        share = self._share_of(operator)
        return Admission(share, share.stretch)

    def send(self, message: Message) -> str:
        """Hand the code over, as its courier does."""
        try:
            reference = self._courier.send(message)
        except DeliveryFailed as failure:
            rests = self._breaker.failed()
            log.warning("a code was not handed over", courier=self.name, problem=str(failure), rests=rests)
            raise
        self._breaker.succeeded()
        return reference

    def _share_of(self, operator: str) -> Share:
        return self._shares.get(operator) or self._shares.setdefault(operator, Share(self._clock, self._percent_min))


class Dispatcher:
    """Couriers in order, as one. Safe to use from any thread."""

    def __init__(
        self,
        routes: Sequence[Route],
        terms: Terms,
        ledger: Ledger,
        *,
        operator_of: Callable[[int], str],
        patience_s: Callable[[], float],
    ) -> None:
        """`operator_of` says which operator serves a number; `patience_s` how long the caller of a code still waits."""
        self._routes, self._terms, self._ledger = routes, terms, ledger
        self._operator_of, self._patience_s = operator_of, patience_s
        self._lock = threading.Lock()
        self._counts = Counter[Tally]()
        self.channels = frozenset[str]().union(*(route.channels for route in routes))

    @property
    def counts(self) -> Mapping[Tally, int]:
        """Count of codes by courier, channel and outcome."""
        with self._lock:
            return dict(self._counts)

    @property
    def rests(self) -> Mapping[tuple[str, str], bool]:
        """The couriers that are passed over, or not: by name, and operator or, for all of them, the empty one."""
        of_all = {(route.name, ""): route.fails for route in self._routes}
        by_share = {(route.name, name): one.rests for route in self._routes for name, one in route.shares.items()}
        return of_all | {key: rests for key, rests in by_share.items() if key[1]}

    def send(self, number: int, to_send: CodeToSend, *, service: str, message_id: str) -> str:
        """Hand the code over by one courier or another, and return the channel; DeliveryFailed if none takes it."""
        failure, operator = DeliveryFailed("no courier has the channel"), self._operator_of(number)
        for channel, route, admission in self._in_turn(to_send.channels, operator):
            self._ledger.expect(message_id, route.name, operator, *admission)
            try:
                with spans.part("courier") as tell:
                    tell(courier=route.name, channel=channel)
                    reference = route.send(self._message(number, to_send, channel, service, message_id))
            except DeliveryFailed as one:
                failure = one
                self._ledger.withdraw(message_id, route.name)
                self._count(route, channel, FAILED)
            else:
                if reference:
                    self._ledger.name(route.name, message_id, reference)
                self._count(route, channel, HANDED_OVER)
                return channel
        raise failure

    def _message(self, number: int, to_send: CodeToSend, channel: str, service: str, message_id: str) -> Message:
        code, _, language = to_send
        text = self._terms.text(service, code, language=language, channel=channel)
        return Message(number, code, channel, service, message_id, text, language)

    def _in_turn(self, channels: Sequence[str], operator: str) -> Iterator[tuple[str, Route, Admission]]:
        """Yield the couriers to try, each with the channel, as long as the caller waits: those that do not rest, or
        else the first, as somebody has to be tried.

        A courier is asked only when its turn comes: a try that a resting one is due must not go to a code that another
        has taken.
        """
        able = [(channel, route) for channel in channels for route in self._routes if channel in route.channels]
        tried = False
        for channel, route in able:
            if tried and self._patience_s() < PATIENCE_MIN_S:
                return
            admission = route.try_admit(operator)
            if admission is not None:
                tried = True
                yield channel, route, admission
        if not tried:
            yield from ((channel, route, route.admit(operator)) for channel, route in able[:1])

    def _count(self, route: Route, channel: str, outcome: str) -> None:
        with self._lock:
            self._counts[Tally(route.name, channel, outcome)] += 1
