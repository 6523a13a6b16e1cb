"""Reads that may be behind: of the standby that `database_replica_url` names, and of the store while that is of no use.

Invariants: a standby is read while it answers, is of this store's history, and is at most BEHIND_MAX_S behind; whoever
needs all that there is now gets it, from the one or the other. A call reads one of both from its beginning to its end.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from numcheck.config import Settings
from numcheck.errors import NumcheckError
from numcheck.store import Registrations, Store
from numcheck.store.events import Chain, EventLog
from numcheck.worker import Worker

LOOK_EVERY_S = 1.0
BEHIND_MAX_S = 60.0
CATCH_UP_S = 2.0  # that a reader who needs all waits for a standby to have it
CATCH_UP_LOOK_S = 0.02

log = structlog.get_logger()


def catches_up(has_all: Callable[[], bool]) -> bool:
    """Wait for a standby to have what is wanted; False if it has not within CATCH_UP_S."""
    ends = time.monotonic() + CATCH_UP_S
    while not has_all():
        if time.monotonic() > ends:
            return False
        time.sleep(CATCH_UP_LOOK_S)
    return True


class Replica:
    """Chooses what is read, from `start` to `stop`. Methods may be called from any thread."""

    def __init__(self, settings: Settings, store: Store, registrations: Registrations, chain: Chain) -> None:
        """`store` and `registrations` are those that changes go to."""
        self._url = settings.replica
        self._settings, self._own_store, self._own, self._chain = settings, store, registrations, chain
        self._store: Store | None = None
        self._standby: Registrations | None = None
        self._problem = ""
        self._worker = Worker("replica", self._look, "the standby of database_replica_url is not looked at")

    def start(self) -> None:
        """Begin to look at the standby, if there is one."""
        if self._url is not None:
            self._worker.start()

    def stop(self) -> None:
        """Read it no more."""
        self._worker.stop()
        self._leave()

    @property
    def used(self) -> bool | None:
        """True while the standby is read; None if the settings name none."""
        return None if self._url is None else self._standby is not None

    def behind(self) -> Registrations:
        """Return registrations to be read where what is read may be behind."""
        return self._standby or self._own

    def caught_up(self) -> Registrations:
        """Return registrations to be read that have every event that there is now; this may wait for the standby."""
        standby = self._standby
        if standby is None:
            return self._own
        head = self._own.events.try_head()
        wanted = head.sequence if head else 0
        return standby if catches_up(lambda: _sequence(standby.events) >= wanted) else self._own

    def _look(self) -> float:
        """Judge the standby; while the store itself is away, what was found last holds."""
        try:
            store = self._opened()
            point, head = store.point, store.events().try_head()
        except NumcheckError as error:
            self._leave(str(error))
            return LOOK_EVERY_S
        known = self._own_store.has(point) and store.installation_id == self._own_store.installation_id
        if head is not None:
            after = self._own_store.events().after(head.sequence - 1, count_max=1)
            known = known and [one.hash for one in after] == [head.hash]
        if not known:
            self._leave("it is of another history, or of another installation")
        elif self._is_far_behind(store):
            self._leave(f"it is more than {BEHIND_MAX_S:.0f} s behind")
        elif self._standby is None:
            self._standby, self._problem = store.registrations(self._chain), ""
            log.info("the standby of database_replica_url is read by lists and audits")
        return LOOK_EVERY_S

    def _is_far_behind(self, store: Store) -> bool:
        """Return True if changes that the store has had for long are not on the standby."""
        as_of, head = store.as_of, self._own_store.events().try_head()
        has_all = store.point == self._own_store.point and (head is None or _sequence(store.events()) >= head.sequence)
        return as_of is not None and not has_all and (datetime.now(UTC) - as_of).total_seconds() > BEHIND_MAX_S

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self._settings.data_dir, url=self._url, read_only=True)
        return self._store

    def _leave(self, problem: str = "") -> None:
        """Read the standby no more, and say why if that is news; a connection is made anew."""
        self._standby, store, self._store = None, self._store, None
        if store is not None:
            store.close()
        if problem and problem != self._problem:
            log.warning("the standby of database_replica_url is of no use: the store is read", problem=problem)
        self._problem = problem


def _sequence(events: EventLog) -> int:
    head = events.try_head()
    return head.sequence if head else 0
