"""One-time codes: how one is made and compared, and how many may be tried (R8) and sent (R10).

Invariants: a try is counted, durably, before the code is compared, and never given back; a code that was sent counts as
sent, whatever becomes of it. All counts are of one service, so that no service spends what another's users have, but
for one: how many codes a number gets from all services together. They are over the 24 hours before, but for the rate.

What is counted of a number is counted by who asks: the user, and the network that they ask from. So nobody spends what
the holder of a number has, who asks from somewhere else; a user who has proved that the number is theirs has codes of
their own, whatever the others had. All tries at a number together are bounded by the codes that it gets.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from numcheck.errors import TooManyCodes
from numcheck.moments import EPOCH

CODE_DIGITS = 6
FLASH_CALL_DIGITS = 4  # of the calling number, which a phone shows; three tries at them hit once in 3,333
CODE_LIFETIME = timedelta(seconds=300)
TRIES_MAX = 3  # of one challenge
WRONG_TRIES_MAX = 10  # of one user at one number in a day, or from one network
SENDS_MAX = 5  # to one number in a day for one user, or from one network, and then one for each who has had none
NETWORK_SENDS_MAX = 7  # to one number in a day from one network: others have what is left of a service's ten
RATE_WINDOW = timedelta(seconds=10)  # a service's bursts are its users', who come as they like: not by the second
RESEND_DELAYS = (timedelta(seconds=60), timedelta(seconds=120), timedelta(seconds=300), timedelta(seconds=600))
DAY = timedelta(days=1)

BREAKER_CODES = 200
BREAKER_COMPLETED_MIN = 40  # of those: a fifth
BREAKER_GRACE = timedelta(seconds=60)  # a user who has the code needs some time to type it
BREAKER_PROBE_AFTER = timedelta(seconds=60)  # while it is open one code goes through so often, or it would never close

INBOUND_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is taken for another
INBOUND_LENGTH = 6
ACT_LIFETIME = timedelta(minutes=20)  # of an act that the user, or an authority, is waited for


def make_code(random_below: Callable[[int], int], digits: int) -> str:
    """Return a new code of so many digits; `random_below(n)` gives a random number from 0 to n - 1."""
    return f"{random_below(10**digits):0{digits}}"


def word_of(digest: bytes) -> str:
    """Return the word for an inbound message that a keyed digest comes to: 32 letters divide 256 evenly."""
    return "".join(INBOUND_LETTERS[byte % len(INBOUND_LETTERS)] for byte in digest[:INBOUND_LENGTH])


def same_mac(stored: bytes, given: bytes) -> bool:
    """Return True if two MACs are the same, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(stored, given)


def may_try(of_network: int, of_user: int) -> bool:
    """Return True if a user may try, after so many wrong tries at the number from their network, and of their own.

    Who has not had the tries of one challenge yet has them whatever others did: a stranger who guesses at a number does
    not lock its holder out, not even from the same network.
    """
    return of_user < (WRONG_TRIES_MAX if of_network < WRONG_TRIES_MAX else TRIES_MAX)


class Limit(StrEnum):
    """The limit that one more code would exceed. The words are the API's."""

    RESEND = "resend"
    """The last code to the number was sent too short a time ago for the user, or from their network."""
    NUMBER = "number"
    """Codes of the service to the number: for the user, from their network, or for anybody."""
    NUMBER_TOTAL = "number_total"
    """Codes of all services to the number."""
    BLOCK = "block"
    """Codes of the service to the 10,000 numbers around it."""
    NETWORK = "network"
    """Codes of the service for the network address."""
    RATE = "rate"
    """Codes of the service in ten seconds."""
    BREAKER = "breaker"
    """So few of the service's last codes came back."""


OF_A_DAY = Limit.NUMBER, Limit.NUMBER_TOTAL, Limit.BLOCK, Limit.NETWORK
STEPS = {Limit.BLOCK: timedelta(minutes=1), Limit.NETWORK: timedelta(minutes=1), Limit.NUMBER_TOTAL: timedelta(hours=1)}
"""A wait that others caused ends at a whole one of these: neither what is told of it nor its end itself, for whoever
asks again and again, says when they were sent their codes."""


@dataclass(frozen=True, slots=True)
class CodePolicy:
    """How many codes may be sent: in a day to one number, by all services, and by one service to one block of 10,000
    numbers, and for one network address; and in ten seconds by one service."""

    number_max: int
    block_max: int
    network_max: int
    rate_max: int

    @property
    def number_of_service_max(self) -> int:
        """How many of those to one number one service may send in a day: half, which leaves others' users some."""
        return max(self.number_max // 2, 1)

    @property
    def number_of_holders_max(self) -> int:
        """How many it may send there for users who have proved that the number is theirs: what one user may have more,
        as it is the service that says so of whom it imports."""
        return self.number_of_service_max + SENDS_MAX


@dataclass(frozen=True, slots=True)
class Sends:
    """The codes that were sent in the last 24 hours, as far as one more code of a service is concerned; moments ascend.

    `alike` is what was sent to the number for the user who asks now, or from their network, and `to_user` is whether
    any of it was for that user.

    `full_...` is when the oldest was sent of as many codes as may be; None: there are fewer. `outcomes` are whether
    each of the service's last codes that are older than the grace was completed, newest first.
    """

    alike: Sequence[datetime]
    to_user: bool
    full_number: datetime | None
    full_number_of_service: datetime | None
    full_block: datetime | None
    full_network: datetime | None
    full_rate: datetime | None
    outcomes: Sequence[bool]
    newest_of_service: datetime | None


def next_code_at(alike: Sequence[datetime]) -> datetime | None:
    """Return the moment from which on a user who was sent a code may be sent another; None: now."""
    return max((at for _limit, at in _waits_of_number(alike, to_user=True)), default=None)


def check_send(sends: Sends, now: datetime) -> None:
    """Refuse a code that would be one too many: TooManyCodes, with the limit and the time after which to try again."""
    waits = [
        *_waits_of_number(sends.alike, to_user=sends.to_user),
        *((limit, _end_of(limit, oldest + DAY)) for limit, oldest in _full(sends) if oldest is not None),
    ]
    if sends.full_rate is not None:
        waits.append((Limit.RATE, sends.full_rate + RATE_WINDOW))
    if breaker_open(sends.outcomes) and sends.newest_of_service is not None:
        waits.append((Limit.BREAKER, sends.newest_of_service + BREAKER_PROBE_AFTER))
    limit, until = max(waits, key=lambda wait: wait[1], default=(Limit.RESEND, now))
    if until > now:
        raise TooManyCodes(limit.value, (until - now).total_seconds())


def _waits_of_number(alike: Sequence[datetime], *, to_user: bool) -> list[tuple[Limit, datetime]]:
    """Give who has had no code yet one whatever others had: a stranger does not use up a holder's day."""
    if not alike:
        return []
    count_max = SENDS_MAX if to_user else NETWORK_SENDS_MAX
    if len(alike) >= count_max:
        return [(Limit.NUMBER, alike[-count_max] + DAY)]
    return [(Limit.RESEND, alike[-1] + RESEND_DELAYS[min(len(alike), len(RESEND_DELAYS)) - 1])]


def _full(sends: Sends) -> list[tuple[Limit, datetime | None]]:
    return [
        (Limit.NUMBER, sends.full_number_of_service),
        (Limit.NUMBER_TOTAL, sends.full_number),
        (Limit.BLOCK, sends.full_block),
        (Limit.NETWORK, sends.full_network),
    ]


def counted_since(limit: Limit, now: datetime) -> datetime:
    """Return the moment after which codes count for a limit of a day, until its wait ends."""
    step = STEPS.get(limit)
    return now - DAY - (timedelta() if step is None else (now - EPOCH) % step)


def _end_of(limit: Limit, at: datetime) -> datetime:
    """Return when a wait ends that would last until then by itself."""
    step = STEPS.get(limit)
    return at if step is None else at + (EPOCH - at) % step


def breaker_open(outcomes: Sequence[bool]) -> bool:
    """Return True if so few of the last codes were completed that somebody must be sending them for their price
    (R10)."""
    last = outcomes[:BREAKER_CODES]
    return len(last) == BREAKER_CODES and sum(last) < BREAKER_COMPLETED_MIN
