"""Fault points: the moments at which a planted bug does harm, taken one after the other.

A node that is not armed shows its bug all the time, for as long as a timer says: a campaign of random kills meets it or
not. An armed node shows it once, at the moment that it was armed for, says so, and stands still there until it is
killed. So a test that a bug is caught needs neither luck nor a fast machine.
"""

import sys
import threading

# What a node says on standard error.
ARMED = "fault point armed"
REACHED = "fault point reached"


class Points:
    """Counts the moments of this process's bug."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._left = 0
        self.armed = False

    def arm(self, place: int) -> None:
        """Show the bug at that moment alone, the first being 1."""
        with self._turn:
            self.armed, self._left = True, place

    def comes(self) -> bool:
        """Count a moment of an armed node; return whether it is the one."""
        with self._turn:
            self._left -= 1
            return self._left == 0

    def tell(self) -> None:
        """Say that the bug has done its harm."""
        say(REACHED)


def say(what: str) -> None:
    """Write a line in one piece: other threads write lines too."""
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()


def stand_still() -> None:
    """Never return."""
    threading.Event().wait()


POINTS = Points()
