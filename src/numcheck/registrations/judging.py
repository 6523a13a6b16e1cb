"""What an operator's data says of a number, as evidence (I.3b)."""

from datetime import datetime

from numcheck.errors import NumberNotAllotted, NumberNotMobile
from numcheck.index import NumberFacts
from numcheck.moments import microseconds
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.policy import Judgement, Method, Policy
from numcheck.status import NumberStatus


def check_registrable(facts: NumberFacts) -> None:
    """Refuse a number that no mobile operator may have given to a user (I.1): NumberNotMobile, NumberNotAllotted."""
    if facts.status is NumberStatus.NOT_MOBILE:
        raise NumberNotMobile("the number is not in a mobile range of the numbering plan")
    if facts.status in (NumberStatus.INVALID, NumberStatus.UNALLOCATED):
        raise NumberNotAllotted("the numbering plan allots the number to nobody")


def judge(
    facts: NumberFacts, policy: Policy, *, agreed: bool, index_version: int, now: datetime
) -> tuple[Judgement, Evidence]:
    """Return what the serving operator's data says now. Without an agreement (I.5), or if it is too old, it says
    nothing.

    That the plan does not allot the number any more, or not to a mobile operator, is an answer of its own: no.
    """
    operator = facts.serving_operator
    data_time = operator.data_time if operator else None
    evidence = Evidence(
        method=Method.OPERATOR,
        verified_at_us=microseconds(now),
        operator_id=operator.operator_id if operator else 0,
        data_version=operator.data_version if operator and agreed else 0,
        data_time_us=microseconds(data_time) if data_time and agreed else 0,
        index_version=index_version,
        answer=int(facts.status if agreed or _by_plan(facts) else NumberStatus.UNKNOWN),
        synthetic=bool(operator and operator.synthetic),
    )
    if _by_plan(facts):
        return Judgement.DENIED, evidence
    if not agreed or data_time is None or not _fresh(data_time, policy, now):
        return Judgement.NO_ANSWER, evidence
    answers = {NumberStatus.ACTIVE: Judgement.CONFIRMED, NumberStatus.INACTIVE: Judgement.DENIED}
    return answers.get(facts.status, Judgement.NO_ANSWER), evidence


def _by_plan(facts: NumberFacts) -> bool:
    return facts.status in (NumberStatus.INVALID, NumberStatus.UNALLOCATED, NumberStatus.NOT_MOBILE)


def _fresh(data_time: datetime, policy: Policy, now: datetime) -> bool:
    return policy.data_age_max is None or data_time >= now - policy.data_age_max
