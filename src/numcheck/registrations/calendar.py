"""Moves registrations by time alone (I.6, R15): the reminder, 30 days before the due time, and OVERDUE at it.

Invariants: each due time is reminded of once at most and missed once at most, and neither before its moment by the
steady clock; both are events, in the transaction that changes the registration.
"""

from datetime import datetime, timedelta

from numcheck.moments import microseconds
from numcheck.registrations.registration import apply, store_changes
from numcheck.registrations.states import FALLS_DUE, EventKind
from numcheck.store import Registrations, RegistrationWork

PIECE_SIZE = 200  # registrations in a transaction: others wait no longer than it takes
TRUST_KEPT_EVERY = timedelta(minutes=1)
PRUNED_EVERY = timedelta(hours=1)
CODES_KEPT = timedelta(days=30)  # far longer than any limit of codes looks back
IDENTIFICATIONS_KEPT = timedelta(days=365)  # once they have ended
RECORD_KEPT = timedelta(days=1_095)
RECORD_JOINED_AFTER = timedelta(days=2)  # their day is over, whatever two nodes' clocks say
WITHDRAWALS_KEPT = timedelta(hours=1)  # far longer than a call lasts that has looked at an older index


class Calendar:
    """Keeps due times. One thread calls `pass_time`."""

    def __init__(self, registrations: Registrations, *, record_kept: timedelta = RECORD_KEPT) -> None:
        """`record_kept` is how long the record of withdrawals is kept."""
        self._registrations, self._record_kept = registrations, record_kept
        self._trust_kept_at: datetime | None = None
        self._pruned_at: datetime | None = None

    def pass_time(self, now: datetime) -> int:
        """Do all that is to be done by now, a moment of a steady clock; to how many registrations it was."""
        count = 0
        while self._registrations.any_awaited(microseconds(now)):
            count += self._registrations.write(lambda work: _piece(work, microseconds(now)))
        if self._trust_kept_at is None or now - self._trust_kept_at >= TRUST_KEPT_EVERY:
            self._registrations.write(lambda work: work.trust_time(microseconds(now)))
            self._trust_kept_at = now
        if self._pruned_at is None or now - self._pruned_at >= PRUNED_EVERY:
            self._registrations.write(lambda work: work.prune(before_us=microseconds(now - CODES_KEPT)))
            ended_us = microseconds(now - IDENTIFICATIONS_KEPT)
            self._registrations.write(lambda work: work.forget_identifications(before_us=ended_us))
            before_us = microseconds(now - WITHDRAWALS_KEPT)
            self._registrations.drop_withdrawn(before_us=before_us, at_us=microseconds(now))
            self._tidy_record(now)
            self._pruned_at = now
        return count

    def _tidy_record(self, now: datetime) -> None:
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self._registrations.tidy_record(
            kept_since_us=microseconds(today - self._record_kept),
            joined_before_us=microseconds(today - RECORD_JOINED_AFTER),
            at_us=microseconds(now),
        )


def _piece(work: RegistrationWork, now_us: int) -> int:
    awaited = work.awaited(now_us, count_max=PIECE_SIZE)
    due = [row for row in awaited if row.state in FALLS_DUE]
    for row in due:
        what = EventKind.MISS if row.due_at_us <= now_us else EventKind.REMIND
        store_changes(work, row, apply(work, row, what, now_us, changes={}))
    # The others were revoked with many, which left that to us.
    work.await_nothing([row.registration_id for row in awaited if row.state not in FALLS_DUE])
    return len(due)
