"""A thread that lets time pass for registrations, by a clock whose steps make nothing due early."""

import threading
import time
from datetime import UTC, datetime, timedelta

from numcheck.moments import moment
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.due import SteadyClock
from numcheck.serving.sharing import Duty
from numcheck.store import Registrations
from numcheck.worker import Worker

INTERVAL_S = 1.0


class NodeClock:
    """A steady clock that begins at the machine's time when it is first asked. Safe to ask from any thread."""

    def __init__(self) -> None:
        self._clock: SteadyClock | None = None
        self._lock = threading.Lock()

    def tell(self, wall: datetime) -> datetime:
        """Return the time when the machine's clock says this."""
        with self._lock:
            if self._clock is None:
                self._clock = SteadyClock(self._trusted())
            return self._clock.tell(wall, time.monotonic())

    def _trusted(self) -> datetime | None:
        return None


class TrustedClock(NodeClock):
    """One that begins at the time that was trusted last, by whatever node. It may raise StoreUnavailable."""

    def __init__(self, registrations: Registrations) -> None:
        super().__init__()
        self._registrations = registrations

    def _trusted(self) -> datetime | None:
        trusted_us = self._registrations.trusted_time()
        return None if trusted_us is None else moment(trusted_us)


class Timekeeper:
    """Passes time every second until it is stopped, while `duty` is this node's. A write that fails is tried again a
    second later."""

    def __init__(
        self, registrations: Registrations, clock: TrustedClock, duty: Duty, *, record_kept: timedelta
    ) -> None:
        self._calendar = Calendar(registrations.under(duty.lease), record_kept=record_kept)
        self._clock, self._duty = clock, duty
        self._worker = Worker("timekeeper", self._pass_time, "time cannot be passed", retry_s=INTERVAL_S)
        duty.on_taken = self._worker.wake
        self.start, self.stop = self._worker.start, self._worker.stop

    def _pass_time(self) -> float:
        self._duty.attempt(lambda: self._calendar.pass_time(self._clock.tell(datetime.now(UTC))))
        return INTERVAL_S
