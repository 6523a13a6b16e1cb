"""Calls that wait too long for a thread of the plain door: the rule with the time given, and what its callers see."""

from collections import deque

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from numcheck.config import Settings
from numcheck.door import lateness
from numcheck.door.lateness import LINE_MIN, Arrival, StandingQueue
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from tests.api.calls import DEADLINE_S, refusal_of

TARGET_S, WINDOW_S = 0.04, 0.1


def answered(*, calls_a_second: float, times: float, seconds: float) -> tuple[list[float], int]:
    """Have `times` as many calls come as are begun, and return how long each of those answered waited, and how many
    were refused; a refusal takes no time."""
    queue, waits, refused, now, next_at = StandingQueue(), list[float](), 0, 100.0, 100.0
    waiting: deque[Arrival] = deque()
    while now < 100 + seconds:
        while next_at <= now or not waiting:
            waiting.append(queue.come(next_at))
            next_at += 1 / (times * calls_a_second)
        call = waiting.popleft()
        now = max(now, call.at)
        if queue.is_too_late(call, now):
            refused += 1
        else:
            waits.append(now - call.at)
            now += 1 / calls_a_second
    return waits, refused


@pytest.mark.parametrize("times", [2, 3, 5])
@pytest.mark.parametrize("calls_a_second", [200, 800, 3_000])
def test_no_more_calls_than_can_be_answered_are_answered_late(calls_a_second: float, times: float) -> None:
    """But for those of the first moment, in which the queue may yet pass; nor is a thread idle."""
    waits, refused = answered(calls_a_second=calls_a_second, times=times, seconds=10)
    bound_s = max(2 * TARGET_S, (LINE_MIN + 1) / calls_a_second)
    late = [waited for waited in waits if waited > bound_s]
    assert len(late) <= 2 * WINDOW_S * calls_a_second + 1
    assert len(waits) >= 10 * calls_a_second - 1
    assert refused > 0


def test_nobody_is_refused_below_what_can_be_answered() -> None:
    assert answered(calls_a_second=800, times=0.9, seconds=10)[1] == 0


def test_some_clients_of_a_slow_machine_are_answered() -> None:
    """Each asks again as it is answered, and so 96 always wait, for half a second."""
    queue, waiting, now = StandingQueue(), deque[Arrival](), 100.0
    waiting.extend(queue.come(now) for _ in range(LINE_MIN))
    for _ in range(2_000):
        assert not queue.is_too_late(waiting.popleft(), now)
        now += 1 / 200
        waiting.append(queue.come(now))


def test_queue_of_one_slow_moment_is_answered() -> None:
    """Calls that have waited for two seconds behind one another, and then no more."""
    queue = StandingQueue()
    calls = [queue.come(100.0 + i / 100) for i in range(200)]
    for i, call in enumerate(calls):
        assert not queue.is_too_late(call, 102.0 + i / 10_000)
    assert not queue.is_too_late(queue.come(102.1), 102.1)


def test_queue_that_stood_is_forgotten_once_nothing_waits() -> None:
    queue = StandingQueue()
    calls = [queue.come(100 + i / 100) for i in range(100 + LINE_MIN)]
    late = [queue.is_too_late(call, call.at + 1) for call in calls[:100]]
    assert late[0] is False
    assert late[99] is True
    assert not queue.is_too_late(Arrival(110.0, 0), 111.0)


def test_late_call_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that has waited longer than it may, as here each has."""
    monkeypatch.setattr(lateness, "WAITING_MAX_S", -1.0)
    door = PlainDoor(Settings(listen="127.0.0.1:0"), [], Watches())
    try:
        with grpc.insecure_channel(door.address) as channel, pytest.raises(grpc.RpcError) as caught:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
    finally:
        door.stop(0)
    refused = refusal_of(caught.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
    assert refused.retry_delay_s
