"""One-time codes: how one is made and compared, and how many may be tried (R8) and sent (R10).

Invariants: a try is counted, durably, before the code is compared, and never given back; a code that was sent counts as
sent, whatever becomes of it. All counts are over the 24 hours before.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from numcheck.errors import TooManyCodes

CODE_DIGITS = 6
CODE_LIFETIME = timedelta(seconds=300)
TRIES_MAX = 3  # of one challenge
WRONG_TRIES_MAX = 10  # of one number in a day
SENDS_MAX = 5  # to one number in a day
RESEND_DELAYS = (timedelta(seconds=60), timedelta(seconds=120), timedelta(seconds=300), timedelta(seconds=600))
DAY = timedelta(days=1)

BREAKER_CODES = 200
BREAKER_COMPLETED_MIN = 40  # of those: a fifth
BREAKER_GRACE = timedelta(seconds=60)  # a user who has the code needs some time to type it
BREAKER_PROBE_AFTER = timedelta(seconds=60)  # while it is open one code goes through so often, or it would never close

INBOUND_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is taken for another
INBOUND_LENGTH = 6
INBOUND_LIFETIME = timedelta(minutes=20)
ATTESTED_LIFETIME = timedelta(minutes=20)


def make_code(random_below: Callable[[int], int]) -> str:
    """A new code; `random_below(n)` gives a random number from 0 to n - 1."""
    return f"{random_below(10**CODE_DIGITS):0{CODE_DIGITS}}"


def word_of(digest: bytes) -> str:
    """The word for an inbound message that a keyed digest comes to: 32 letters divide 256 evenly."""
    return "".join(INBOUND_LETTERS[byte % len(INBOUND_LETTERS)] for byte in digest[:INBOUND_LENGTH])


def same_mac(stored: bytes, given: bytes) -> bool:
    """Whether two MACs are the same, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(stored, given)


@dataclass(frozen=True, slots=True)
class SendBounds:
    """How many codes may be sent in a day to one block of 10,000 numbers, and for one network address."""

    block_max: int
    network_max: int


@dataclass(frozen=True, slots=True)
class Sends:
    """What was sent in the last 24 hours, as far as one more code is concerned; moments ascend.

    `outcomes` are whether each of the service's last codes that are older than the grace was completed, newest first.
    """

    to_number: Sequence[datetime]
    oldest_to_block: datetime | None
    to_block_count: int
    oldest_for_network: datetime | None
    for_network_count: int
    outcomes: Sequence[bool]
    newest_of_service: datetime | None


def next_code_at(to_number: Sequence[datetime]) -> datetime | None:
    """The moment from which on a number may be sent another code; None: now."""
    if not to_number:
        return None
    if len(to_number) >= SENDS_MAX:
        return to_number[-SENDS_MAX] + DAY
    return to_number[-1] + RESEND_DELAYS[len(to_number) - 1]


def check_send(sends: Sends, bounds: SendBounds, now: datetime) -> None:
    """Refuse a code that would be one too many: TooManyCodes, with the time after which it may be tried again."""
    waits = [next_code_at(sends.to_number)]
    if sends.to_block_count >= bounds.block_max and sends.oldest_to_block is not None:
        waits.append(sends.oldest_to_block + DAY)
    if sends.for_network_count >= bounds.network_max and sends.oldest_for_network is not None:
        waits.append(sends.oldest_for_network + DAY)
    if breaker_open(sends.outcomes) and sends.newest_of_service is not None:
        waits.append(sends.newest_of_service + BREAKER_PROBE_AFTER)
    until = max((wait for wait in waits if wait is not None), default=now)
    if until > now:
        raise TooManyCodes((until - now).total_seconds())


def breaker_open(outcomes: Sequence[bool]) -> bool:
    """Whether so few of the last codes were completed that somebody must be sending them for their price (R10)."""
    last = outcomes[:BREAKER_CODES]
    return len(last) == BREAKER_CODES and sum(last) < BREAKER_COMPLETED_MIN
