"""Test numbers: the whole story with a fixed code and nothing sent, and never with a number that anybody may have."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from numcheck.config import load_settings
from numcheck.errors import BadConfiguration, BadTestNumber, NumberNotAllotted, ProofNotAccepted
from numcheck.index import open_index
from numcheck.offline.audit import verify_events
from numcheck.plan import read_registry
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import CodeProof
from numcheck.registrations.registration import Outcome
from numcheck.registrations.states import RegistrationState as State
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.serving.registrations import check_test_numbers
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.registrations.by_code import start
from tests.registrations.test_changing import DEFAULT, change
from tests.registrations.test_holders import NUMBER, holds
from tests.registrations.test_service import register_request
from tests.registrations.world import ADDRESS, KEYS, SERVICE, Courier, World, bounds_of, small
from tests.serving.command import run, serving

ONE, TWO = small.UNALLOCATED, small.UNALLOCATED + 1
CODES = {ONE: "042917", TWO: "170000"}
SETTINGS = """
[test_numbers]
"+7 930 100-00-00" = "042917"
"8 (930) 100-00-01" = "170000"
"""
ALLOTTED = small.REGISTRY + f'930;1000000;1000000;1;ПАО "МТС";-;Город Москва;{small.MTS}\n'


@pytest.fixture
def tested(each_world: World) -> Iterator[World]:
    """An installation with two test numbers, on each engine, and no courier."""
    one = with_codes(each_world)
    yield one
    one.close()


def with_codes(world: World, **changes: Any) -> World:
    """The same installation, as another node with these settings opens it."""
    bounds = bounds_of(number_max=2)
    fields = {"methods": DEFAULT, "test_codes": CODES, "courier": None, "bounds": bounds, "seed": world.seed + 1}
    fields |= changes
    return replace(world, **fields)  # type: ignore[arg-type]


def given(world: World, outcome: Outcome, code: str) -> Outcome:
    assert outcome.verification is not None
    done: Outcome = world.completion.complete(SERVICE, outcome.verification.verification_id, CodeProof(code))
    return done


def allot(world: World) -> None:
    """Another node, which does not know of the test numbers, takes a plan that allots the first one."""
    plan = read_registry([("small.csv", ALLOTTED.encode())]).plan
    world.store.import_plan(plan, source="small.csv", now=world.now, force=True)
    rebuild_index(world.store, world.data_dir)
    world.index = open_index(index_directory(world.data_dir))


def test_the_whole_story_is_told_with_fixed_codes_and_nothing_sent(tested: World) -> None:
    """Register, CompleteVerification, Refresh, ChangeNumber; all evidence says that it is synthetic."""
    world = tested
    for code, call in (
        ("042917", lambda: world.register(ONE)),
        ("042917", lambda: world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"})),
        ("170000", lambda: change(world, TWO)),
        ("170000", lambda: start(world)),
    ):
        done = call()
        assert done.verification is not None
        assert (done.verification.method, done.verification.next_code_at_us, done.to_send) == (Method.CODE, 0, None)
        with pytest.raises(ProofNotAccepted):
            given(world, done, "123456")
        verified = given(world, done, code).registration
        assert verified.state is State.VERIFIED
        assert [(one.method, one.synthetic) for one in verified.evidence] == [
            (Method.CODE, True),
            (Method.OPERATOR, True),
        ]
        assert verified.row.confirmed_by is None
    assert world.registrar.get(SERVICE, "u1").record.number == TWO
    verify_events(world.store, KEYS, None)


def test_no_limit_of_codes_and_tries_is_one_of_a_test_number(tested: World) -> None:
    """A messenger's CI runs all day; each user proves the number anew, and is its holder then."""
    for turn in range(15):
        outcome = tested.register(ONE, f"u{turn}")
        with pytest.raises(ProofNotAccepted):
            given(tested, outcome, "123456")
        assert given(tested, outcome, "042917").registration.state is State.VERIFIED
    assert tested.registrar.get(SERVICE, "u13").state is State.REVOKED


def test_a_flash_calls_code_is_the_last_four_digits(world: World) -> None:
    one = with_codes(world, methods="flash_call")
    assert given(one, one.register(ONE), "2917").registration.state is State.VERIFIED
    one.close()


def test_bulk_verification_leaves_test_numbers_and_revokes_what_is_none_any_more(tested: World) -> None:
    given(tested, tested.register(ONE), "042917")
    (progress,) = tested.reverifier.run(SERVICE, due_before=None, place=b"")
    assert (progress.unanswered, tested.registrar.get(SERVICE, "u1").state) == (1, State.VERIFIED)
    other = with_codes(tested, test_codes={})
    with pytest.raises(NumberNotAllotted):
        other.register(ONE, "u2")
    list(other.reverifier.run(SERVICE, due_before=None, place=b""))
    assert other.registrar.get(SERVICE, "u1").state is State.REVOKED
    other.close()


def test_no_test_number_verifies_a_number_that_anybody_has(tested: World) -> None:
    """By no call, once the plan allots it: neither while the settings have it nor, by what was begun, later."""
    begun, registered = tested.register(ONE), tested.register(ONE, "u2")
    allot(tested)
    for call in (
        lambda: given(tested, begun, "042917"),
        lambda: tested.register(ONE, "u3"),
        lambda: start(tested),
        lambda: tested.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"}),
        lambda: change(tested, ONE),
    ):
        with pytest.raises(BadTestNumber):
            call()
    courier = Courier()
    other = with_codes(tested, test_codes={}, courier=courier, methods="code")
    other.index = tested.index
    with pytest.raises(ProofNotAccepted):
        given(other, registered, "042917")
    assert other.registrar.get(SERVICE, "u2").state is State.PENDING
    outcome = other.register(ONE, "u4")
    ((_, code),) = courier.sent
    assert given(other, outcome, code).registration.evidence[0].synthetic is False
    other.close()


def test_real_numbers_are_verified_as_ever(world: World) -> None:
    one = with_codes(world, courier=Courier())
    holds(one, "u1", NUMBER)
    assert [entry.synthetic for entry in one.registrar.get(SERVICE, "u1").evidence] == [False, False]
    one.close()


# --- settings


@pytest.mark.parametrize("number", [small.ACTIVE, small.INACTIVE, small.UNKNOWN, small.NOT_MOBILE, small.FOREIGN])
def test_a_number_that_anybody_may_have_is_none_for_tests(world: World, tmp_path: Path, number: int) -> None:
    """A number of a country without a plan is somebody's, too."""
    file = tmp_path / "numcheck.toml"
    file.write_text(f'[test_numbers]\n"+{number}" = "042917"\n')
    with pytest.raises(BadTestNumber) as refused:
        check_test_numbers(load_settings(file), world.index)
    assert str(number) not in str(refused.value)
    file.write_text(SETTINGS)
    assert load_settings(file).test_codes == CODES
    check_test_numbers(load_settings(file), world.index)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('"what" = "042917"', "number 1 cannot be read"),
        ('"+7 930 100-00-00" = "42917"', "the code of number 1 must have 6 digits"),
        ('"+7 930 100-00-00" = "04291７"', "the code of number 1 must have 6 digits"),
        ('"+7 930 100-00-00" = 42917', "test_numbers"),
        ('"+7 930 100-00-00" = "042917"\n"89301000000" = "042917"', "a number is there twice"),
    ],
)
def test_a_table_that_cannot_be_is_refused_without_a_code(tmp_path: Path, table: str, problem: str) -> None:
    file = tmp_path / "numcheck.toml"
    file.write_text(f"[test_numbers]\n{table}\n")
    with pytest.raises(BadConfiguration, match=problem) as refused:
        load_settings(file)
    assert "2917" not in str(refused.value)


# --- at the public boundary


def test_a_node_with_test_numbers_says_so_and_serves_them(data_dir: Path, tmp_path: Path) -> None:
    """Told at its start, by `status` and by `config show`, which hides the codes; no plan that allots one is taken,
    and a node does not start beside one."""
    file, registry = tmp_path / "numcheck.toml", tmp_path / "plan.csv"
    file.write_text(SETTINGS)
    registry.write_text(ALLOTTED, encoding="utf-8")
    settings = ["--config", str(file), "--data-dir", str(data_dir)]
    with serving(data_dir, "--config", str(file)) as node, grpc.insecure_channel(node.address) as channel:
        node.process.line_with("2 test numbers are verified by a fixed code")
        stub = RegistrationServiceStub(channel)
        made = stub.Register(register_request("ci", ONE))
        proof = pb.CompleteVerificationRequest(
            service="ci", verification_id=made.verification.verification_id, code="042917"
        )
        done = stub.CompleteVerification(proof).registration
        assert (done.state, [one.synthetic for one in done.evidence]) == (pb.REGISTRATION_STATE_VERIFIED, [True, True])
        asked = pb.ChangeNumberRequest(
            service="ci", user_id="u1", number=f"+{TWO}", network_address=done.network_address
        )
        change_id = stub.ChangeNumber(asked).verification.verification_id
        proof = pb.CompleteVerificationRequest(service="ci", verification_id=change_id, code="170000")
        assert stub.CompleteVerification(proof).registration.number == TWO
        refused = run("plan", "import", "--data-dir", data_dir, "--force", registry)
        assert refused.status == 1
        assert "test_numbers" in refused.err + refused.out
        status = run("status", *settings)
        assert "2 test numbers are verified by a fixed code" in status.out
    shown = run("config", "show", *settings, "--json")
    assert "042917" not in shown.out
    assert "(hidden)" in shown.out
    assert "2 test numbers" in run("config", "check", *settings).out
    assert run("plan", "import", *settings, "--force", registry).status == 1
    assert run("plan", "import", "--data-dir", data_dir, "--force", registry).status == 0
    refused = run("serve", *settings, "--listen", "127.0.0.1:0")
    assert refused.status == 1
    assert re.search("one that the numbering plan allots to nobody", refused.err)
