"""Pushes, at the public boundary: a real node on a real port, killed where it matters."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from numcheck.v1 import check_pb2, number_pb2, numbering_pb2
from tests.api.calls import refusal
from tests.numbering.node import FIRST, Node, start

SNAPSHOT, DELTA = numbering_pb2.PUSH_MODE_SNAPSHOT, numbering_pb2.PUSH_MODE_DELTA
ACTIVE, INACTIVE = number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_INACTIVE
Request = numbering_pb2.PushActiveNumbersRequest


def first_operator(node: Node) -> int:
    operators = node.check.ListOperators(check_pb2.ListOperatorsRequest()).operators
    return next(one.operator_id for one in operators if one.tax_id == "7740000076")


def header(node: Node, mode: int, **fields: Any) -> numbering_pb2.PushHeader:
    made = numbering_pb2.PushHeader(operator_id=first_operator(node), mode=mode, **fields)  # type: ignore[arg-type]
    if not made.HasField("data_time"):
        made.data_time.FromSeconds(1_750_000_000)
    return made


def push(node: Node, mode: int, *pieces: Request, **fields: Any) -> numbering_pb2.PushActiveNumbersResponse:
    requests = [Request(header=header(node, mode, **fields)), *pieces]
    return node.numbering.PushActiveNumbers(iter(requests), timeout=30)


def numbers(*range_of: int) -> list[int]:
    return [FIRST + place for place in range(*range_of)]


def statuses(node: Node, wanted: Sequence[int], index_version: int) -> list[int]:
    request = check_pb2.CheckNumbersRequest(numbers=wanted, min_index_version=index_version)
    for _ in range(200):
        try:
            return list(node.check.CheckNumbers(request, timeout=10).statuses)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            time.sleep(0.05)
    raise AssertionError("the push never became visible")


def state(node: Node) -> numbering_pb2.GetOperatorStateResponse:
    return node.numbering.GetOperatorState(numbering_pb2.GetOperatorStateRequest(operator_id=first_operator(node)))


def confirm(node: Node, token: str) -> numbering_pb2.PushActiveNumbersResponse:
    request = numbering_pb2.ConfirmPushRequest(operator_id=first_operator(node), confirmation_token=token)
    return node.numbering.ConfirmPush(request).push


def refused(call: Callable[[], Any]) -> tuple[str, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(caught.value).details)
    return caught.value.code().name, info.reason, dict(info.metadata)


def digest_of(members: Sequence[int]) -> bytes:
    """As the .proto file defines it, without numcheck."""
    chunks: dict[int, bytearray] = {}
    for number in members:
        bits = chunks.setdefault(number // 10**7, bytearray(1_250_000))
        bits[number % 10**7 // 8] |= 1 << number % 8
    listed = [chunk.to_bytes(8, "big") + hashlib.sha256(bits).digest() for chunk, bits in sorted(chunks.items())]
    return hashlib.sha256(b"".join(listed)).digest()


def test_a_snapshot_and_a_delta_are_seen_and_survive_a_kill(node: Node) -> None:
    made = push(node, SNAPSHOT, Request(add=numbers(10)), Request(add=numbers(5, 20)), push_id="a")
    assert (made.version, made.added_count, made.number_count) == (1, 20, 20)
    assert statuses(node, numbers(19, 21), made.index_version) == [ACTIVE, INACTIVE]
    ends = numbering_pb2.NumberRange(first=FIRST + 20, last=FIRST + 29)
    made = push(node, DELTA, Request(add_ranges=[ends], add=[FIRST], remove=[FIRST + 1, FIRST + 50]), base_version=1)
    assert (made.version, made.added_count, made.already_added_count) == (2, 10, 1)
    assert (made.removed_count, made.already_removed_count, made.number_count) == (1, 1, 29)
    node.kill()
    again = start(node.data_dir)
    try:
        assert statuses(again, numbers(3), made.index_version) == [ACTIVE, INACTIVE, ACTIVE]
        held = state(again)
        assert (held.version, held.number_count) == (2, 29)
        assert held.digest == digest_of([FIRST, *numbers(2, 30)])
    finally:
        again.kill()


def test_the_same_push_id_gets_the_first_answer_and_does_nothing_twice(node: Node) -> None:
    first = push(node, SNAPSHOT, Request(add=numbers(10)), push_id="a")
    again = push(node, DELTA, Request(add=numbers(90)), push_id="a", base_version=77)
    assert (first.HasField("first_push_time"), first.head_version) == (False, 1)
    assert abs(again.first_push_time.ToSeconds() - time.time()) < 60
    again.ClearField("first_push_time")
    assert again == first
    push(node, DELTA, base_version=1)
    assert push(node, SNAPSHOT, Request(add=numbers(90)), push_id="a").head_version == 2
    assert state(node).version == 2


def test_a_delta_on_another_version_than_the_head_is_refused_with_the_head(node: Node) -> None:
    push(node, SNAPSHOT, Request(add=numbers(10)))
    answer = refused(lambda: push(node, DELTA, Request(add=[FIRST + 11]), base_version=0))
    assert answer == ("ABORTED", "STALE_BASE", {"head_version": "1"})


def test_older_data_is_refused_with_the_head_unless_it_is_meant(node: Node) -> None:
    """And what is held of it as well; what is of the same moment as the head is not older."""
    old, older = Timestamp(seconds=1_750_000_000), Timestamp(seconds=1_749_999_999, nanos=999_999_000)
    push(node, SNAPSHOT, Request(add=numbers(10)), data_time=old)
    head = {"head_version": "1", "head_data_time": "2025-06-15T15:06:40+00:00"}
    for mode in (SNAPSHOT, DELTA):
        late = [mode, Request(add=numbers(1))]
        assert refused(lambda late=late: push(node, *late, base_version=1, data_time=older)) == (  # type: ignore[misc]
            "FAILED_PRECONDITION",
            "OLDER_DATA",
            head,
        )
    assert state(node).version == 1
    assert push(node, DELTA, base_version=1, data_time=old).version == 2
    meant = push(node, SNAPSHOT, Request(add=numbers(1)), data_time=older, allow_older=True)
    assert meant.state == numbering_pb2.PUSH_STATE_HELD
    assert confirm(node, meant.confirmation_token).version == 3
    assert state(node).data_time == older


def test_numbers_of_others_refuse_the_push_by_name_or_are_skipped_and_counted(node: Node) -> None:
    strangers = [FIRST + 1_000_000, 79_990_000_000, 2**64 - 1]
    code, reason, metadata = refused(lambda: push(node, SNAPSHOT, Request(add=[FIRST, *strangers])))
    assert (code, reason, metadata["not_served_count"]) == ("INVALID_ARGUMENT", "NOT_SERVED", "3")
    assert {int(one) for one in metadata["not_served"].split(",")} == set(strangers)
    assert state(node).version == 0
    made = push(node, SNAPSHOT, Request(add=[FIRST, *strangers]), skip_not_served=True)
    assert (made.refused_count, {one.number for one in made.refused}) == (3, set(strangers))
    assert made.number_count == 1


@pytest.mark.parametrize("field", ["add", "remove", "add_ranges", "remove_ranges"])
def test_refusal_names_the_field_of_the_first_number_of_others(node: Node, field: str) -> None:
    stranger = FIRST + 1_000_000
    numbers_or_range = [numbering_pb2.NumberRange(first=stranger, last=stranger)] if "ranges" in field else [stranger]
    behind = Request(add=[stranger], remove=[stranger])
    found = refusal(lambda: push(node, DELTA, Request(add=[FIRST]), Request(**{field: numbers_or_range}), behind))  # type: ignore[arg-type]
    assert found.violations == [(field, "NOT_SERVED")]


def test_a_range_over_the_end_of_what_is_served_names_its_first_strangers(node: Node) -> None:
    wide = numbering_pb2.NumberRange(first=FIRST - 5, last=10**15 - 1)
    made = push(node, SNAPSHOT, Request(add_ranges=[wide]), skip_not_served=True)
    assert (made.number_count, made.refused_count) == (1_000_000, 10**15 - (FIRST - 5) - 1_000_000)
    assert [one.number for one in made.refused][4:6] == [FIRST - 1, FIRST + 1_000_000]


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [Request(add=[FIRST])],
        [Request(header=numbering_pb2.PushHeader(mode=DELTA))],  # type: ignore[arg-type]
    ],
)
def test_a_push_without_a_usable_header_is_refused(node: Node, pieces: list[Request]) -> None:
    assert refused(lambda: node.numbering.PushActiveNumbers(iter(pieces)))[:2] == ("INVALID_ARGUMENT", "BAD_PUSH")


@pytest.mark.parametrize(
    "piece",
    [
        Request(header=numbering_pb2.PushHeader(operator_id=1)),
        Request(add_ranges=[numbering_pb2.NumberRange(first=FIRST + 1, last=FIRST)]),
        Request(add_ranges=[numbering_pb2.NumberRange(first=FIRST, last=2**64 - 1)]),
    ],
)
def test_a_push_that_contradicts_itself_is_refused_and_changes_nothing(node: Node, piece: Request) -> None:
    assert refused(lambda: push(node, DELTA, piece))[:2] == ("INVALID_ARGUMENT", "BAD_PUSH")
    assert state(node).version == 0


def test_an_empty_snapshot_is_refused_and_an_empty_delta_only_renews_the_data_time(node: Node) -> None:
    assert refused(lambda: push(node, SNAPSHOT))[1] == "BAD_PUSH"
    for nothing in ([], [Request(remove=numbers(2))]):  # where nothing is yet: its numbers stay unknown
        assert refused(lambda nothing=nothing: push(node, DELTA, *nothing))[1] == "BAD_PUSH"
    assert (state(node).version, statuses(node, numbers(1), 0)) == (0, [number_pb2.NUMBER_STATUS_UNKNOWN])
    push(node, SNAPSHOT, Request(add=numbers(10)))
    made = push(node, DELTA, base_version=1)
    assert (made.version, made.added_count, made.removed_count, made.number_count) == (2, 0, 0, 10)


def test_a_push_that_removes_more_than_a_tenth_waits_for_its_token(node: Node) -> None:
    push(node, SNAPSHOT, Request(add=numbers(100)))
    assert push(node, DELTA, Request(remove=numbers(10)), base_version=1).version == 2
    held = push(node, DELTA, Request(remove=numbers(10, 20)), base_version=2, push_id="cut")
    assert (held.state, held.version, held.removed_count) == (numbering_pb2.PUSH_STATE_HELD, 0, 10)
    assert state(node).number_count == 90
    again = push(node, DELTA, push_id="cut", base_version=2)
    assert (again.state, again.confirmation_token) == (held.state, held.confirmation_token)
    (listed,) = node.numbering.ListHeldPushes(numbering_pb2.ListHeldPushesRequest()).held_pushes
    assert (listed.operator_id, listed.push_id, listed.mode) == (first_operator(node), "cut", DELTA)
    assert (listed.push, listed.data_time.seconds) == (again, 1_750_000_000)
    assert listed.expire_time.ToSeconds() - again.first_push_time.ToSeconds() == 7 * 86_400
    made = confirm(node, held.confirmation_token)
    assert (made.version, made.number_count) == (3, 80)
    assert not node.numbering.ListHeldPushes(numbering_pb2.ListHeldPushesRequest()).held_pushes
    repeated = confirm(node, held.confirmation_token)
    assert repeated.first_push_time == again.first_push_time
    repeated.ClearField("first_push_time")
    assert repeated == made
    assert statuses(node, numbers(19, 21), made.index_version) == [INACTIVE, ACTIVE]


def test_a_held_push_cannot_be_confirmed_once_another_is_applied(node: Node) -> None:
    push(node, SNAPSHOT, Request(add=numbers(100)))
    held = push(node, SNAPSHOT, Request(add=numbers(50)))
    push(node, DELTA, Request(add=[FIRST + 200]), base_version=1)
    assert refused(lambda: confirm(node, held.confirmation_token))[:2] == ("ABORTED", "CONCURRENT_PUSH")
    assert refused(lambda: confirm(node, "another"))[:2] == ("NOT_FOUND", "UNKNOWN_PUSH")
    assert state(node).number_count == 101


def test_a_push_that_is_cut_changes_nothing(node: Node) -> None:
    sent = threading.Event()

    def requests() -> Iterator[Request]:
        yield Request(header=header(node, SNAPSHOT), add=numbers(10))
        sent.set()
        threading.Event().wait(1)

    call = node.numbering.PushActiveNumbers.future(requests())
    assert sent.wait(5)
    call.cancel()
    assert push(node, SNAPSHOT, Request(add=numbers(3))).version == 1
    time.sleep(1)
    assert state(node).number_count == 3


def test_of_two_pushes_at_once_one_is_aborted(node: Node) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[Request]:
        yield Request(header=header(node, SNAPSHOT), add=numbers(10))
        for _ in range(16):  # more than HTTP/2 lets through before the node reads
            yield Request(add=numbers(40_000))
        begun.set()
        go_on.wait(60)

    call = node.numbering.PushActiveNumbers.future(slow())
    assert begun.wait(60)
    assert push(node, SNAPSHOT, Request(add=numbers(3))).version == 1
    go_on.set()
    assert refused(call.result)[:2] == ("ABORTED", "CONCURRENT_PUSH")
    assert state(node).number_count == 3


def test_many_deltas_answer_as_one_set_would(node: Node) -> None:
    push(node, SNAPSHOT, Request(add=numbers(0, 100_000, 2)))
    members = set(numbers(0, 100_000, 2))
    for turn in range(12):
        adds, removes = numbers(turn, 9_000, 13), numbers(50_000 + turn, 60_000, 17)
        made = push(node, DELTA, Request(add=adds, remove=removes), base_version=turn + 1)
        members = (members | set(adds)) - set(removes)
        assert made.number_count == len(members)
    assert state(node).digest == digest_of(sorted(members))
    wanted = numbers(0, 60_100)
    expected = [ACTIVE if number in members else INACTIVE for number in wanted]
    assert statuses(node, wanted, made.index_version) == expected
