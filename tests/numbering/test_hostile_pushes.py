"""Who may hold a push's thread: nobody who sends nothing, and no operator all of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from numcheck.access import Caller, Role
from numcheck.api.slots import OWN_PUSHES_MAX, PushSlots
from numcheck.config import Settings
from numcheck.door import attended
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.errors import TooManyStreams
from numcheck.index import PublishedIndex
from numcheck.serving.services import numbering_service
from numcheck.store import Store
from numcheck.v1 import numbering_pb2, numbering_pb2_grpc
from tests.store.registry import plan, row

FIRST = 79_160_000_000
ADMINISTRATOR = Caller("numcheck:local", Role.ADMINISTRATOR)


def operator(uri: str, operator_id: int) -> Caller:
    return Caller(uri, Role.OPERATOR, operator_id=operator_id)


def test_operator_does_not_get_more_than_its_own_places_whatever_it_calls_itself():
    every, stack = PushSlots(2 * OWN_PUSHES_MAX), ExitStack()
    with stack:
        for number in range(OWN_PUSHES_MAX):
            stack.enter_context(every.take(operator(f"urn:one:{number}", 1)))
        with pytest.raises(TooManyStreams), every.take(operator("urn:one:more", 1)):
            pass
        with every.take(operator("urn:two", 2)):
            pass
    with every.take(operator("urn:one:more", 1)):  # slots come back
        pass


def test_nobody_gets_more_places_than_there_are():
    every, stack = PushSlots(3), ExitStack()
    with stack:
        for _ in range(3):
            stack.enter_context(every.take(ADMINISTRATOR))
        with pytest.raises(TooManyStreams), every.take(operator("urn:two", 2)):
            pass


@pytest.fixture
def numbering(tmp_path: Path) -> Iterator[numbering_pb2_grpc.NumberingServiceStub]:
    """A listener in this process with room for one push."""
    settings, published, watches = Settings(listen="127.0.0.1:0", api_threads=4), PublishedIndex(), Watches()
    with Store(tmp_path) as store:
        rows = plan(row(916, 0, 999_999, "Альфа", "7740000076"))
        store.import_plan(rows, source="rows.csv", now=datetime.now(UTC))
        service = numbering_service(store, published, settings, watches, changed=[])
        listener = PlainDoor(settings, [service], watches)
        try:
            with grpc.insecure_channel(listener.address) as channel:
                yield numbering_pb2_grpc.NumberingServiceStub(channel)
        finally:
            listener.stop(0)


def snapshot(*ranges: tuple[int, int], skip: bool = False) -> numbering_pb2.PushActiveNumbersRequest:
    mode = numbering_pb2.PUSH_MODE_SNAPSHOT
    header = numbering_pb2.PushHeader(operator_id=1, mode=mode, skip_not_served=skip)
    header.data_time.FromSeconds(1_750_000_000)
    add = [numbering_pb2.NumberRange(first=first, last=last) for first, last in ranges]
    return numbering_pb2.PushActiveNumbersRequest(header=header, add_ranges=add)


def pushed_once_there_is_a_place(numbering) -> numbering_pb2.PushActiveNumbersResponse:
    """The caller hears of the end before the thread is given back."""
    for _ in range(1_000):
        call = numbering.PushActiveNumbers.future(iter([snapshot((FIRST, FIRST))]))
        if call.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            return call.result()
    raise AssertionError("the place was never given back")


@pytest.mark.parametrize("begun", [True, False], ids=["after its header", "before its header"])
def test_push_that_sends_nothing_more_gives_its_place_back(numbering, monkeypatch, begun: bool):
    monkeypatch.setattr(attended, "STALL_TIMEOUT_S", 0.1)
    requests: SimpleQueue[numbering_pb2.PushActiveNumbersRequest | None] = SimpleQueue()
    if begun:
        requests.put(snapshot((FIRST, FIRST + 9)))
    next_request: Callable[[], numbering_pb2.PushActiveNumbersRequest | None] = requests.get
    stalled = numbering.PushActiveNumbers.future(iter(next_request, None))
    assert stalled.code() is grpc.StatusCode.CANCELLED
    requests.put(None)
    state = numbering.GetOperatorState(numbering_pb2.GetOperatorStateRequest(operator_id=1))
    assert state.version == 0
    monkeypatch.undo()
    assert pushed_once_there_is_a_place(numbering).version == 1


def test_more_refused_numbers_than_an_answer_can_count_do_not_fail_a_push(numbering):
    made = numbering.PushActiveNumbers(iter([snapshot(*[(0, 10**15 - 1)] * 18_500, skip=True)]))
    assert (made.version, made.refused_count, made.number_count) == (1, 2**64 - 1, 1_000_000)


def test_state_comes_without_its_digest_if_that_is_asked_for(numbering):
    numbering.PushActiveNumbers(iter([snapshot((FIRST, FIRST))]))
    request = numbering_pb2.GetOperatorStateRequest
    assert numbering.GetOperatorState(request(operator_id=1, without_digest=True)).digest == b""
    assert len(numbering.GetOperatorState(request(operator_id=1)).digest) == 32


def refusal(call) -> tuple[str, str, list[str]]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    details = rpc_status.from_call(caught.value).details
    assert any(detail.Unpack(info) for detail in details)
    fields = [one.field for detail in details if detail.Unpack(bad) for one in bad.field_violations]
    return caught.value.code().name, info.reason, fields


def plan_message(**texts: str) -> numbering_pb2.ImportNumberingPlanRequest:
    header = numbering_pb2.PlanHeader(calling_code=7, source=texts.pop("source", "file"))
    whose = {"operator_name": "Альфа", "region": "Псков", **texts}
    row_of = numbering_pb2.PlanRow(first=FIRST, last=FIRST + 999_999, tax_id="7740000076", **whose)
    return numbering_pb2.ImportNumberingPlanRequest(header=header, rows=[row_of])


@pytest.mark.parametrize("text", ["operator_name", "region", "source"])
def test_nul_character_in_a_plan_is_refused_by_name(numbering, text):
    """PostgreSQL keeps none: what was a failure of the store there, on one engine, is the caller's mistake on both."""
    answer = refusal(lambda: numbering.ImportNumberingPlan(iter([plan_message(**{text: "a\0b"})])))
    field = "header.source" if text == "source" else "rows"
    assert answer == ("INVALID_ARGUMENT", "BAD_PLAN", [field])


def test_nul_character_in_a_push_id_is_refused_by_name_and_in_a_token_is_nobodys(numbering):
    request = snapshot((FIRST, FIRST))
    request.header.push_id = "a\0b"
    answer = refusal(lambda: numbering.PushActiveNumbers(iter([request])))
    assert answer == ("INVALID_ARGUMENT", "BAD_PUSH", ["header.push_id"])
    confirmation = numbering_pb2.ConfirmPushRequest(operator_id=1, confirmation_token="a\0b")
    assert refusal(lambda: numbering.ConfirmPush(confirmation))[:2] == ("NOT_FOUND", "UNKNOWN_PUSH")
