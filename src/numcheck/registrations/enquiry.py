"""The question to an operator itself, when its pushed data says nothing of a number (I.3b)."""

from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from numcheck.active import Operator
from numcheck.moments import CLOCK_SKEW_MAX, microseconds
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.policy import Judgement, Policy
from numcheck.status import NumberStatus

ANSWER_AGE_MAX = timedelta(minutes=20)  # an answer that takes longer is none: the decree's term


class LiveAnswer(NamedTuple):
    """An operator's word about a number: whether it is in service, at which moment, and when it was asked and said so.

    `took` is how long it took by a clock that only runs forward.
    """

    active: bool
    data_time: datetime
    asked_at: datetime
    answered_at: datetime
    took: timedelta


class Enquirer(Protocol):
    """A part that asks operators. Nothing is asked within a transaction: it takes seconds."""

    def ask(self, service: str, operator: Operator, number: int) -> LiveAnswer | None:
        """Return the operator's answer, for a service's sake; None if it gives none, for whatever reason."""


def judge_live(answer: LiveAnswer, policy: Policy, evidence: Evidence) -> tuple[Judgement, Evidence]:
    """Return what the answer says, and the evidence of it, made of that of the index. Late, old or of the future:
    nothing."""
    too_old = policy.data_age_max is not None and answer.data_time < answer.answered_at - policy.data_age_max
    if too_old or answer.took > ANSWER_AGE_MAX or answer.data_time > answer.answered_at + CLOCK_SKEW_MAX:
        return Judgement.NO_ANSWER, evidence
    said = evidence._replace(
        verified_at_us=microseconds(answer.answered_at),
        data_version=0,
        data_time_us=microseconds(answer.data_time),
        answer=int(NumberStatus.ACTIVE if answer.active else NumberStatus.INACTIVE),
        synthetic=False,
        live=True,
        asked_at_us=microseconds(answer.asked_at),
    )
    return Judgement.CONFIRMED if answer.active else Judgement.DENIED, said
