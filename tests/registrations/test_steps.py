"""The table of verification steps, held to the API and the pages; and the step that a phone call proves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from numcheck.errors import MethodNotAllowed
from numcheck.registrations.policy import Method
from numcheck.registrations.states import RegistrationState as State
from numcheck.v1.registration_pb2 import VerificationMethod
from tests.registrations.by_code import complete, last_code, start
from tests.registrations.world import SERVICE, Courier, World, small

PAGE = Path(__file__).parents[2] / "docs" / "messengers.md"


def test_each_step_has_the_name_and_number_of_the_api() -> None:
    """And the API has no other."""
    steps = {f"VERIFICATION_METHOD_{step.name}": step.wire_number for step in Method}
    assert {"VERIFICATION_METHOD_UNSPECIFIED": 0, **steps} == dict(VerificationMethod.items())


def test_page_for_messengers_describes_each_step() -> None:
    table = PAGE.read_text().partition("## How a number is verified")[2].partition("\n\nA verification")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Method)


@dataclass
class CallingCourier(Courier):
    """Calls, and sends no message."""

    channels = frozenset({"flash_call"})


@pytest.fixture
def world(data_dir: Path) -> Iterator[World]:
    one = World(data_dir, methods="flash_call,operator", courier=CallingCourier())
    yield one
    one.close()


def test_flash_call_verifies_by_the_last_four_digits_of_who_called(world: World) -> None:
    """II.2: like any code it has three tries; a text with another number of digits is none of them."""
    outcome = world.register(small.ACTIVE)
    digits = last_code(world)
    assert (len(digits), outcome.registration.state, outcome.problem) == (4, State.PENDING, "")
    for wrong in (f"{digits}00", f"00{digits}", f"{(int(digits) + 1) % 10_000:04}", f"{(int(digits) + 2) % 10_000:04}"):
        assert not complete(world, outcome, wrong)
    assert complete(world, outcome, f"… {digits[:2]} {digits[2:]}")
    verified = world.registrar.get(SERVICE, "u1")
    assert verified.state is State.VERIFIED
    assert [one.method for one in verified.evidence] == [Method.FLASH_CALL]


def test_flash_call_may_be_tried_three_times(world: World) -> None:
    outcome = world.register(small.ACTIVE)
    digits = last_code(world)
    for _ in range(3):
        assert not complete(world, outcome, f"{(int(digits) + 1) % 10_000:04}")
    assert not complete(world, outcome, digits)


def test_flash_call_that_no_gateway_makes_is_not_replaced_by_the_operators_word(data_dir: Path) -> None:
    """Whoever types a stranger's active number must not be VERIFIED for it."""
    world = World(data_dir, methods="flash_call,operator")
    outcome = world.register(small.ACTIVE)
    assert (outcome.registration.state, outcome.problem) == (State.PENDING, "METHOD_NOT_ALLOWED")
    with pytest.raises(MethodNotAllowed):
        start(world, method=Method.FLASH_CALL)
    world.close()
