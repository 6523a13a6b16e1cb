"""A service's demands on a verification: the steps that must confirm, their order, the freshness of operators' data."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from functools import lru_cache

from numcheck.errors import MethodNotAllowed
from numcheck.names import CHANNEL_RULE, is_channel
from numcheck.registrations.codes import ACT_LIFETIME, CODE_DIGITS, CODE_LIFETIME, FLASH_CALL_DIGITS
from numcheck.registrations.due import REFRESH_AFTER_MAX

SMS_CHANNEL, FLASH_CALL_CHANNEL = "sms", "flash_call"


class Method(StrEnum):
    """How a number is confirmed: the table of verification steps. A row is the word of the settings and the store, the
    API's number, and what is said of it below."""

    wire_number: int
    """VerificationMethod in the API."""
    lifetime: timedelta
    """How long the user has; zero if the answer is there at once."""
    shows_use: bool
    """True if the user shows by it that they use the number."""
    code_digits: int
    """Digits of the code that the user gives back; 0 if there is none."""
    channel: str
    """The only channel of its codes; empty: any that a courier has, or there is no code."""

    OPERATOR = "operator", 1
    """The serving operator's data holds it (I.3b)."""
    CODE = "code", 2, CODE_LIFETIME, True, CODE_DIGITS
    """The user gives back a code that was sent to it (II.2)."""
    INBOUND = "inbound", 3, ACT_LIFETIME, True
    """A message or a call came from it (II.2)."""
    ATTESTED = "attested", 4, ACT_LIFETIME
    """An outside authority asserts it (II.3)."""
    FLASH_CALL = "flash_call", 5, CODE_LIFETIME, True, FLASH_CALL_DIGITS, FLASH_CALL_CHANNEL
    """The user gives back the last digits of the number that called it (II.2)."""

    def __new__(
        cls,
        word: str,
        wire_number: int = 0,  # a row has one; without it mypy refuses Method(word)
        lifetime: timedelta = timedelta(0),
        shows_use: bool = False,
        code_digits: int = 0,
        channel: str = "",
    ) -> "Method":
        """Make a row's member, whose value is its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.wire_number, member.lifetime, member.shows_use = wire_number, lifetime, shows_use
        member.code_digits, member.channel = code_digits, channel
        return member

    def channels_for(self, wanted: str, usual: tuple[str, ...]) -> tuple[str, ...]:
        """Return the channels by which a code of this step is sent, in the order in which they are tried.

        `usual` are the service's; who wants one of them gets it or one behind it, and who wants another gets no other.
        """
        if self.channel:
            return (self.channel,)
        if wanted and wanted not in usual:
            return (wanted,)
        return usual[usual.index(wanted) :] if wanted else usual


class Judgement(Enum):
    """The word of an operator's data about a number."""

    CONFIRMED = "confirmed"
    DENIED = "denied"
    NO_ANSWER = "no answer"


Alternative = tuple[Method, ...]
"""Steps that must all confirm."""


@lru_cache(maxsize=64)
def alternatives_of(text: str) -> tuple[Alternative, ...]:
    """Return the alternatives that a text has, such as `code+operator,code`; ValueError if it is none."""
    words = [[step.strip() for step in one.split("+")] for one in text.split(",")]
    known = all(set(one) <= set(Method) and len(set(one)) == len(one) for one in words)
    if not known or len(set(map(frozenset, words))) != len(words):
        steps = ", ".join(Method)
        raise ValueError(f"must be some of {steps}, joined by + where all must confirm, separated by commas")
    return tuple(tuple(map(Method, one)) for one in words)


def text_of(alternatives: Iterable[Alternative]) -> str:
    """Return the text that `alternatives_of` reads."""
    return ",".join("+".join(one) for one in alternatives)


def channels_of(text: str) -> tuple[str, ...]:
    """Return the channels that a text has, such as `sms,call`; ValueError if it is none."""
    channels = tuple(one.strip() for one in text.split(","))
    if not all(map(is_channel, channels)) or len(set(channels)) < len(channels) or FLASH_CALL_CHANNEL in channels:
        raise ValueError(f"must be channels separated by commas, none of them {FLASH_CALL_CHANNEL}; {CHANNEL_RULE}")
    return channels


@dataclass(frozen=True, slots=True)
class Policy:
    """A service's policy. `refresh_after` is never longer than the law's year (I.6)."""

    alternatives: tuple[Alternative, ...]
    data_age_max: timedelta | None
    refresh_after: timedelta = REFRESH_AFTER_MAX
    authorities: frozenset[str] = frozenset()
    live: bool = False
    """True if an operator is asked itself when its data says nothing."""
    users_per_number_max: int = 1
    """How many users who have proved that they hold a number are VERIFIED on it at a time."""
    code_channels: tuple[str, ...] = (SMS_CHANNEL,)
    """How codes are sent, in the order in which channels are tried."""

    def __post_init__(self) -> None:
        if not timedelta(0) < self.refresh_after <= REFRESH_AFTER_MAX:
            raise ValueError("a refresh is asked for within 365 days")

    @property
    def asks_operators(self) -> bool:
        """True if an operator's answer counts in any alternative."""
        return any(Method.OPERATOR in one for one in self.alternatives)

    @property
    def operator_alone(self) -> bool:
        """True if an operator's word verifies a user who has shown nothing (E.1)."""
        return (Method.OPERATOR,) in self.alternatives

    def is_met_with_operator(self, confirmed: Iterable[Method]) -> bool:
        """Return True if these steps are all that some alternative needs with the operator's among them."""
        steps = set(confirmed)
        return any(Method.OPERATOR in one and steps.issuperset(one) for one in self.alternatives)

    def alternatives_for(self, wanted: Method | None) -> tuple[Alternative, ...]:
        """Return the alternatives to try, in order: those that have the step wanted, or all that nobody has to ask for.

        MethodNotAllowed if no alternative has the step.
        """
        if wanted is None:
            return tuple(one for one in self.alternatives if Method.ATTESTED not in one)
        having = tuple(one for one in self.alternatives if wanted in one)
        if not having:
            raise MethodNotAllowed(f"the service's policy has no verification by {wanted.value}")
        return having
