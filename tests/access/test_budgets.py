"""R9: a messenger learns about at most its budget of new numbers a day: over connections, doors, restarts and nodes."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from numcheck.config import ServiceSettings
from numcheck.v1 import check_pb2
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.access.calls import register_request
from tests.access.node import ALPHA, FIRST, NOW, SecureNode, secure_node
from tests.active.sets import active_set_of
from tests.api.calls import DEADLINE_S, refusal_of

BUDGET = 100
EVENING = datetime(2026, 11, 28, 20, tzinfo=UTC)
HEADER = "numcheck-new-numbers-left"
Ask = Callable[[CheckServiceStub, list[int]], Any]


class Clock:
    """The clock of budgets, as a test sets it."""

    def __init__(self) -> None:
        self.time = EVENING

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(tmp_path: Path, clock: Clock) -> Iterator[SecureNode]:
    with secure_node(tmp_path, now=clock, new_numbers_per_day_max=BUDGET) as one:
        yield one


def numbers(stub: CheckServiceStub, asked: list[int]) -> Any:
    return stub.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=asked), timeout=DEADLINE_S)


def number(stub: CheckServiceStub, asked: list[int]) -> Any:
    return [stub.CheckNumber(check_pb2.CheckNumberRequest(number=f"+{one}"), timeout=DEADLINE_S) for one in asked]


def spelt(stub: CheckServiceStub, asked: list[int]) -> Any:
    """In a way that the native door leaves to Python, too."""
    texts = [f"+{str(one)[:1]} ({str(one)[1:4]}) {str(one)[4:]}{' ' * 130}" for one in asked]
    return [stub.CheckNumber(check_pb2.CheckNumberRequest(number=text), timeout=DEADLINE_S) for text in texts]


def streamed(stub: CheckServiceStub, asked: list[int]) -> Any:
    requests = (check_pb2.CheckNumbersRequest(numbers=[one]) for one in asked)
    return list(stub.StreamCheckNumbers(requests, timeout=DEADLINE_S))


def recycled(stub: CheckServiceStub, asked: list[int]) -> Any:
    request = check_pb2.CheckRecycledRequest(numbers=asked, since_unix_s=[0])
    return stub.CheckRecycled(request, timeout=DEADLINE_S)


def is_answered(ask: Ask, stub: CheckServiceStub, asked: list[int]) -> bool:
    """Return False if the budget does not suffice."""
    try:
        ask(stub, asked)
    except grpc.RpcError as error:
        refused = refusal_of(error)
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_NEW_NUMBERS")
        return False
    return True


def stubs(node: SecureNode, name: str = "messenger") -> list[CheckServiceStub]:
    """A connection to each door."""
    return [CheckServiceStub(node.channel(name, listener=one)) for one in node.addresses]


def crawl(node: SecureNode, first: int, connections: int, each: int) -> int:
    """Ask about other numbers over each of as many connections at once, spread over the doors; how many were
    answered."""
    answered: list[int] = []
    doors = list(node.addresses)

    def ask(place: int) -> None:
        with node.channel("messenger", listener=doors[place % len(doors)]) as channel:
            stub = CheckServiceStub(channel)
            asked = range(first + place * each, first + (place + 1) * each)
            answered.extend(one for one in asked if is_answered(numbers, stub, [one]))

    threads = [threading.Thread(target=ask, args=[place]) for place in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(answered)


@pytest.mark.parametrize("connections", [1, 5, 50])
def test_a_crawl_learns_exactly_the_budget_however_many_connections_it_has(node: SecureNode, connections: int) -> None:
    assert crawl(node, FIRST, connections, 150 // connections) == BUDGET
    assert crawl(node, FIRST + 5_000, 2, 3) == 0


@pytest.mark.parametrize("ask", [number, spelt, numbers, streamed, recycled])
def test_every_method_that_answers_about_numbers_takes_of_the_budget(node: SecureNode, ask: Ask) -> None:
    first, *others = stubs(node)
    assert is_answered(ask, first, list(range(FIRST, FIRST + 60)))
    for stub in [first, *others]:
        assert is_answered(ask, stub, list(range(FIRST, FIRST + 60))), "what was asked before is free"
        assert not is_answered(numbers, stub, list(range(FIRST + 60, FIRST + 101))), "one too many"
    assert is_answered(ask, others[-1] if others else first, list(range(FIRST + 60, FIRST + 100)))
    for stub in [first, *others]:
        assert not is_answered(ask, stub, [FIRST + 200])
        assert is_answered(ask, stub, [FIRST + 99])


def test_a_refused_request_takes_nothing_and_is_told_when_the_day_turns(node: SecureNode) -> None:
    for stub in stubs(node):
        with pytest.raises(grpc.RpcError) as raised:
            numbers(stub, list(range(FIRST, FIRST + BUDGET + 1)))
        refused = refusal_of(raised.value)
        assert refused.retry_delay_s == timedelta(hours=4).total_seconds()
        assert refused.metadata == {"budget": "100", "left": "100", "turns_at": "2026-11-29T00:00:00Z"}
    assert is_answered(numbers, stub, list(range(FIRST, FIRST + BUDGET)))


def test_what_stands_twice_or_can_be_no_number_takes_nothing(node: SecureNode) -> None:
    for stub in stubs(node):
        assert is_answered(numbers, stub, [0, 2**64 - 1, 10**15] * 200)
        assert is_answered(numbers, stub, list(range(FIRST, FIRST + BUDGET)) * 3)
        assert is_answered(numbers, stub, [])
        assert not is_answered(numbers, stub, [10**15 - 1])


def test_malformed_requests_take_nothing(node: SecureNode) -> None:
    body = check_pb2.CheckNumbersRequest(numbers=range(FIRST, FIRST + 50)).SerializeToString()
    for listener in node.addresses:
        with node.channel("messenger", listener=listener) as channel:
            for bad in (
                body[:-1],
                body + b"\x07",
                body + b"\x18\xff\xff\xff\xff\x0f",
            ):  # the last asks for a later index
                with pytest.raises(grpc.RpcError) as raised:
                    channel.unary_unary("/numcheck.v1.CheckService/CheckNumbers")(bad, timeout=DEADLINE_S)
                assert raised.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE)
    assert crawl(node, FIRST + 1_000, 3, 50) == BUDGET


def test_the_next_day_has_a_budget_of_its_own(node: SecureNode, clock: Clock) -> None:
    first, *others = stubs(node)
    assert is_answered(numbers, first, list(range(FIRST, FIRST + BUDGET)))
    clock.time = EVENING + timedelta(hours=4, microseconds=-1)
    node.budgets.look()
    assert not is_answered(numbers, first, [FIRST + BUDGET])
    clock.time = EVENING + timedelta(hours=4)
    node.budgets.look()
    assert is_answered(numbers, first, list(range(FIRST + 1, FIRST + 1 + BUDGET)))
    for stub in [first, *others]:
        assert not is_answered(numbers, stub, [FIRST])
    clock.time = EVENING  # a clock that is set back gives nobody that day's budget again
    node.budgets.look()
    for stub in [first, *others]:
        assert not is_answered(numbers, stub, [FIRST + BUDGET + 5])


def register(node: SecureNode, phone: int, service: str) -> None:
    """Have a registration on a number; it is VERIFIED if the number is active."""
    request = register_request(service)
    request.number = f"+{phone}"
    with node.channel("administrator") as channel:
        RegistrationServiceStub(channel).Register(request, timeout=DEADLINE_S)


def test_numbers_of_its_own_users_are_free(node: SecureNode) -> None:
    """Those that it only says are its own, as nothing verified them, and those of other services are not."""
    active, inactive, of_other = range(FIRST, FIRST + 20), range(FIRST + 20, FIRST + 30), range(FIRST + 30, FIRST + 40)
    node.store.sets.replace_active_set(ALPHA, active_set_of([*active, *of_other]), data_time=NOW, now=NOW)
    node.control.callers.agree("chat", ALPHA, now=NOW)
    node.control.callers.agree("other", ALPHA, now=NOW)
    node.control.directory.refresh()
    node.publish()
    for phone in (*active, *inactive):
        register(node, phone, "chat")
    for phone in of_other:
        register(node, phone, "other")
    for stub in stubs(node):
        assert not is_answered(numbers, stub, [*active, *inactive, *of_other, *range(FIRST + 1_000, FIRST + 1_081)])
    for stub in stubs(node):
        assert is_answered(numbers, stub, [*active, *inactive, *of_other, *range(FIRST + 1_000, FIRST + 1_080)])
        assert not is_answered(number, stub, [FIRST + 2_000])
    first, *others = stubs(node, "other")
    assert is_answered(numbers, first, list(range(FIRST + 1_000, FIRST + 1_095)))
    for stub in [first, *others]:
        assert is_answered(streamed, stub, [*of_other])
        assert is_answered(numbers, stub, list(range(FIRST + 1_000, FIRST + 1_100)))
        assert not is_answered(numbers, stub, [active[0]])


def test_a_user_who_is_verified_later_is_free_from_then_on(node: SecureNode) -> None:
    node.store.sets.replace_active_set(ALPHA, active_set_of([FIRST]), data_time=NOW, now=NOW)
    node.control.callers.agree("chat", ALPHA, now=NOW)
    node.control.directory.refresh()
    node.publish()
    for stub in stubs(node):
        assert not is_answered(numbers, stub, list(range(FIRST, FIRST + BUDGET + 1)))
    register(node, FIRST, "chat")
    for stub in stubs(node):
        assert is_answered(numbers, stub, list(range(FIRST, FIRST + BUDGET + 1)))


def headers_of(node: SecureNode, listener: str, asked: list[int]) -> dict[str, str]:
    with node.channel("messenger", listener=listener) as channel:
        request = check_pb2.CheckNumbersRequest(numbers=asked)
        _, call = CheckServiceStub(channel).CheckNumbers.with_call(request, timeout=DEADLINE_S)
    return dict(call.initial_metadata())


def test_a_caller_is_told_once_less_than_a_tenth_is_left(node: SecureNode) -> None:
    first, *_, last = [*node.addresses, *node.addresses]
    with capture_logs() as logs:
        assert HEADER not in headers_of(node, last, list(range(FIRST, FIRST + 90)))
        assert HEADER not in headers_of(node, first, [FIRST])
        assert is_answered(numbers, stubs(node)[0], [FIRST + 90])
        for listener in node.addresses:
            assert headers_of(node, listener, [FIRST])[HEADER] == "9"
        assert not is_answered(numbers, stubs(node)[0], list(range(FIRST + 91, FIRST + 101)))
        assert is_answered(numbers, stubs(node)[0], list(range(FIRST + 91, FIRST + 100)))
        assert not is_answered(numbers, stubs(node)[0], [FIRST + 100])
    assert headers_of(node, last, [FIRST])[HEADER] == "0"
    told = [(one["event"], one["caller"], one["left"]) for one in logs if "budget" in one["event"]]
    assert told == [
        ("a caller nears its budget of new numbers", "chat", 9),
        ("a caller is refused: its budget of new numbers does not suffice", "chat", 9),
    ]
    (account,) = node.budgets.accounts()
    assert (account.name, account.budget, account.left, account.refused_count) == ("chat", BUDGET, 0, 2)


def test_settings_that_are_taken_anew_reach_open_connections(node: SecureNode) -> None:
    settings = node.budgets._settings
    opened = stubs(node)
    for stub in opened:
        assert is_answered(numbers, stub, list(range(FIRST, FIRST + 50)))
    for own, most in ((60, 60), (70, 70), (0, 10_000)):
        node.budgets.take(
            settings.model_copy(update={"services": {"chat": ServiceSettings(new_numbers_per_day_max=own)}})
        )
        for stub in opened:
            assert is_answered(numbers, stub, list(range(FIRST, FIRST + most)))
            assert is_answered(numbers, stub, [FIRST + most]) == (own == 0)
    node.budgets.take(settings)
    for stub in opened:
        assert is_answered(numbers, stub, list(range(FIRST, FIRST + BUDGET - 30)))


def test_other_callers_have_budgets_of_their_own_and_administrators_none(node: SecureNode) -> None:
    assert crawl(node, FIRST, 2, 60) == BUDGET
    for stub in stubs(node, "other"):
        assert is_answered(numbers, stub, list(range(FIRST, FIRST + BUDGET)))
        assert not is_answered(numbers, stub, [FIRST + BUDGET])
    for stub in stubs(node, "administrator"):
        assert is_answered(numbers, stub, list(range(FIRST, FIRST + 5 * BUDGET)))


def test_nothing_that_was_asked_lies_in_the_store_in_the_clear(node: SecureNode) -> None:
    asked = list(range(FIRST, FIRST + BUDGET))
    assert crawl(node, FIRST, 1, BUDGET) == BUDGET
    node.budgets.stop()
    with sqlite3.connect(node.directory.parent / "data" / "numcheck.db") as connection:
        rows = connection.execute("SELECT service, sealed FROM asked_numbers").fetchall()
    assert {service for service, _ in rows} == {"chat"}
    kept = b"".join(sealed for _, sealed in rows)
    assert len(kept) > BUDGET
    for one in asked:
        for spelling in (str(one).encode(), one.to_bytes(8, "little"), one.to_bytes(8, "big")[2:]):
            assert spelling not in kept
