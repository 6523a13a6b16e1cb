"""Verifying again, in bulk: who stays, who goes, and that it can be done twice."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from numcheck.active import ActiveSet
from numcheck.index import open_index
from numcheck.registrations import reverifier
from numcheck.registrations.policy import Method
from numcheck.registrations.states import RegistrationState as State
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.store import Store
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import refusal
from tests.registrations.by_code import complete, last_code
from tests.registrations.test_service import SETTINGS, register_request
from tests.registrations.world import ADDRESS, SERVICE, START, World, small
from tests.serving.command import serving

HELD = [79160000000 + place for place in range(10)]


def push(world: World, numbers: list[int]) -> None:
    """The operator's set is these numbers now, and the index knows it."""
    with Store(world.data_dir) as store:
        (operator,) = [one for one in store.operators() if one.tax_id == small.MTS]
        store.replace_active_set(operator.operator_id, ActiveSet.from_numbers(numbers), data_time=START, now=START)
        rebuild_index(store, world.data_dir)
    world.index = open_index(index_directory(world.data_dir))


def states(world: World) -> dict[str, State]:
    return {f"u{place}": world.registrar.get(SERVICE, f"u{place}").state for place in range(10)}


@pytest.fixture
def held(each_world: World) -> World:
    """Ten users, VERIFIED by the operator."""
    for place, number in enumerate(HELD):
        each_world.register(number, f"u{place}")
    return each_world


def test_what_the_operator_does_not_hold_any_more_is_revoked_and_the_rest_has_new_evidence(held: World) -> None:
    """Point 5: counts, states, evidence; and no event where nothing happened."""
    push(held, HELD[:7])
    held.pass_time(hours=1)
    *_, last = held.reverifier.run(SERVICE, due_before=None, place=b"")
    assert (last.checked, last.confirmed, last.revoked, last.unanswered, last.total) == (10, 7, 3, 0, 10)
    assert states(held) == {f"u{place}": State.VERIFIED if place < 7 else State.REVOKED for place in range(10)}
    for place in (0, 9):
        evidence = held.registrar.get(SERVICE, f"u{place}").evidence
        assert evidence is not None
        assert evidence.verified_at_us == held.now.timestamp() * 1_000_000
        assert evidence.data_version == 2
    assert held.kinds()[20:] == ["denied"] * 3
    *_, again = held.reverifier.run(SERVICE, due_before=None, place=b"")
    assert (again.checked, again.confirmed, again.revoked) == (7, 7, 0)


def test_a_call_that_is_broken_off_goes_on_where_it_was(held: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point 5: from each token, what is left; together, all, once."""
    monkeypatch.setattr(reverifier, "PIECE_SIZE", 3)
    pieces = list(held.reverifier.run(SERVICE, due_before=None, place=b""))
    assert [one.checked for one in pieces] == [3, 6, 9, 10]
    for done, piece in zip((3, 6, 9), pieces, strict=False):
        assert piece.place is not None
        *_, last = held.reverifier.run(SERVICE, due_before=None, place=piece.place)
        assert (last.checked, last.total, last.place) == (10 - done, 10 - done, None)


def test_only_who_is_due_is_asked_about_when_that_is_wanted(each_world: World) -> None:
    for place, number in enumerate(HELD):
        each_world.register(number, f"u{place}")
        each_world.pass_time(days=1)
    due = START + timedelta(days=365 + 4)
    *_, last = each_world.reverifier.run(SERVICE, due_before=due, place=b"")
    assert (last.checked, last.total) == (4, 4)


def test_without_an_answer_nobody_loses_anything(data_dir: Path) -> None:
    """I.5: no agreement any more, or data too old: they stay as they were."""
    world = World(data_dir)
    for place, number in enumerate(HELD):
        world.register(number, f"u{place}")
    before = [world.registrar.get(SERVICE, f"u{place}") for place in range(10)]
    world.close()
    for changes in ({"agreed": lambda _service, _operator: False}, {"methods": (Method.CODE,)}):
        again = World(data_dir, **changes)  # type: ignore[arg-type]
        push(again, HELD[:1])
        *_, last = again.reverifier.run(SERVICE, due_before=None, place=b"")
        assert (last.unanswered, last.revoked) == (10, 0)
        assert [again.registrar.get(SERVICE, f"u{place}") for place in range(10)] == before
        again.close()


def test_a_refresh_that_waits_for_a_confirmation_gets_it(data_dir: Path) -> None:
    """I.6: the new due time is earned by the bulk verification, and told."""
    world = World(data_dir, methods=(Method.CODE,))
    assert complete(world, world.register(HELD[0], "u0"), last_code(world))
    world.pass_time(days=100)
    world.registrar.refresh(SERVICE, "u0", ADDRESS, {"a": "b"})
    world.methods = (Method.OPERATOR,)
    *_, last = world.reverifier.run(SERVICE, due_before=None, place=b"")
    assert last.confirmed == 1
    due_us = world.registrar.get(SERVICE, "u0").row.due_at_us
    assert due_us == (START + timedelta(days=465)).timestamp() * 1_000_000
    assert world.kinds()[-1] == "confirmed"
    world.close()


@pytest.fixture(scope="module")
def stub(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistrationServiceStub]:
    data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp("bulk") / "var")
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        yield RegistrationServiceStub(channel)


def test_bulk_verification_over_the_api_tells_its_progress(stub: RegistrationServiceStub) -> None:
    for place, number in enumerate(HELD):
        stub.Register(register_request("bulk", number, user_id=f"u{place}"))
    told = list(stub.ReverifyRegistrations(pb.ReverifyRegistrationsRequest(service="bulk")))
    assert [(one.checked_count, one.confirmed_count, one.total_count, one.resume_token) for one in told] == [
        (10, 10, 10, "")
    ]
    nobody = pb.ReverifyRegistrationsRequest(service="nobody")
    assert [one.checked_count for one in stub.ReverifyRegistrations(nobody)] == [0]
    bad = pb.ReverifyRegistrationsRequest(service="bulk", resume_token="xyz")
    assert refusal(lambda: list(stub.ReverifyRegistrations(bad))).violations == [("resume_token", "BAD_REGISTRATION")]
