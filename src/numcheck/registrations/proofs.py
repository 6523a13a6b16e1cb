"""Proofs of a verification, and when they are accepted: a code, an act of the user, an authority's assertion."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from numcheck.errors import BadRegistration
from numcheck.moments import CLOCK_SKEW_MAX, microseconds, microseconds_of
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.policy import Method, Policy
from numcheck.registrations.record import normal_assertion_id
from numcheck.registrations.typed import CODE_LENGTHS, code_in, words_in
from numcheck.store import VerificationRow

ASSERTION_AGE_MAX = timedelta(days=1)


class Proof(Protocol):
    """A proof that a verification is given."""

    def fits(self, method: Method) -> bool:
        """Return True if it is what the step asks for, right or wrong; anything else is no try."""

    def accepted(
        self,
        verification: VerificationRow,
        number: int,
        *,
        same_secret: Callable[[str], bool],
        policy: Policy,
        now: datetime,
    ) -> bool:
        """Return True if it proves what the verification asks."""

    def evidence(self, method: Method, now_us: int) -> Evidence:
        """Return what is kept of it."""

    @property
    def assertion(self) -> tuple[str, str] | None:
        """An authority and its name for an assertion, which verifies once in a service; None: it is no assertion."""


def _is_between(started_at_us: int, before: timedelta, at: datetime, now: datetime) -> bool:
    """Return True if `at` is no more than `before` ahead of the start, and not ahead of the clock."""
    return started_at_us - microseconds_of(before) <= microseconds(at) and at <= now + CLOCK_SKEW_MAX


@dataclass(frozen=True, slots=True)
class CodeProof:
    """The code that the user typed (II.2). BadRegistration if that is no code at all: it costs no try."""

    code: str

    def __post_init__(self) -> None:
        code = code_in(self.code)
        if code is None:
            lengths = " or ".join(map(str, sorted(CODE_LENGTHS)))
            raise BadRegistration("code", f"the code does not have {lengths} digits, leading zeros among them")
        object.__setattr__(self, "code", code)

    def fits(self, method: Method) -> bool:
        """Return True if a code of that length was sent."""
        return method.code_digits == len(self.code)

    def accepted(
        self,
        verification: VerificationRow,
        number: int,
        *,
        same_secret: Callable[[str], bool],
        policy: Policy,
        now: datetime,
    ) -> bool:
        """Return True if it is the code that was sent."""
        return same_secret(self.code)

    def evidence(self, method: Method, now_us: int) -> Evidence:
        """Say that a code came back, and when."""
        return Evidence(method, now_us)

    assertion = None


@dataclass(frozen=True, slots=True)
class InboundProof:
    """A message with the verification's word, or a call, which has no text, from the number (II.2).

    BadRegistration if nothing in a message may be a word: it costs no try.
    """

    from_number: int
    text: str
    received_at: datetime
    words: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", frozenset(words_in(self.text)))
        if self.text and not self.words:
            raise BadRegistration("inbound_act.text", "there is no word in the text")

    def fits(self, method: Method) -> bool:
        """Return True if an inbound act is awaited."""
        return method is Method.INBOUND

    def accepted(
        self,
        verification: VerificationRow,
        number: int,
        *,
        same_secret: Callable[[str], bool],
        policy: Policy,
        now: datetime,
    ) -> bool:
        """Return True if it came from the number, since the verification was started, and a message holds the word."""
        timely = _is_between(verification.started_at_us, CLOCK_SKEW_MAX, self.received_at, now)
        said = self.text == "" or any(map(same_secret, self.words))
        return self.from_number == number and timely and said

    def evidence(self, method: Method, now_us: int) -> Evidence:
        """Say that it came, and when."""
        return Evidence(method, now_us, act_time_us=microseconds(self.received_at))

    assertion = None


@dataclass(frozen=True, slots=True)
class AttestedProof:
    """An authority's assertion (II.3)."""

    authority: str
    assertion_id: str
    attested_at: datetime

    def __post_init__(self) -> None:
        normal_assertion_id(self.assertion_id)  # BadRegistration if it has no normal form

    def fits(self, method: Method) -> bool:
        """Return True if an assertion is awaited."""
        return method is Method.ATTESTED

    def accepted(
        self,
        verification: VerificationRow,
        number: int,
        *,
        same_secret: Callable[[str], bool],
        policy: Policy,
        now: datetime,
    ) -> bool:
        """Return True if the policy knows the authority, and the assertion is new."""
        timely = _is_between(verification.started_at_us, ASSERTION_AGE_MAX, self.attested_at, now)
        return self.authority in policy.authorities and timely

    def evidence(self, method: Method, now_us: int) -> Evidence:
        """Return who asserted it, under which name, and when."""
        return Evidence(
            method,
            now_us,
            authority=self.authority,
            assertion_id=self.assertion_id,
            act_time_us=microseconds(self.attested_at),
        )

    @property
    def assertion(self) -> tuple[str, str] | None:
        """Itself."""
        return self.authority, self.assertion_id
