"""A thread that lets time pass for registrations, by a clock whose steps make nothing due early."""

import threading
import time
from datetime import UTC, datetime

import structlog

from numcheck.errors import NumcheckError
from numcheck.moments import moment
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.due import SteadyClock
from numcheck.store import Registrations

INTERVAL_S = 1.0

log = structlog.get_logger()


class NodeClock:
    """A steady clock that begins at the machine's time when it is first asked. Safe to ask from any thread."""

    def __init__(self) -> None:
        self._clock: SteadyClock | None = None
        self._lock = threading.Lock()

    def tell(self, wall: datetime) -> datetime:
        """The time when the machine's clock says this."""
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
    """Passes time every second until it is stopped. What cannot be written is tried again a second later."""

    def __init__(self, registrations: Registrations, clock: TrustedClock) -> None:
        self._registrations, self._clock = registrations, clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timekeeper")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the piece under way."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        calendar = Calendar(self._registrations)
        while not self._stopping.is_set():
            try:
                calendar.pass_time(self._clock.tell(datetime.now(UTC)))
            except (NumcheckError, OSError) as error:
                log.error("time cannot be passed", error=type(error).__name__)
            self._stopping.wait(INTERVAL_S)
