"""What a service asks of a verification: which methods count, in which order, and how fresh an operator's data is."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum

from numcheck.errors import MethodNotAllowed
from numcheck.registrations.due import REFRESH_AFTER_MAX


class Method(StrEnum):
    """How a number is confirmed. The words are the settings' and the store's."""

    OPERATOR = "operator"
    """The serving operator's data holds it (I.3b)."""
    CODE = "code"
    """The user gives back a code that was sent to it (II.2)."""
    INBOUND = "inbound"
    """A message or a call came from it (II.2)."""
    ATTESTED = "attested"
    """An outside authority asserts it (II.3)."""


class Judgement(Enum):
    """What an operator's data says of a number."""

    CONFIRMED = "confirmed"
    DENIED = "denied"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Policy:
    """A service's policy. `refresh_after` is never longer than the law's year (I.6)."""

    methods: tuple[Method, ...]
    data_age_max: timedelta | None
    refresh_after: timedelta = REFRESH_AFTER_MAX
    authorities: frozenset[str] = frozenset()
    live: bool = False
    """Whether an operator is asked itself when its data says nothing."""

    def __post_init__(self) -> None:
        if not timedelta(0) < self.refresh_after <= REFRESH_AFTER_MAX:
            raise ValueError("a refresh is asked for within 365 days")

    @property
    def operator_alone(self) -> bool:
        """Whether an operator's data verifies before the user has shown that they use the number."""
        if Method.OPERATOR not in self.methods:
            return False
        before = self.methods[: self.methods.index(Method.OPERATOR)]
        return not {Method.CODE, Method.INBOUND} & set(before)

    def methods_for(self, wanted: Method | None) -> tuple[Method, ...]:
        """The methods to try, in order: the policy's, or the one wanted. MethodNotAllowed if the policy has it not."""
        if wanted is None:
            return self.methods
        if wanted not in self.methods:
            raise MethodNotAllowed(f"the service's policy has no verification by {wanted.value}")
        return (wanted,)
