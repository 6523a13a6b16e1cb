"""The rule by which a courier whose codes do not come back is passed over.

Invariants: a courier rests when of its last SAMPLES codes that were judged fewer than the least share came back, and
never before it has that many. It rests REST_S; then PROBES codes try it, and when all of them are judged it serves
again, or rests again. A code says nothing of another stretch than the one in which it was sent. What is kept of each
is SAMPLES outcomes and some numbers.
"""

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum

SAMPLES = 50
REST_S = 600.0
PROBES = 10


class _State(Enum):
    SERVES = "serves"
    RESTS = "rests"
    TRIED = "tried"


class Share:
    """The share of a courier's codes that come back, of those to the numbers of one operator. Safe from any thread."""

    def __init__(self, clock: Callable[[], float], percent_min: Callable[[], int]) -> None:
        """`clock` gives seconds, and only runs forward; `percent_min` the least share, 0 if any will do."""
        self._clock, self._percent_min = clock, percent_min
        self._lock = threading.Lock()
        self._state, self._stretch, self._rests_until, self._probes_left = _State.SERVES, 0, 0.0, 0
        self._last: deque[bool] = deque(maxlen=SAMPLES)

    @property
    def rests(self) -> bool:
        """True if it is passed over, but for codes that try it."""
        with self._lock:
            return self._state is not _State.SERVES and self._percent_min() > 0

    @property
    def last(self) -> tuple[int, int]:
        """Count of the last codes that were judged, and of those of them that came back."""
        with self._lock:
            return len(self._last), sum(self._last)

    @property
    def stretch(self) -> int:
        """The stretch that a code is of that goes now, whether or not it was admitted."""
        with self._lock:
            return self._stretch

    def try_admit(self) -> int | None:
        """Return the stretch that a code is of, which may go now; None if the courier rests.

        Whoever gets one says by `judge` how it went.
        """
        with self._lock:
            if self._percent_min() == 0:
                self._begin(_State.SERVES)
            if self._state is _State.RESTS and self._clock() >= self._rests_until:
                self._begin(_State.TRIED)
                self._probes_left = PROBES
            if self._state is _State.SERVES:
                return self._stretch
            if self._state is _State.RESTS or self._probes_left == 0:
                return None
            self._probes_left -= 1
            return self._stretch

    def judge(self, stretch: int, came_back: bool | None) -> None:
        """Note that a code came back, or did not; None: nobody will ever know."""
        with self._lock:
            if stretch != self._stretch or self._state is _State.RESTS:
                return
            if came_back is None:
                # Codes that had no other courier were no probes: their places are none.
                self._probes_left = min(self._probes_left + (self._state is _State.TRIED), PROBES)
                return
            self._last.append(came_back)
            if len(self._last) < (PROBES if self._state is _State.TRIED else SAMPLES):
                return
            if sum(self._last) * 100 < self._percent_min() * len(self._last):
                self._begin(_State.RESTS)
                self._rests_until = self._clock() + REST_S
            else:
                self._state = _State.SERVES

    def _begin(self, state: _State) -> None:
        """Begin another stretch, unless it is the same state."""
        if self._state is not state:
            self._state = state
            self._stretch += 1
            self._last.clear()
