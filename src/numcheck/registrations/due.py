"""When a registration has to be refreshed (I.6), and what the time is when the clock cannot be trusted (R15).

Invariants: a due time is at most 365 days after the refresh that it follows. The time that `SteadyClock` tells never
goes back, and never is ahead of a clock that ran on from its start by more than has truly passed, unless the machine's
clock has stood there for an hour: a step of the clock makes nothing due early.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from numcheck.moments import microseconds_of

REFRESH_AFTER_MAX = timedelta(days=365)
REMIND_BEFORE = timedelta(days=30)
REMIND_BEFORE_US = microseconds_of(REMIND_BEFORE)
STEP_MIN = timedelta(seconds=30)  # what a clock may be corrected by without being doubted
STEP_SETTLES_AFTER = timedelta(hours=1)


def due_at(refreshed_at: datetime, refresh_after: timedelta) -> datetime:
    """By when a registration that was refreshed then has to be refreshed again."""
    return refreshed_at + min(refresh_after, REFRESH_AFTER_MAX)


def spread_due_us(registration_id: bytes, latest_us: int) -> int:
    """Return by when an imported registration has to be refreshed: at random between a month after it was made and the
    latest moment. Both lie in its id, so that it is known again."""
    made_us = 1_000 * int.from_bytes(registration_id[:6], "big")
    earliest_us = made_us + REMIND_BEFORE_US
    span_us = max(latest_us - earliest_us, 0)
    return latest_us - (span_us * int.from_bytes(registration_id[-4:], "big") >> 32)


def next_us(due_us: int, *, reminded: bool) -> int:
    """Return when time alone next does something to a registration that falls due: the reminder, or the due time
    itself."""
    return due_us if reminded else due_us - REMIND_BEFORE_US


@dataclass
class SteadyClock:
    """The time to judge due times by. It is told the machine's clock, and seconds since some start, which never jump.

    `trusted` is a moment that was told before, such as the last one of the process before this; None if there is none.
    """

    trusted: datetime | None = None
    _ran_s: float | None = None
    _doubted_since_s: float | None = None
    _doubted_at: datetime | None = None

    def tell(self, wall: datetime, ran_s: float) -> datetime:
        """Return the time now."""
        if self.trusted is None:
            self.trusted = wall
        elapsed = timedelta(seconds=0 if self._ran_s is None else max(ran_s - self._ran_s, 0))
        self._ran_s = ran_s
        expected = self.trusted + elapsed
        if wall <= expected + STEP_MIN:
            self._doubted_since_s = None
            # A clock that was set back holds the time still until it catches up.
            self.trusted = max(self.trusted, min(wall, expected + STEP_MIN))
        elif self._settled(wall, ran_s):
            self._doubted_since_s = None
            self.trusted = wall
        else:
            self.trusted = expected
        return self.trusted

    def _settled(self, wall: datetime, ran_s: float) -> bool:
        """Return True if the machine's clock has run evenly, ahead of what is trusted, for an hour."""
        even = (
            self._doubted_since_s is not None
            and self._doubted_at is not None
            and abs(wall - self._doubted_at - timedelta(seconds=ran_s - self._doubted_since_s)) <= STEP_MIN
        )
        if not even:
            self._doubted_since_s, self._doubted_at = ran_s, wall
        assert self._doubted_since_s is not None
        return ran_s - self._doubted_since_s >= STEP_SETTLES_AFTER.total_seconds()
