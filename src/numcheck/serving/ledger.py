"""The fate of the codes that couriers took, by their receipts and by their coming back.

Invariants: a code is judged once: by a receipt that it failed, or JUDGED_AFTER_S after it was handed over by whether it
has come back. For KEPT_S, and of CODES_MAX codes, it is known what a receipt is about; the oldest of more are
forgotten, and judge nothing. No number and no code is kept.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from numcheck.delivery.receipts import FAILED, OPEN, Reports
from numcheck.delivery.shares import Share
from numcheck.registrations.codes import CODE_LIFETIME
from numcheck.store.stray_receipts import Stray

CODES_MAX = 50_000
KEPT_S = 3_600.0
JUDGED_AFTER_S = CODE_LIFETIME.total_seconds()
JUDGED_AT_ONCE = 1_000
STRAYS_MAX = 10_000  # receipts that wait to be handed over: of more, those that come last are counted as unknown
UNKNOWN_OPERATOR = ""
RETURNED, LOST = "returned", "lost"


class OutcomeTally(NamedTuple):
    """The labels under which receipts and judgements are counted."""

    courier: str
    operator: str
    outcome: str


@dataclass(eq=False, slots=True)
class _Sent:
    """A code that a courier has, or is about to get."""

    message_id: str
    courier: str
    operator: str
    share: Share
    stretch: int
    at_s: float
    names: set[str] = field(default_factory=set)
    has_receipt: bool = False
    is_judged: bool = False


class Ledger:
    """The codes that are on their way. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, and only runs forward."""
        self._clock, self._lock = clock, threading.Lock()
        self._sent: dict[tuple[str, str], _Sent] = {}  # by courier and message, the oldest first
        self._named: dict[tuple[str, str], _Sent] = {}
        self._strays: list[Stray] | None = None
        self._receipts, self._judged = Counter[OutcomeTally](), Counter[OutcomeTally]()

    # --- what is told

    @property
    def receipts(self) -> Mapping[OutcomeTally, int]:
        """Count of receipts by courier, operator (empty: of a message that is not known) and outcome."""
        with self._lock:
            return dict(self._receipts)

    @property
    def judged(self) -> Mapping[OutcomeTally, int]:
        """Count of codes that were judged by courier, operator and outcome."""
        with self._lock:
            return dict(self._judged)

    # --- what comes in

    def expect(self, message_id: str, courier: str, operator: str, share: Share, stretch: int) -> None:
        """Note that a courier is about to be given a code."""
        with self._lock:
            one = _Sent(message_id, courier, operator, share, stretch, self._clock())
            self._forget((courier, message_id))
            self._sent[courier, message_id] = one
            self._name(one, message_id)
            self._make_room()

    def withdraw(self, message_id: str, courier: str) -> None:
        """Note that the courier has not taken the code."""
        with self._lock:
            self._forget((courier, message_id))

    def reports_of(self, courier: str) -> Reports:
        """Return what takes a courier's reports."""
        return _CourierReports(self, courier)

    def name(self, courier: str, message_id: str, reference: str) -> None:
        """Note another name of a message."""
        with self._lock:
            one = self._sent.get((courier, message_id))
            if one is not None:
                self._name(one, reference)

    def take_receipt(self, courier: str, references: Iterable[str], outcome: str, *, is_stray: bool = True) -> None:
        """Count a receipt. Of one message the first that is final counts; a failure judges it.

        That of a message that is not known may be another node's, unless it is not `is_stray`.
        """
        stray = Stray(courier, list(references), outcome)
        with self._lock:
            one = self._try_known(stray)
            if one is None and is_stray and self._strays is not None and len(self._strays) < STRAYS_MAX:
                self._strays.append(stray)
                return
            if one is None:
                self._receipts[OutcomeTally(courier, UNKNOWN_OPERATOR, outcome)] += 1
                return
            if one.has_receipt:
                return
            one.has_receipt = outcome != OPEN
            self._receipts[OutcomeTally(courier, one.operator, outcome)] += 1
            if outcome == FAILED:
                self._judge(one, came_back=False)

    # --- receipts that may be another node's

    def keep_strays(self) -> None:
        """From now on keep receipts for messages that are not known, for who asks for them."""
        self._strays = []

    def strays(self) -> list[Stray]:
        """Return those that are kept."""
        with self._lock:
            return list(self._strays or ())

    def drop_strays(self, count: int) -> None:
        """Keep the first of them no more."""
        with self._lock:
            del (self._strays or [])[:count]

    def knows(self, stray: Stray) -> bool:
        """Return True if a receipt is for a message of this ledger's."""
        with self._lock:
            return self._try_known(stray) is not None

    def _try_known(self, stray: Stray) -> _Sent | None:
        return next(filter(None, (self._named.get((stray.courier, name)) for name in stray.names)), None)

    # --- judging

    def due(self) -> list[str]:
        """Return the oldest messages that are to be judged now, some at a time."""
        with self._lock:
            before_s, found = self._clock() - JUDGED_AFTER_S, list[str]()
            for one in self._sent.values():
                if one.at_s > before_s or len(found) == JUDGED_AT_ONCE:
                    break
                if not one.is_judged:
                    found.append(one.message_id)
            return found

    def judge(self, message_ids: Collection[str], came_back: Mapping[str, bool]) -> None:
        """Judge messages by whether they came back; one of which nobody knows anything says nothing."""
        with self._lock:
            wanted = set(message_ids)
            for one in self._sent.values():
                if one.message_id in wanted and not one.is_judged:
                    self._judge(one, came_back=came_back.get(one.message_id))

    def _judge(self, one: _Sent, *, came_back: bool | None) -> None:
        if one.is_judged:
            return
        one.is_judged = True
        one.share.judge(one.stretch, came_back)
        if came_back is not None:
            self._judged[OutcomeTally(one.courier, one.operator, RETURNED if came_back else LOST)] += 1

    # --- names, and room

    def _name(self, one: _Sent, name: str) -> None:
        one.names.add(name)
        self._named[one.courier, name] = one

    def _forget(self, key: tuple[str, str]) -> None:
        one = self._sent.pop(key, None)
        if one is None:
            return
        self._judge(one, came_back=None)
        for name in one.names:
            if self._named.get((one.courier, name)) is one:
                del self._named[one.courier, name]

    def _make_room(self) -> None:
        before_s = self._clock() - KEPT_S
        while self._sent:
            key, oldest = next(iter(self._sent.items()))
            if len(self._sent) <= CODES_MAX and oldest.at_s > before_s:
                return
            self._forget(key)


class _CourierReports:
    """A courier's reports."""

    def __init__(self, ledger: Ledger, courier: str) -> None:
        self._ledger, self._courier = ledger, courier

    def named(self, message_id: str, reference: str) -> None:
        """Note another name of a message."""
        self._ledger.name(self._courier, message_id, reference)

    def came(self, references: Iterator[str], outcome: str) -> None:
        """Count a receipt."""
        self._ledger.take_receipt(self._courier, references, outcome)
