"""Verifying again, in bulk: who stays, who goes, and that it can be done twice."""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numcheck.config import Settings
from numcheck.index import open_index
from numcheck.offline.audit import verify_events, verify_store
from numcheck.offline.rotation import rotate
from numcheck.registrations import reverifier
from numcheck.registrations.states import RegistrationState as State
from numcheck.registrations.withdrawal import Withdrawals
from numcheck.serving.keys import read_keys, write_keys
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.store import Store
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.active.sets import active_set_of
from tests.api.calls import refusal
from tests.registrations.by_code import complete, last_code
from tests.registrations.test_service import SETTINGS, register_request
from tests.registrations.world import ADDRESS, KEYS, SERVICE, START, World, small
from tests.serving.command import serving
from tests.store.test_pushes import delta, port
from tests.store.test_pushes import push as push_to

HELD = [79160000000 + place for place in range(10)]


def push(world: World, numbers: list[int]) -> None:
    """The operator's set is these numbers now, and the index knows it."""
    with Store(world.data_dir) as store:
        (operator,) = [one for one in store.operators() if one.tax_id == small.MTS]
        store.sets.replace_active_set(operator.operator_id, active_set_of(numbers), data_time=START, now=START)
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
    """Counts, states, evidence; and no event where nothing happened."""
    push(held, HELD[:7])
    held.pass_time(hours=1)
    *_, last = held.reverifier.run(SERVICE, due_before=None, place=b"")
    assert (last.checked, last.confirmed, last.revoked, last.unanswered, last.total) == (10, 7, 3, 0, 10)
    assert states(held) == {f"u{place}": State.VERIFIED if place < 7 else State.REVOKED for place in range(10)}
    for place in (0, 9):
        (evidence,) = held.registrar.get(SERVICE, f"u{place}").evidence
        assert evidence.verified_at_us == held.now.timestamp() * 1_000_000
        assert evidence.data_version == 2
    assert held.kinds()[20:] == ["denied"] * 3
    *_, again = held.reverifier.run(SERVICE, due_before=None, place=b"")
    assert (again.checked, again.confirmed, again.revoked) == (7, 7, 0)


def test_a_call_that_is_broken_off_goes_on_where_it_was(held: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From each token, what is left; together, all, once."""
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
    for changes in ({"agreed": lambda _service, _operator: False}, {"methods": "code"}):
        again = World(data_dir, **changes)  # type: ignore[arg-type]
        push(again, HELD[:1])
        *_, last = again.reverifier.run(SERVICE, due_before=None, place=b"")
        assert (last.unanswered, last.revoked) == (10, 0)
        assert [again.registrar.get(SERVICE, f"u{place}") for place in range(10)] == before
        again.close()


def test_a_refresh_that_waits_for_a_confirmation_gets_it(data_dir: Path) -> None:
    """I.6: the new due time is earned by the bulk verification, and told."""
    world = World(data_dir, methods="code")
    assert complete(world, world.register(HELD[0], "u0"), last_code(world))
    world.pass_time(days=100)
    world.registrar.refresh(SERVICE, "u0", ADDRESS, {"a": "b"})
    world.methods = "operator"
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


# --- what one confirmation says of many

NUMBERS = [*HELD[:6], 79000000000]  # of the first operator, and one of the second
YEAR = timedelta(days=365)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reverify"), st.none() | st.integers(0, 3), st.none() | st.integers(0, 6)),
        st.tuples(st.sampled_from(["refresh", "delete", "move", "lose"]), st.integers(0, 6)),
        st.tuples(st.just("agree"), st.integers(0, 1)),
    ),
    min_size=2,
    max_size=9,
)


class Held:
    """Seven users and two operators; what each user's evidence has to be is counted here, by itself."""

    def __init__(self, data_dir: Path) -> None:
        self.agreed = [True, True]
        self.world = World(data_dir, agreed=lambda _service, operator_id: self.agreed[self.ids.index(operator_id)])
        by_tax_id = {operator.tax_id: operator.operator_id for operator in self.world.store.operators()}
        self.ids = [by_tax_id[small.MTS], by_tax_id[small.T2]]
        self.serving = [0] * 6 + [1]
        self.active = list(NUMBERS)
        self.state = [State.VERIFIED] * 7
        self.refreshed: list[datetime] = []
        self.said: list[tuple[datetime, int]] = []
        for place, number in enumerate(NUMBERS):
            self.world.register(number, f"u{place}")
            self.said.append((self.world.now, self.serving[place]))
            self.refreshed.append(self.world.now)
            self.world.pass_time(days=1)
        self.due = [moment + YEAR for moment in self.refreshed]
        self.ids_of_users = [self.world.registrar.get(SERVICE, f"u{place}").row.registration_id for place in range(7)]

    def is_there(self, place: int) -> bool:
        return self.state[place] is not State.DELETED

    def reverify(self, due_days: int | None, behind: int | None) -> None:
        due = None if due_days is None else START + YEAR + timedelta(days=due_days)
        after = b"" if behind is None else self.ids_of_users[behind]
        list(self.world.reverifier.run(SERVICE, due_before=due, place=after))
        for place in range(7):
            asked = (due is None or self.due[place] < due) and (behind is None or place > behind)
            operator = self.serving[place]
            if self.state[place] is State.VERIFIED and asked and self.agreed[operator]:
                self.said[place] = (self.world.now, operator)
                if NUMBERS[place] in self.active:
                    self.due[place] = self.refreshed[place] + YEAR
                else:
                    self.state[place] = State.REVOKED

    def refresh(self, place: int) -> None:
        """Written for another reason, while the operator says nothing: its evidence stays."""
        if self.state[place] is State.VERIFIED and NUMBERS[place] in self.active and self.serving == [0] * 6 + [1]:
            before, self.agreed = self.agreed, [False, False]
            self.world.registrar.refresh(SERVICE, f"u{place}", ADDRESS, {"a": "b"})
            self.agreed, self.refreshed[place] = before, self.world.now

    def delete(self, place: int) -> None:
        if self.is_there(place):
            self.world.registrar.delete(SERVICE, f"u{place}")
            self.state[place] = State.DELETED

    def move(self, place: int) -> None:
        """The number is ported to the second operator, which has it in service."""
        if self.serving[place] == 0:
            self.serving[place] = 1
            port(self.world.store, {self.ids[1]: [NUMBERS[place]]}, at=self.world.now)
            self.supply()

    def lose(self, place: int) -> None:
        if NUMBERS[place] in self.active:
            self.active.remove(NUMBERS[place])
            self.supply()

    def agree(self, operator: int) -> None:
        self.agreed[operator] = not self.agreed[operator]

    def supply(self) -> None:
        store = self.world.store
        for operator, operator_id in enumerate(self.ids):
            has = [one for one, served in zip(NUMBERS, self.serving, strict=True) if served == operator]
            numbers = active_set_of([one for one in has if one in self.active])
            store.sets.replace_active_set(operator_id, numbers, data_time=START, now=START)
        rebuild_index(store, self.world.data_dir)
        self.world.index = open_index(index_directory(self.world.data_dir))

    def check(self) -> None:
        for place in filter(self.is_there, range(7)):
            found = self.world.registrar.get(SERVICE, f"u{place}")
            assert found.state is self.state[place], place
            (evidence,) = found.evidence
            moment, operator = self.said[place]
            assert evidence.verified_at_us == moment.timestamp() * 1_000_000, place
            assert evidence.operator_id == self.ids[operator], place


@given(steps=STEPS, piece_size=st.sampled_from([2, 3, 100]))
@settings(max_examples=20, deadline=None)
def test_everybody_has_the_evidence_of_the_last_answer_whatever_is_done_in_whatever_order(
    small_dir: Path, steps: list[tuple], piece_size: int
) -> None:
    """One row that says it of all, or a row of their own, is no difference; and `events verify` finds nothing."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reverifier, "PIECE_SIZE", piece_size)
        held = Held(shutil.copytree(small_dir, Path(directory) / "var"))
        for name, *args in steps:
            held.world.pass_time(minutes=1)
            getattr(held, name)(*args)
            held.check()
        verify_events(held.world.store, held.world.keys, None)
        held.world.close()


def test_who_is_confirmed_again_costs_no_row_and_no_event_of_theirs(held: World) -> None:
    """However many they are: one confirmation, which the next one takes the place of."""
    before = [held.registrar.get(SERVICE, f"u{place}").row for place in range(10)]
    for _ in range(3):
        held.pass_time(days=1)
        *_, last = held.reverifier.run(SERVICE, due_before=None, place=b"")
        assert last.confirmed == 10
        assert len(held.registrations.confirmations(SERVICE)) == 1
    after = [held.registrar.get(SERVICE, f"u{place}").row for place in range(10)]
    assert [row.mac for row in after] == [row.mac for row in before]
    assert held.kinds() == ["registered", "confirmed"] * 10


def test_who_is_revoked_and_who_is_sealed_anew_keeps_the_evidence_of_a_confirmation(data_dir: Path) -> None:
    world = World(data_dir)
    for place in range(3):
        world.register(HELD[place], f"u{place}")
    world.pass_time(days=1)
    list(world.reverifier.run(SERVICE, due_before=None, place=b""))
    confirmed_us = world.now.timestamp() * 1_000_000
    world.pass_time(days=1)
    (operator,) = [one for one in world.store.operators() if one.tax_id == small.MTS]
    push_to(world.store, delta(operator.operator_id, 1, at=world.now), remove=[HELD[2]])
    assert Withdrawals(world.registrations, world.vault, now=lambda: world.now).follow() == 1
    world.close()
    write_keys(data_dir / "keys.json", KEYS.keyring, KEYS.signing_key)
    rotate(Settings(data_dir=data_dir), world.now)
    again = World(data_dir, keys=read_keys(data_dir / "keys.json"))
    found = [again.registrar.get(SERVICE, f"u{place}") for place in range(3)]
    assert [one.state for one in found] == [State.VERIFIED, State.VERIFIED, State.REVOKED]
    assert [evidence.verified_at_us for one in found for evidence in one.evidence] == [confirmed_us] * 3
    assert again.registrations.confirmations(SERVICE) == []
    again.close()
    verify_store(Settings(data_dir=data_dir), None)
