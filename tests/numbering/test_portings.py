"""PushPortings, ImportNumberingPlan and WatchIndex as the clearing house, the administrator and anybody see them."""

from collections.abc import Iterable
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.v1 import check_pb2, number_pb2, numbering_pb2
from tests.api.calls import DEADLINE_S, refusal
from tests.numbering.node import FIRST, Node

SNAPSHOT, DELTA = numbering_pb2.PUSH_MODE_SNAPSHOT, numbering_pb2.PUSH_MODE_DELTA
Request, PlanRequest = numbering_pb2.PushPortingsRequest, numbering_pb2.ImportNumberingPlanRequest
OTHERS = FIRST + 1_000_000  # the second operator's first number
INACTIVE, ACTIVE = number_pb2.NUMBER_STATUS_INACTIVE, number_pb2.NUMBER_STATUS_ACTIVE
UNALLOCATED, UNKNOWN = number_pb2.NUMBER_STATUS_UNALLOCATED, number_pb2.NUMBER_STATUS_UNKNOWN


def now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC))
    return stamp


def ported(operator_id: int, *numbers: int) -> Request:
    return Request(ported=[numbering_pb2.PortedNumbers(operator_id=operator_id, numbers=numbers)])


def push(node: Node, *pieces: Request, **header) -> numbering_pb2.PushPortingsResponse:
    options = {"mode": DELTA, "data_time": now(), **header}
    first = Request(header=numbering_pb2.PortingsHeader(**options))
    return node.numbering.PushPortings(iter([first, *pieces]), timeout=DEADLINE_S)


def push_active(node: Node, operator_id: int, numbers: Iterable[int], version: int = 0) -> int:
    header = numbering_pb2.PushHeader(operator_id=operator_id, mode=DELTA, base_version=version, data_time=now())
    request = numbering_pb2.PushActiveNumbersRequest(header=header, add=numbers)
    return node.numbering.PushActiveNumbers(iter([request]), timeout=DEADLINE_S).index_version


def wait_for(node: Node, index_version: int) -> None:
    for one in node.numbering.WatchIndex(numbering_pb2.WatchIndexRequest(), timeout=DEADLINE_S):
        if one.index_version >= index_version:
            return


def facts(node: Node, number: int) -> check_pb2.CheckNumberResponse:
    return node.check.CheckNumber(check_pb2.CheckNumberRequest(number=f"+{number}"), timeout=DEADLINE_S)


def operators(node: Node) -> dict[str, int]:
    listed = node.check.ListOperators(check_pb2.ListOperatorsRequest(), timeout=DEADLINE_S).operators
    return {one.tax_id: one.operator_id for one in listed}


@pytest.fixture
def ids(node: Node) -> tuple[int, int]:
    """The first operator and the second."""
    by_tax_id = operators(node)
    return by_tax_id["7740000076"], by_tax_id["7743895280"]


def test_ported_number_is_its_recipients_and_returns(node: Node, ids: tuple[int, int]) -> None:
    """Whose it is, that it is ported, and whose word on its service counts; and all back when it returns."""
    first, second = ids
    push_active(node, first, [FIRST, FIRST + 1])
    done = push(node, ported(second, FIRST))
    assert (done.version, done.added_count, done.number_count) == (1, 1, 1)
    wait_for(node, done.index_version)
    found = facts(node, FIRST)
    assert (found.serving_operator.operator_id, found.range_holder.operator_id, found.ported) == (second, first, True)
    assert found.status == UNKNOWN
    assert not facts(node, FIRST + 1).ported
    wait_for(node, push_active(node, second, [FIRST]))
    assert facts(node, FIRST).status == ACTIVE
    back = push(node, Request(returned=[FIRST]), base_version=1, force=True)
    wait_for(node, back.index_version)
    found = facts(node, FIRST)
    assert (found.serving_operator.operator_id, found.ported, found.status) == (first, False, ACTIVE)


def test_recipient_may_push_what_was_ported_to_it_and_the_donor_no_more(node: Node, ids: tuple[int, int]) -> None:
    first, second = ids
    push(node, ported(second, FIRST))
    assert refusal(lambda: push_active(node, first, [FIRST])).reason == "NOT_SERVED"
    push_active(node, second, [FIRST])


@pytest.mark.parametrize("number", [FIRST + 10_000_000, 74951234567, 5])
def test_numbers_of_no_mobile_range_are_named(node: Node, ids: tuple[int, int], number: int) -> None:
    refused = refusal(lambda: push(node, ported(ids[0], OTHERS, number)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NOT_PORTABLE")
    assert refused.metadata == {"not_portable_count": "1", "not_portable": str(number)}
    assert refused.violations == [("ported", "NOT_PORTABLE")]
    returned = refusal(lambda: push(node, Request(returned=[number])))
    assert returned.violations == [("returned", "NOT_PORTABLE")]
    done = push(node, ported(ids[0], OTHERS, number), skip_not_portable=True)
    assert (done.added_count, done.refused_count, [one.number for one in done.refused]) == (1, 1, [number])


def test_same_push_id_gets_the_first_answer_again(node: Node, ids: tuple[int, int]) -> None:
    done = push(node, ported(ids[1], FIRST), push_id="Port_Increment_1")
    again = push(node, ported(ids[1], FIRST + 1), push_id="Port_Increment_1")
    assert (done.HasField("first_push_time"), again.HasField("first_push_time")) == (False, True)
    again.ClearField("first_push_time")
    assert again == done


def test_older_portings_are_refused_with_the_head_unless_they_are_meant(node: Node, ids: tuple[int, int]) -> None:
    old, older = Timestamp(seconds=1_750_000_000), Timestamp(seconds=1_749_999_999)
    push(node, ported(ids[1], FIRST), data_time=old)
    for mode in (SNAPSHOT, DELTA):
        late = {"mode": mode, "base_version": 1, "data_time": older}
        found = refusal(lambda late=late: push(node, ported(ids[1], FIRST + 1), **late))
        assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OLDER_DATA")
        assert found.metadata == {"head_version": "1", "head_data_time": "2025-06-15T15:06:40+00:00"}
    assert push(node, ported(ids[1], FIRST + 1), base_version=1, data_time=old).version == 2
    assert push(node, ported(ids[1], FIRST + 2), base_version=2, data_time=older, allow_older=True).version == 3


def test_delta_on_another_version_is_refused_with_the_head(node: Node, ids: tuple[int, int]) -> None:
    push(node, ported(ids[1], FIRST))
    refused = refusal(lambda: push(node, ported(ids[1], FIRST + 1)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "STALE_BASE")
    assert refused.metadata == {"head_version": "1"}


def test_push_that_ends_too_many_portings_is_refused_unless_forced(node: Node, ids: tuple[int, int]) -> None:
    push(node, ported(ids[1], *range(FIRST, FIRST + 20)))
    refused = refusal(lambda: push(node, ported(ids[1], FIRST), mode=SNAPSHOT))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REMOVES_TOO_MUCH")
    assert refused.metadata == {"removed_count": "19", "number_count": "20"}
    done = push(node, ported(ids[1], FIRST), mode=SNAPSHOT, force=True)
    assert (done.removed_count, done.already_added_count, done.number_count) == (19, 1, 1)


def test_push_that_moves_many_portings_on_is_refused_unless_forced(node: Node, ids: tuple[int, int]) -> None:
    """What goes on to a third operator counts like what ends; the largest moves are named."""
    row = plan_row(FIRST + 10_000_000, FIRST + 10_000_009, "ООО Третий", "7713076301")
    wait_for(node, import_plan(node, *WHOLE, row).index_version)
    second, third = ids[1], operators(node)["7713076301"]
    push(node, ported(second, *range(FIRST, FIRST + 20)))
    assert push(node, ported(third, FIRST, FIRST + 1), base_version=1).added_count == 2
    refused = refusal(
        lambda: push(node, ported(third, FIRST + 2, FIRST + 3), Request(returned=[FIRST]), base_version=2)
    )
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MOVES_TOO_MUCH")
    assert refused.metadata == {
        "moved_count": "2",
        "removed_count": "1",
        "number_count": "20",
        "largest_moves": f"{second}>{third}:2",
    }
    older = [ported(third, *range(FIRST, FIRST + 20))]
    assert refusal(lambda: push(node, *older, mode=SNAPSHOT)).reason == "MOVES_TOO_MUCH"
    assert push(node, *older, mode=SNAPSHOT, force=True).added_count == 18


def in_series(number: int, series: str = "Port_Increment") -> dict[str, object]:
    return {"sequence": numbering_pb2.PortingsSequence(series=series, position=number)}


def test_number_before_in_a_series_is_told_and_kept(node: Node, ids: tuple[int, int]) -> None:
    """Of each series the highest; a push without one changes none, and one that is given again tells what it told."""
    then = now()
    told = []
    for version, options in enumerate(
        ({**in_series(17), "push_id": "a"}, in_series(19), {}, in_series(5, "Return_Increment"), in_series(20))
    ):
        told.append(push(node, base_version=version, data_time=then, **options).previous_sequence)
    assert told == [0, 17, 0, 0, 19]
    assert push(node, base_version=0, data_time=then, **in_series(17), push_id="a").previous_sequence == 0
    state = node.numbering.GetOperatorState(numbering_pb2.GetOperatorStateRequest(), timeout=DEADLINE_S)
    assert {one.series: one.position for one in state.sequences} == {"Port_Increment": 20, "Return_Increment": 5}
    assert refusal(lambda: push(node, base_version=5, data_time=then, **in_series(18))).reason == "OLDER_DATA"
    late = push(node, ported(ids[1], FIRST), base_version=5, data_time=then, allow_older=True, **in_series(18))
    assert late.previous_sequence == 20


@pytest.mark.parametrize(("series", "number"), [("", 1), ("a" * 65, 1), ("a\x1b", 1), ("a", 0), ("a", 2**63)])
def test_place_in_a_series_that_cannot_be_is_refused(node: Node, series: str, number: int) -> None:
    assert refusal(lambda: push(node, **in_series(number, series))).reason == "BAD_PUSH"


def test_portings_to_an_unknown_operator_are_refused(node: Node) -> None:
    assert refusal(lambda: push(node, ported(99, FIRST))).reason == "UNKNOWN_OPERATOR"


# --- the plan


def plan_row(first: int, last: int, name: str, tax_id: str) -> numbering_pb2.PlanRow:
    return numbering_pb2.PlanRow(first=first, last=last, operator_name=name, tax_id=tax_id, region="Москва")


def import_plan(node: Node, *rows, **header) -> numbering_pb2.ImportNumberingPlanResponse:
    options = {"calling_code": 7, "source": "rows", **header}
    first = PlanRequest(header=numbering_pb2.PlanHeader(**options), rows=rows[:1])
    pieces = [PlanRequest(rows=[row]) for row in rows[1:]]
    return node.numbering.ImportNumberingPlan(iter([first, *pieces]), timeout=DEADLINE_S)


WHOLE = (
    plan_row(FIRST, OTHERS - 1, "ПАО Первый", "7740000076"),
    plan_row(OTHERS, FIRST + 9_999_999, "ООО Второй", "7743895280"),
)


def test_numbers_that_change_holder_count_for_neither_until_pushed_again(node: Node, ids: tuple[int, int]) -> None:
    first, second = ids
    push_active(node, first, range(FIRST, FIRST + 10))
    moved = (
        plan_row(FIRST, FIRST + 4, "ООО Второй", "7743895280"),
        plan_row(FIRST + 5, OTHERS - 1, "ПАО Первый", "7740000076"),
    )
    done = import_plan(node, *moved, WHOLE[1])
    assert (done.added_count, done.removed_count, done.moved_count) == (0, 0, 5)
    assert [(one.operator_id, one.number_count) for one in done.lost] == [(first, 5)]
    wait_for(node, done.index_version)
    assert [facts(node, FIRST + place).serving_operator.operator_id for place in (4, 5)] == [second, first]
    assert [facts(node, FIRST + place).status for place in (4, 5)] == [UNKNOWN, ACTIVE]
    wait_for(node, push_active(node, second, [FIRST + 4]))
    assert [facts(node, FIRST + place).status for place in (3, 4)] == [INACTIVE, ACTIVE]


def test_plan_is_replaced_whole_or_by_series(node: Node) -> None:
    """What the header does not name stays, and is counted; without names all of the country goes that is not sent."""
    fixed = plan_row(74950000000, 74950009999, "ПАО Первый", "7740000076")
    done = import_plan(node, fixed, series=["4"])
    assert (done.range_count, done.number_count, done.added_count, done.removed_count) == (3, 10_010_000, 10_000, 0)
    again = import_plan(node, fixed, series=["4"])
    assert (again.range_count, again.number_count, again.added_count) == (3, 10_010_000, 0)
    refused = refusal(lambda: import_plan(node, *WHOLE))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PLAN_SHRINKS")
    done = import_plan(node, *WHOLE, force=True)
    assert (done.added_count, done.removed_count) == (0, 10_000)
    wait_for(node, done.index_version)
    assert facts(node, 74950000000).status == UNALLOCATED


def test_plan_that_is_older_is_refused_unless_that_is_meant(node: Node) -> None:
    """By its data time, with the series' in the details; force is another word."""
    newer, older = Timestamp(seconds=1_787_097_600), Timestamp(seconds=1_787_097_599)
    import_plan(node, *WHOLE, data_time=newer, force=True)
    refused = refusal(lambda: import_plan(node, WHOLE[0], series=["9"], data_time=older, force=True))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OLDER_DATA")
    assert refused.metadata["head_data_time"] == "2026-08-19T00:00:00+00:00"
    assert refused.metadata["series"] == "9"
    assert import_plan(node, *WHOLE, data_time=newer).added_count == 0
    done = import_plan(node, *WHOLE, data_time=older, allow_older=True)
    assert (done.added_count, done.removed_count, done.moved_count) == (0, 0, 0)
    import_plan(node, *WHOLE, data_time=newer)


def test_operator_that_goes_by_another_name_is_told(node: Node) -> None:
    renamed = plan_row(FIRST, OTHERS - 1, "ПАО Тринадцатый", "7740000076")
    (told,) = import_plan(node, renamed, WHOLE[1]).renamed
    assert (told.old_name, told.new_name, told.number_count) == ("ПАО Первый", "ПАО Тринадцатый", OTHERS - FIRST)
    assert not import_plan(node, *WHOLE).renamed


def test_row_over_several_codes_is_taken(node: Node) -> None:
    done = import_plan(node, plan_row(79160000000, 79189999999, "ПАО Первый", "7740000076"), force=True)
    assert (done.range_count, done.number_count) == (3, 30_000_000)


@pytest.mark.parametrize(
    ("rows", "header", "field"),
    [
        ((), {}, "rows"),
        (WHOLE, {"calling_code": 1}, "header.calling_code"),
        (WHOLE, {"source": ""}, "header.source"),
        (WHOLE, {"series": ["5"]}, "header.series"),
        (WHOLE, {"data_time": Timestamp(seconds=253_402_300_799)}, "header.data_time"),
        (WHOLE, {"data_time": Timestamp(seconds=2**62)}, "header.data_time"),
        (WHOLE, {"series": ["4"]}, "rows"),
        ((WHOLE[0], WHOLE[0]), {}, "rows"),
        ((plan_row(OTHERS, FIRST, "ПАО", ""),), {}, "rows"),
        ((plan_row(80000000000, 80000000009, "ПАО", ""),), {}, "rows"),
        ((plan_row(FIRST, FIRST, "", ""),), {}, "rows"),
        ((plan_row(FIRST, FIRST, "ПАО", "12x"),), {}, "rows"),
        ((plan_row(FIRST, FIRST, "П" * 513, ""),), {}, "rows"),
    ],
)
def test_plan_that_cannot_be_meant_is_refused_by_its_field(node: Node, rows, header, field) -> None:
    before = node.check.ListOperators(check_pb2.ListOperatorsRequest(), timeout=DEADLINE_S)
    refused = refusal(lambda: import_plan(node, *rows, **header))
    assert (refused.code, refused.violations) == (grpc.StatusCode.INVALID_ARGUMENT, [(field, "BAD_PLAN")])
    assert node.check.ListOperators(check_pb2.ListOperatorsRequest(), timeout=DEADLINE_S) == before


# --- watching


def test_watch_tells_the_version_of_now_and_then_each_that_is_published(node: Node, ids: tuple[int, int]) -> None:
    """In order, none twice; many watches more than the listener has threads."""
    watches = [node.numbering.WatchIndex(numbering_pb2.WatchIndexRequest(), timeout=DEADLINE_S) for _ in range(30)]
    begun = {next(watch).index_version for watch in watches}
    assert len(begun) == 1
    seen = push_active(node, ids[0], [FIRST])
    assert {next(watch).index_version for watch in watches} == {seen}
    for watch in watches:
        watch.cancel()
    push(node, ported(ids[1], FIRST))
