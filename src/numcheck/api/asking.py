"""Counts the numbers that callers ask about, by the name that metrics and the log have for a caller."""

import threading
from collections import Counter
from collections.abc import Callable

from numcheck._budget import Allowance
from numcheck.access import Caller
from numcheck.api.access import this_caller

LOOPBACK = "loopback"
STATUSES_TAG = 0x0A  # field 1 of a CheckNumbersResponse, packed: an octet a number

BUDGET_HEADER = "numcheck-new-numbers-left"
"""Tells a caller that nears the end of its budget how many new numbers it may ask about yet."""
AllowanceOf = Callable[[Caller], Allowance | None]
"""Gives what a caller may ask about before the store is asked; None: everything."""


def asker_name(caller: Caller) -> str:
    """Return the caller's service, `loopback` for a user of this machine, or else the role: no text of their own."""
    if caller.service:
        return caller.service
    return LOOPBACK if caller.uri.startswith(f"{LOOPBACK} ") else str(caller.role)


def answered_count(response: bytes) -> int:
    """Return how many numbers a CheckNumbersResponse of ours answers."""
    size, shift = 0, 0
    if not response.startswith(bytes([STATUSES_TAG])):
        return 0
    for octet in response[1:6]:
        size |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            break
    return size


class NumbersAsked:
    """Counts by caller. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._turn = threading.Lock()

    def add(self, count: int) -> None:
        """Count numbers of the call that this thread serves."""
        name = asker_name(this_caller())
        with self._turn:
            self._counts[name] += count

    def counts(self) -> Counter[str]:
        """Return how many numbers each caller has asked about."""
        with self._turn:
            return Counter(self._counts)
