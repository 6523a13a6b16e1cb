"""How often a party may call a method: never more than the settings say, and as often as they say."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.config import load_settings
from numcheck.door.rates import Rates
from numcheck.errors import BadConfiguration, CallRateExceeded
from numcheck.v1 import numbering_pb2, numbering_pb2_grpc, registration_pb2
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import refusal
from tests.conformance.conftest import serving_by
from tests.serving import small
from tests.serving.command import Node

DEADLINE_S = 10


def took(rates: Rates, method: str = "m", party: str = "p") -> float:
    """Make a call: 0 if it is taken, otherwise after how many seconds it would be."""
    try:
        rates.take(method, party)
    except CallRateExceeded as refused:
        return refused.retry_delay_s
    return 0


@given(st.floats(0.1, 50), st.lists(st.floats(0, 2), max_size=80))
def test_no_stretch_of_time_has_more_calls_than_its_rate_and_a_burst(rate: float, pauses: list[float]) -> None:
    """Held to a plain count of every stretch; a call that is refused is taken when it was told to come again."""
    now_s, taken = 0.0, []
    rates = Rates({"m": rate}, lambda: now_s)
    for pause_s in pauses:
        now_s += pause_s
        delay_s = took(rates)
        if delay_s:
            now_s += delay_s + 1e-9
            assert not took(rates)
        taken.append(now_s)
    for first, began_s in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= max(rate, 1) + rate * (taken[last] - began_s) + 1 + 1e-6


def test_calls_of_others_and_of_other_methods_do_not_count() -> None:
    rates = Rates({"m": 2, "n": 2}, lambda: 0.0)
    assert [bool(took(rates)) for _ in range(3)] == [False, False, True]
    assert not took(rates, party="q")
    assert not took(rates, method="n")
    assert not any(took(rates, method="unbounded") for _ in range(100))


@pytest.fixture(scope="module", params=["native", "plain"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("rates")
    (directory / "numcheck.toml").write_text(
        "[calls_per_second_max]\nGetRegistration = 0.01\nListHeldPushes = 0.01\nGetOperatorState = 0.01\n"
    )
    with serving_by(request.param, small.fill(directory / "var"), "--config", directory / "numcheck.toml") as one:
        yield one


def test_second_call_is_refused_with_details_and_other_methods_go_on(node: Node) -> None:
    """Of a method that is answered with others at once, of one by itself, and of one that waits."""
    with grpc.insecure_channel(node.address) as channel:
        registrations = RegistrationServiceStub(channel)
        numbering = numbering_pb2_grpc.NumberingServiceStub(channel)
        get = registration_pb2.GetRegistrationRequest(service="shop", user_id="nobody")
        state = numbering_pb2.GetOperatorStateRequest(operator_id=1)
        held = numbering_pb2.ListHeldPushesRequest()
        assert refusal(lambda: registrations.GetRegistration(get, timeout=DEADLINE_S)).reason == "UNKNOWN_REGISTRATION"
        numbering.GetOperatorState(state, timeout=DEADLINE_S)
        numbering.ListHeldPushes(held, timeout=DEADLINE_S)
        for call, request in (
            (registrations.GetRegistration, get),
            (numbering.GetOperatorState, state),
            (numbering.ListHeldPushes, held),
        ):
            refused = refusal(lambda: call(request, timeout=DEADLINE_S))  # noqa: B023  # called at once
            assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALL_RATE_EXCEEDED")
            assert refused.metadata == {"per_second": "0.01"}
            assert 90 < refused.retry_delay_s <= 100
        listed = registration_pb2.ListRegistrationsRequest(service="shop")
        assert all(registrations.ListRegistrations(listed, timeout=DEADLINE_S) is not None for _ in range(3))


@pytest.mark.parametrize(
    "wrong", ["CheckNumbers = 5", "AddCaller = 5", "Registr = 5", "Register = 0", 'Register = "x"']
)
def test_rate_that_could_not_be_held_is_refused(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "numcheck.toml").write_text(f"[calls_per_second_max]\n{wrong}\n")
    with pytest.raises(BadConfiguration, match="calls_per_second_max"):
        load_settings(tmp_path / "numcheck.toml")
