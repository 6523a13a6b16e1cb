"""Requests that are repeated, and what is told of tries that are left."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from numcheck.errors import BadRegistration, DeliveryFailed, ProofNotAccepted, TooManyCodes
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import CodeProof
from numcheck.registrations.record import NetworkAddress
from numcheck.registrations.registration import Outcome, VerificationState
from numcheck.registrations.states import RegistrationState as State
from tests.registrations.by_code import complete, last_code, other_than, start
from tests.registrations.world import ADDRESS, SERVICE, Courier, World, small

NUMBER = small.UNKNOWN
Asked = Callable[..., Outcome]


def sent(world: World) -> int:
    assert isinstance(world.courier, Courier)
    return len(world.courier.sent)


def verify(world: World, request_id: str, **changes: object) -> Outcome:
    return start(world, request_id=request_id, **changes)


def refresh(world: World, request_id: str, data: str = "b") -> Outcome:
    outcome: Outcome = world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": data}, request_id=request_id)
    return outcome


@pytest.fixture(params=[verify, refresh])
def asked(request: pytest.FixtureRequest) -> Asked:
    found: Asked = request.param
    return found


@pytest.fixture
def code_world(each_world: World) -> World:
    each_world.methods = "code"
    return each_world


def test_a_repeated_request_sends_no_second_code_and_gets_the_same_answer(code_world: World, asked: Asked) -> None:
    """Also long after the first, and at once; the first code stays good."""
    code_world.register(NUMBER)
    code_world.pass_time(hours=1)
    first = asked(code_world, "r1")
    code_world.pass_time(seconds=200)
    assert asked(code_world, "r1") == first
    with ThreadPoolExecutor(8) as callers:
        assert [call.result() for call in [callers.submit(asked, code_world, "r1") for _ in range(8)]] == [first] * 8
    assert sent(code_world) == 2
    assert complete(code_world, first, last_code(code_world))
    again = asked(code_world, "r1")
    assert again.registration == code_world.registrar.get(SERVICE, "u1")
    assert again.verification is not None
    assert again.verification.state == VerificationState.CONFIRMED


def test_another_request_is_another_and_none_takes_anothers_name(code_world: World) -> None:
    """A name counts for one user and one content; without a name each is a request of its own."""
    code_world.register(NUMBER)
    code_world.register(NUMBER + 1, "u2")
    code_world.pass_time(hours=1)
    first = verify(code_world, "r1")
    code_world.pass_time(seconds=300)
    assert verify(code_world, "r1") != first  # it is over by now
    for other in ({"method": Method.CODE}, {"network_address": NetworkAddress("192.0.2.1", 1)}):
        with pytest.raises(BadRegistration) as refused:
            verify(code_world, "r1", **other)
        assert refused.value.field == "request_id"
    with pytest.raises(BadRegistration):
        refresh(code_world, "r1")
    assert start(code_world, "u2", request_id="r1").registration.record.user_id == "u2"
    assert sent(code_world) == 4
    code_world.pass_time(hours=1)
    verify(code_world, "r2")
    code_world.pass_time(hours=1)
    verify(code_world, "")
    code_world.pass_time(hours=1)
    verify(code_world, "")
    assert sent(code_world) == 7


def test_a_refusal_with_nothing_done_is_no_request_and_may_work_later(code_world: World) -> None:
    code_world.register(NUMBER)
    with pytest.raises(TooManyCodes):
        verify(code_world, "r1")
    code_world.pass_time(seconds=60)
    assert verify(code_world, "r1").verification is not None


def test_a_refresh_that_could_send_no_code_is_told_again_without_the_verification_of_before(code_world: World) -> None:
    """That one was confirmed: taken for the refresh's own, it would say that the user has proved the number anew."""
    registered = code_world.register(NUMBER)
    assert complete(code_world, registered, last_code(code_world))
    first = refresh(code_world, "r1")
    assert (first.verification, first.problem) == (None, "TOO_MANY_CODES")
    code_world.pass_time(hours=1)
    assert refresh(code_world, "r1") == first


def test_a_code_that_was_not_handed_over_is_told_each_time_and_not_sent_again(code_world: World) -> None:
    """The answer stays the same, though the gateway is well by now; another request sends another code."""
    code_world.register(NUMBER)
    assert isinstance(code_world.courier, Courier)
    code_world.pass_time(hours=1)
    code_world.courier.failing = True
    with pytest.raises(DeliveryFailed):
        verify(code_world, "r1")
    code_world.pass_time(hours=1)
    assert refresh(code_world, "r2").problem == "DELIVERY_FAILED"
    code_world.courier.failing = False
    with pytest.raises(DeliveryFailed):
        verify(code_world, "r1")
    assert refresh(code_world, "r2").problem == "DELIVERY_FAILED"
    assert sent(code_world) == 3
    code_world.pass_time(hours=1)
    verify(code_world, "r3")
    assert sent(code_world) == 4


def test_a_repeated_refresh_is_one_refresh(data_dir: Path) -> None:
    """Of a user whom the operator confirms at once: one event, one new due time, and the first content."""
    world = World(data_dir)
    world.register(small.ACTIVE)
    world.pass_time(days=1)
    first = refresh(world, "r1")
    world.pass_time(days=1)
    assert refresh(world, "r1") == first
    assert first.registration.state is State.VERIFIED
    assert world.kinds() == ["registered", "confirmed", "refreshed", "confirmed"]
    world.close()


def left(world: World, outcome: Outcome, code: str, service: str = SERVICE) -> dict[str, str]:
    """What a refusal tells."""
    assert outcome.verification is not None
    with pytest.raises(ProofNotAccepted) as refused:
        world.completion.complete(service, outcome.verification.verification_id, CodeProof(code))
    assert str(refused.value) == "the proof is not accepted"
    return refused.value.metadata


def test_what_is_left_of_tries_and_time_is_told_to_who_knows_the_verification(code_world: World) -> None:
    """R8: and to nobody else: of a verification that is unknown, or another service's, nothing is told."""
    outcome, code = code_world.register(NUMBER), last_code(code_world)
    until = "2026-09-01T12:05:00Z"
    assert left(code_world, outcome, code, "other") == {}
    assert left(code_world, outcome, "0000") == {"tries_left": "3", "expires_at": until}  # no try: another length
    told = [left(code_world, outcome, other_than(code)) for _ in range(4)]
    assert told == [{"tries_left": one, "expires_at": until} for one in ("2", "1", "0", "0")]
    code_world.pass_time(hours=1)
    second, code = start(code_world), last_code(code_world)
    assert left(code_world, outcome, code) == {"tries_left": "0", "expires_at": until}  # a newer one counts
    code_world.pass_time(seconds=300)
    assert left(code_world, second, code)["tries_left"] == "0"
    code_world.registrar.delete(SERVICE, "u1")
    assert left(code_world, second, code) == {}
