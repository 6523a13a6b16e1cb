"""Judges a number by its operator's data, as evidence (I.3b)."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from numcheck.errors import BadTestNumber, NumberNotAllotted, NumberNotMobile
from numcheck.index import Index, NumberFacts
from numcheck.moments import microseconds
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.policy import Judgement, Method, Policy
from numcheck.status import NumberStatus
from numcheck.v1 import check_pb2


def check_registrable(facts: NumberFacts) -> None:
    """Refuse a number that no mobile operator may have given to a user (I.1): NumberNotMobile, NumberNotAllotted."""
    if facts.status is NumberStatus.NOT_MOBILE:
        raise NumberNotMobile("the number is not in a mobile range of the numbering plan")
    if facts.status in (NumberStatus.INVALID, NumberStatus.UNALLOCATED):
        raise NumberNotAllotted("the numbering plan allots the number to nobody")


def refusal_of(facts: NumberFacts) -> NumberNotMobile | NumberNotAllotted | None:
    """Return the refusal of a number that `check_registrable` refuses; None for any other."""
    try:
        check_registrable(facts)
    except (NumberNotMobile, NumberNotAllotted) as refusal:
        return refusal
    return None


def check_test_number(facts: NumberFacts) -> None:
    """Raise BadTestNumber unless the plan allots the number to nobody: nobody's number is verified by a fixed code."""
    if facts.status is not NumberStatus.UNALLOCATED:
        raise BadTestNumber("a number of test_numbers is not one that the numbering plan allots to nobody")


def synthetic_answer(index_version: int, now: datetime) -> Evidence:
    """Return what stands in for an operator's yes about a test number, and says that it is made up."""
    return Evidence(
        Method.OPERATOR,
        microseconds(now),
        index_version=index_version,
        answer=int(NumberStatus.ACTIVE),
        synthetic=True,
    )


def check_each(index: Index, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Return status and serving operator of each number, by the kernel that answers CheckNumbers."""
    request = check_pb2.CheckNumbersRequest(numbers=numbers).SerializeToString()
    answer = index.table.check_numbers(request, numbers_per_call_max=len(numbers) or 1)
    response = check_pb2.CheckNumbersResponse.FromString(answer)
    return zip(response.statuses, response.operator_ids, strict=True)


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


def judge_answer(
    answer: tuple[int, int], index: Index, policy: Policy, *, agreed: Callable[[int], bool], now: datetime
) -> tuple[NumberFacts, Judgement, Evidence]:
    """Return what is said of every number with this status of this operator, one of those that `check_each` gives.

    `agreed(operator_id)` tells whether the service has an agreement with an operator.
    """
    status, operator_id = answer
    operator = index.operators.get(operator_id)
    facts = NumberFacts(0, NumberStatus(status), operator, None, "")
    has_agreed = policy.asks_operators and operator is not None and agreed(operator_id)
    judgement, evidence = judge(facts, policy, agreed=has_agreed, index_version=index.index_version, now=now)
    return facts, judgement, evidence


def _by_plan(facts: NumberFacts) -> bool:
    return facts.status in (NumberStatus.INVALID, NumberStatus.UNALLOCATED, NumberStatus.NOT_MOBILE)


def _fresh(data_time: datetime, policy: Policy, now: datetime) -> bool:
    return policy.data_age_max is None or data_time >= now - policy.data_age_max
