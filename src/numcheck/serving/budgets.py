"""Budgets of new numbers (R9): about how many different numbers a messenger may ask in a day of UTC.

Invariants: every number that was answered about, and is not on a registration of the caller's own, was taken of the
budget before, in the store and so for all nodes; what a node has taken and lost counts as spent. Numbers lie in the
store sealed. While a budget cannot be read, nothing new is answered about; what was asked before is.

A node takes a part of what is left at a time, so that nearly all requests are answered without the store. It is only
when its part does not suffice that it looks which numbers were the caller's own, and gives those back.
"""

import secrets
import threading
import time
import zlib
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from numcheck._budget import Allowance
from numcheck.access import Caller, Role
from numcheck.api.access import this_caller
from numcheck.api.asking import asker_name
from numcheck.config import Settings
from numcheck.errors import NumcheckError, StoreDamaged, TooManyNewNumbers
from numcheck.hosts import is_loopback
from numcheck.moments import EPOCH
from numcheck.registrations.sealing import NONCE_SIZE
from numcheck.registrations.states import RegistrationState
from numcheck.registrations.vault import Vault
from numcheck.store.budgets import AskedRow, Judge, Taking
from numcheck.worker import Worker

BUDGET_BEYOND_LOOPBACK = 10_000  # where the settings say nothing; on loopback there is none then
PART = 64  # of what is left a node takes so much at a time,
PART_MAX = 4_096  # and no more, as it then looks up as many
TOLD_SHARE = 10  # callers are told when less than one in so many is left
NUMBER_SIZE = 8
PIECE_SIZE = 256 * NUMBER_SIZE  # bytes of numbers that are looked up at a time
LOOK_INTERVAL_S = 1.0  # the next day begins that much later at most
SAVE_INTERVAL_S = 60.0  # what was asked since is new again after a crash
OWN = (RegistrationState.VERIFIED, RegistrationState.OVERDUE)
"""States of registrations whose numbers are free: a user who merely began one may know nothing of its number."""

log = structlog.get_logger()


class StoredBudgets(Protocol):
    """The entries of budgets, of all nodes that share them, as `store/budgets.py` has them."""

    def rows(self, service: str, day: int, *, after: int) -> list[AskedRow]:
        """Return what was taken of a day's budget behind an entry."""

    def take(self, service: str, day: int, *, after: int, judge: Judge) -> list[AskedRow]:
        """Have `judge` see the rows behind an entry and give another to be made, or None. Return all of them."""

    def owned(self, service: str, number_tags: Sequence[bytes], states: Sequence[int]) -> set[bytes]:
        """Return those of the tags on whose numbers the service has a registration in one of these states."""


class Account:
    """One caller's budget of a day, as this node knows it. Methods may be called from any thread."""

    def __init__(self, name: str, service: str, stored: StoredBudgets, vault: Vault) -> None:
        """`name` is the caller's in logs and metrics; without a `service` any registration counts as its own."""
        self.name, self.allowance, self.refused_count = name, Allowance(), 0
        self._service, self._stored, self._vault = service, stored, vault
        self._turn = threading.Lock()
        self._begin(-1, 0)

    def _begin(self, day: int, budget: int) -> None:
        self._day, self.budget = day, budget
        self._seen = self._taken = 0  # the last entry of the store that is known, and what all entries took
        self._is_lost = False  # an entry is not what was written
        self._unsaved = bytearray()  # numbers asked that no entry has yet
        self._said: set[str] = set()
        self.allowance.begin(unbounded=not budget)

    def follow(self, now: datetime, budget: int) -> None:
        """Begin a new day if it is one, and go by this budget; 0: there is none."""
        with self._turn:
            self._follow(now, budget)

    def _follow(self, now: datetime, budget: int) -> None:
        day = _day_of(now)
        if day != self._day or bool(budget) != bool(self.budget):
            self._begin(day, budget)
        elif budget != self.budget:
            self.budget = budget
            self._tell()

    @property
    def left(self) -> int:
        """How many new numbers are left of the day's budget, as far as this node knows what others took."""
        return self.allowance.left + self._left_in_store()

    def _left_in_store(self) -> int:
        return 0 if self._is_lost else max(self.budget - self._taken, 0)

    def spend(self, numbers: bytes, now: datetime, budget: int) -> None:
        """Take numbers, eight bytes each; TooManyNewNumbers, and nothing is taken, if more are new than are left."""
        if self.allowance.try_take(numbers):
            return
        with self._turn:
            self._follow(now, budget)
            while not self.allowance.try_take(self.allowance.unknown(numbers)):
                self._make_room(numbers, now)

    def _make_room(self, numbers: bytes, now: datetime) -> None:
        """Take of the budget what those of the numbers need that are new and not the caller's own."""
        self._note(self._stored.rows(self._service, self._day, after=self._seen))
        self._settle()
        unknown, count = self.allowance.unknown(numbers), 0
        for some in _pieces(unknown):
            own, others = self._sorted(some)
            self.allowance.know(own)
            count += len(others) // NUMBER_SIZE
            if count > self.left:
                raise self._refusal(now)
        if count > self.allowance.left:
            self._take(count)
            if count > self.allowance.left:
                raise self._refusal(now)

    def _refusal(self, now: datetime) -> TooManyNewNumbers:
        self.refused_count += 1
        self._say("a caller is refused: its budget of new numbers does not suffice")
        turns_at = EPOCH + timedelta(days=self._day + 1)
        return TooManyNewNumbers(self.budget, self.left, turns_at, (turns_at - now).total_seconds())

    def _settle(self) -> None:
        """Give back what was taken for numbers of the caller's own."""
        for some in _pieces(self.allowance.fresh()):
            own, others = self._sorted(some)
            self.allowance.settle(len(some) // NUMBER_SIZE)
            self.allowance.give(len(own) // NUMBER_SIZE)
            self._unsaved += others

    def _sorted(self, numbers: bytes) -> tuple[bytes, bytes]:
        """Return the numbers that the caller has a registration on, and the others."""
        values = array("Q", numbers)
        tags = list(zip(*self._vault.tags_of_numbers(values), strict=True))
        owned = self._stored.owned(self._service, [tag for some in tags for tag in some], OWN)
        own, others = array("Q"), array("Q")
        for value, some in zip(values, tags, strict=True):
            (others if owned.isdisjoint(some) else own).append(value)
        return own.tobytes(), others.tobytes()

    def _take(self, count: int) -> None:
        """Take enough of what the store has left for so many new numbers, and some for those that follow."""
        taken = 0

        def judge(rows: Sequence[AskedRow]) -> Taking | None:
            nonlocal taken
            left = max(self._left_in_store() - sum(row.taken for row in rows), 0)
            taken = min(left, max(count - self.allowance.left, min(left // PART, PART_MAX)))
            return self._row(taken) if taken > 0 else None

        rows = self._stored.take(self._service, self._day, after=self._seen, judge=judge)
        if taken > 0:
            self._unsaved.clear()
            self.allowance.give(taken)
        self._note(rows)

    def _row(self, taken: int) -> Taking:
        """Return an entry of the store: what is taken, and the numbers that no entry has yet, sealed."""
        key, numbers = self._vault.newest, array("Q", bytes(self._unsaved))
        plain = zlib.compress(array("Q", sorted(numbers)).tobytes())
        return Taking(taken, key.key_id, key.seal(plain, self._owner(taken), secrets.token_bytes(NONCE_SIZE)))

    def _owner(self, taken: int) -> bytes:
        """Return what an entry is sealed for: nobody moves it to another day or service, or makes it another size."""
        return f"asked\0{self._service}\0{self._day}\0{taken}".encode()

    def _note(self, rows: Sequence[AskedRow]) -> None:
        """Know what entries of the store say, whichever node made them."""
        for row in rows:
            self._seen, self._taken = row.entry_id, self._taken + row.taken
            key = self._vault.try_key(row.key_id)
            try:
                sealed = b"" if key is None else key.open(row.sealed, self._owner(row.taken))
            except StoreDamaged:
                sealed = b""
            if sealed:
                self.allowance.know(zlib.decompress(sealed))
            elif not self._is_lost:
                self._is_lost = True
                log.error("what a caller has asked about is not what was written: nothing is left", caller=self.name)
        self._tell()

    def _tell(self) -> None:
        """Have the caller and the log told if little is left."""
        self.allowance.tell(reserve=self._left_in_store(), below=-(-self.budget // TOLD_SHARE))
        if self.budget and self.allowance.few_left() is not None:
            self._say("a caller nears its budget of new numbers")

    def _say(self, what: str) -> None:
        """Say it in the log, once a day."""
        if what not in self._said:
            self._said.add(what)
            log.warning(what, caller=self.name, budget=self.budget, left=self.left)

    def save(self, *, give_back: bool = False) -> None:
        """Have the store know the numbers that were asked; give back what is left here, so that others may have it."""
        with self._turn:
            self._settle()
            given = self.allowance.give(-self.allowance.left) if give_back else 0
            if given or self._unsaved:
                rows = self._stored.take(self._service, self._day, after=self._seen, judge=lambda _: self._row(given))
                self._unsaved.clear()
                self._note(rows)


class Budgets:
    """The budgets of all callers, from `start` to `stop`."""

    def __init__(
        self, stored: StoredBudgets, vault: Vault, settings: Settings, *, now: Callable[[], datetime] | None = None
    ) -> None:
        self._stored, self._vault, self._settings = stored, vault, settings
        self._now = now or (lambda: datetime.now(UTC))
        self._accounts: dict[str, Account] = {}
        self._turn = threading.Lock()
        self._saved_at = time.monotonic()
        self._worker = Worker("budgets", self._look, "budgets of new numbers are not looked at")

    def start(self) -> None:
        """Begin to let days begin."""
        self._worker.start()

    def stop(self) -> None:
        """End, once the doors have stopped, and give back what was taken and not used."""
        self._worker.stop()
        for account in self._accounts.values():
            with suppress(NumcheckError):  # what cannot be given back is spent
                account.save(give_back=True)

    def take(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self._settings = settings
        self.look()

    def look(self) -> None:
        """Begin a new day, if it is one, and go by the settings, for each caller."""
        for service, account in list(self._accounts.items()):
            account.follow(self._now(), self._budget_of(service))

    def save(self) -> None:
        """Have the store know the numbers that were asked so far: those that it does not know are new after a crash."""
        for account in list(self._accounts.values()):
            account.save()

    def _look(self) -> float:
        self.look()
        if time.monotonic() > self._saved_at + SAVE_INTERVAL_S:
            self._saved_at = time.monotonic()
            self.save()
        return LOOK_INTERVAL_S

    def _budget_of(self, service: str) -> int:
        own = self._settings.services.get(service)
        found = None if own is None else own.new_numbers_per_day_max
        found = self._settings.new_numbers_per_day_max if found is None else found
        if found is None:
            return 0 if is_loopback(self._settings.listen.rpartition(":")[0]) else BUDGET_BEYOND_LOOPBACK
        return found

    def _account_of(self, caller: Caller) -> Account | None:
        """Return the account of a messenger; in plaintext, where nobody is one, everybody has one together."""
        if caller.role is not Role.MESSENGER and self._settings.tls:
            return None
        service = caller.service or ""
        with self._turn:
            if service not in self._accounts:
                account = Account(asker_name(caller), service, self._stored, self._vault)
                account.follow(self._now(), self._budget_of(service))
                self._accounts[service] = account
            return self._accounts[service]

    def allowance_of(self, caller: Caller) -> Allowance | None:
        """Return what a door may answer the caller about by itself; None: whatever it asks."""
        account = self._account_of(caller)
        return None if account is None else account.allowance

    def spend(self, numbers: bytes) -> None:
        """Take numbers, eight bytes each, of the budget of whoever makes the call that this thread serves.

        TooManyNewNumbers, and nothing is taken, if more of them are new than are left.
        """
        caller = this_caller()
        account = self._account_of(caller)
        if account is not None:
            account.spend(numbers, self._now(), self._budget_of(caller.service or ""))

    def accounts(self) -> list[Account]:
        """Return the accounts of callers that have a budget, by name."""
        return sorted((one for one in list(self._accounts.values()) if one.budget), key=lambda one: one.name)


def _day_of(now: datetime) -> int:
    return (now - EPOCH).days


def _pieces(numbers: bytes) -> list[bytes]:
    return [numbers[place : place + PIECE_SIZE] for place in range(0, len(numbers), PIECE_SIZE)]
