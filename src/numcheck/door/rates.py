"""Bounds how often each party may call a method: `calls_per_second_max` in the settings.

A party's calls of a method count together, whatever connection or credential they come by; each node counts its own.
"""

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from numcheck.access import METHODS, Runs
from numcheck.api.access import this_caller
from numcheck.door.methods import Service
from numcheck.errors import CallRateExceeded
from numcheck.steps import Steps

BURST_S = 1.0  # so much of a rate may come at once


class Rates:
    """Each party's calls of each method, by the generic cell rate algorithm (ITU-T I.371). Any thread may ask."""

    def __init__(self, per_second: Mapping[str, float], clock_s: Callable[[], float] = time.monotonic) -> None:
        """`per_second` has the calls a second by a method's path; a method that is not in it is not bounded."""
        self.per_second = dict(per_second)
        self._clock_s, self._lock = clock_s, threading.Lock()
        self._next_s: dict[tuple[str, str], float] = {}  # when the next call would be on time, by method and party

    def take(self, path: str, party: str) -> None:
        """Count a call; CallRateExceeded, and it does not count, if it comes too early."""
        per_second = self.per_second.get(path)
        if per_second is None:
            return
        interval_s, now_s = 1 / per_second, self._clock_s()
        with self._lock:
            next_s = max(self._next_s.get((path, party), now_s), now_s)
            early_s = next_s - now_s - max(BURST_S - interval_s, 0)
            if early_s > 0:
                raise CallRateExceeded(per_second, early_s)
            self._next_s[path, party] = next_s + interval_s


class RatedService:
    """A service whose methods are bounded by rates."""

    def __init__(self, service: Service, rates: Rates) -> None:
        self._service, self._rates = service, rates

    @property
    def name(self) -> str:
        """Its full name."""
        return self._service.name

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the function of each method, which counts the call first."""
        return {name: self._rated(f"/{self.name}/{name}", answer) for name, answer in self._service.methods().items()}

    def _rated(self, path: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        take = partial(self._rates.take, path)

        def steps(request: bytes, call: Any) -> Steps[bytes]:
            take(this_caller().party)
            response: bytes = yield from answer(request, call)
            return response

        def called(*request: Any) -> Any:
            take(this_caller().party)
            return answer(*request)

        return steps if METHODS[path].runs in (Runs.LOOKUP, Runs.GROUPED) else called
