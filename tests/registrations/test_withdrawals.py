"""Continuous re-verification: numbers that are taken from their operator, and what is registered on them."""

import hmac
import itertools
import shutil
import signal
from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from numcheck.active import PortingsHeader, PushHeader
from numcheck.errors import IndexBehind
from numcheck.index import open_index
from numcheck.plan import read_registry
from numcheck.registrations import withdrawal
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.policy import Method
from numcheck.registrations.sealing import Key
from numcheck.registrations.states import RegistrationState as State
from numcheck.registrations.withdrawal import Withdrawals
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.store import Pushed, RegistrationWork, withdrawals
from numcheck.store.schema import registrations
from numcheck.v1 import numbering_pb2
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.check_pb2 import CheckNumberRequest, ListOperatorsRequest
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from numcheck.v1.numbering_pb2_grpc import NumberingServiceStub
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.registrations.by_code import complete, last_code, start
from tests.registrations.edited import Edited
from tests.registrations.test_service import SETTINGS, register_request
from tests.registrations.world import ADDRESS, SERVICE, START, Courier, World, small
from tests.serving.command import serving

HELD = [79160000000 + place for place in range(10)]  # active numbers of MTS


# --- in the tests' own process, on both engines


def operator_id(world: World, tax_id: str = small.MTS) -> int:
    return next(one.operator_id for one in world.store.operators() if one.tax_id == tax_id)


def push(
    world: World,
    *,
    add: Iterable[int] = (),
    remove: Iterable[int] = (),
    tax_id: str = small.MTS,
    snapshot: bool = False,
) -> Pushed:
    """Push and, if it is held, confirm."""
    operator = operator_id(world, tax_id)
    content = world.store.sets.push_content(operator)
    content.add(array("Q", add))
    if remove:
        content.remove(array("Q", remove))
    head = world.store.sets.head(operator).version
    header = PushHeader(operator, snapshot, head, None, world.now)
    pushed = world.store.sets.push(header, content, base_version=head, token=f"token-{head}", now=world.now)
    return world.store.sets.confirm_push(operator, pushed.token, now=world.now) if pushed.held else pushed


def port(world: World, numbers: Iterable[int], tax_id: str) -> Pushed:
    content = world.store.sets.portings_content()
    content.port(operator_id(world, tax_id), array("Q", numbers))
    head = world.store.sets.portings_head().version
    header = PortingsHeader(False, head, None, world.now, force=True)
    return world.store.sets.push_portings(header, content, base_version=head, now=world.now)


def follow(world: World) -> int:
    return Withdrawals(world.registrations, world.vault, now=lambda: world.now).follow()


def publish(world: World) -> None:
    rebuild_index(world.store, world.data_dir)
    world.index = open_index(index_directory(world.data_dir))


def standing(world: World, users: Iterable[str]) -> dict[str, State]:
    return {user_id: world.registrar.get(SERVICE, user_id).state for user_id in users}


def revoked(world: World, users: Iterable[str]) -> set[str]:
    return {user_id for user_id, state in standing(world, users).items() if state is State.REVOKED}


def withdrawn_users(world: World) -> list[str]:
    """The users that were revoked, in the order of their events."""
    user_of = {world.registrar.get(SERVICE, one).row.registration_id: one for one in USERS}
    return [user_of[event.registration_id] for event in world.store.events().all() if event.kind == "withdrawn"]


@pytest.fixture
def held(each_world: World, small_dir: Path) -> World:
    """Ten users, VERIFIED by the operator; its data is in the world's own database."""
    if each_world.url is not None:
        small.fill_store(each_world.store)
        publish(each_world)
    for place, number in enumerate(HELD):
        each_world.register(number, f"u{place}")
    return each_world


USERS = [f"u{place}" for place in range(10)]


def test_removed_numbers_revoke_what_is_verified_on_them_once(held: World) -> None:
    """Of any service; the others, and a second time, nothing; the event says why and by which revision."""
    held.registrar.register("other", "", held.registrar.get(SERVICE, "u3").record)
    pushed = push(held, remove=[HELD[3], HELD[5], small.INACTIVE])
    assert follow(held) == 3
    assert follow(held) == 0
    assert revoked(held, USERS) == {"u3", "u5"}
    assert held.registrar.get("other", "u3").state is State.REVOKED
    events = [event for event in held.store.events().all() if event.kind == "withdrawn"]
    assert len(events) == 3
    assert {event.details for event in events} == {
        f'{{"cause":"removed","due_at_us":{event.details.split(":")[2].split(",")[0]},"revision":{pushed.revision}}}'
        for event in events
    }


def test_a_withdrawal_takes_nothing_from_what_began_after_it(held: World) -> None:
    """Whether it has been followed by then or not: a proof that was begun after it is right, and stays so."""
    push(held, remove=HELD[:4])
    publish(held)
    held.register(HELD[0], "next")  # the operator's data does not hold it; its holder has a code
    for user_id in ("next", "u1"):
        started = start(held, user_id, method=Method.CODE)
        assert started.registration.state is State.PENDING
        assert complete(held, started, last_code(held))
    held.registrar.refresh(SERVICE, "u2", ADDRESS, {"a": "b"})
    assert follow(held) == 1  # u3: of u1 and u2 it was followed when they acted, and u0's number is proved by the next
    verified = {user_id for user_id, state in standing(held, ["next", *USERS]).items() if state is State.VERIFIED}
    assert verified == {"next", "u1", *USERS[4:]}
    assert sorted(withdrawn_users(held)) == USERS[:4]


def test_a_proof_that_was_begun_before_a_withdrawal_verifies_nobody_after_it(held: World) -> None:
    """The code may lie with whoever had the number before, whether the withdrawal has been followed or not."""
    begun = {user_id: (start(held, user_id, method=Method.CODE), last_code(held)) for user_id in USERS[:2]}
    push(held, remove=HELD[:2])
    assert not complete(held, *begun["u0"])
    assert follow(held) == 1
    assert not complete(held, *begun["u1"])
    assert revoked(held, USERS) == {"u0", "u1"}


@pytest.mark.parametrize("census", [True, False], ids=["all registrations read", "number by number"])
def test_a_bulk_change_waits_for_what_is_withdrawn_after_it(
    held: World, monkeypatch: pytest.MonkeyPatch, census: bool
) -> None:
    """What is ordinary is done first, also if it comes while the bulk change is under way."""
    monkeypatch.setattr(withdrawals, "BULK_NUMBERS_MIN", 8)
    if not census:
        monkeypatch.setattr("numcheck.registrations.census.REGISTRATIONS_MAX", 0)
    monkeypatch.setattr(withdrawal, "PIECE_NUMBERS", 1)
    monkeypatch.setattr(withdrawal, "REVOKED_TOGETHER", {False: 1, True: 1})
    port(held, HELD[:8], small.T2)
    push(held, remove=[HELD[8]])
    late = [HELD[9]]

    def push_late(_services: set[str]) -> None:
        if held.kinds()[-1] == "withdrawn" and late and len(withdrawn_users(held)) == 3:
            push(held, remove=[late.pop()])

    held.registrations.subscribe(push_late)
    assert follow(held) == len(HELD)
    assert withdrawn_users(held) == ["u8", "u0", "u1", "u9", *USERS[2:8]]


def test_what_is_withdrawn_while_registrations_are_read_for_a_bulk_change_is_revoked_first(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read them takes a minute for ten million: nobody's removal waits for the end of it."""
    monkeypatch.setattr(withdrawals, "BULK_NUMBERS_MIN", 8)
    monkeypatch.setattr("numcheck.registrations.census.PAGE_SIZE", 1)
    port(held, HELD[:8], small.T2)
    late, pages = [HELD[9]], itertools.count(1)

    def every_number(*args: Any, read: Callable[..., Any] = held.registrations.every_number, **which: Any) -> Any:
        if next(pages) == 3:
            push(held, remove=[late.pop()])
        return read(*args, **which)

    monkeypatch.setattr(held.registrations, "every_number", every_number)
    assert follow(held) == 9
    first, *others = withdrawn_users(held)
    assert first == "u9"
    assert sorted(others) == USERS[:8]


@pytest.mark.parametrize("bulk_numbers_min", [1, 100], ids=["bulk", "ordinary"])
def test_a_change_revokes_every_user_of_a_number_and_nobody_twice(
    held: World, monkeypatch: pytest.MonkeyPatch, bulk_numbers_min: int
) -> None:
    """However many are registered on one, at whatever piece it fails, and whoever registers after the change."""
    monkeypatch.setattr(withdrawals, "BULK_NUMBERS_MIN", bulk_numbers_min)
    monkeypatch.setattr(withdrawal, "REVOKED_TOGETHER", {False: 1, True: 1})
    for service in ("a", "b"):
        held.registrar.register(service, "", held.registrar.get(SERVICE, "u0").record)
    failures = iter((False, True, False, True))

    def done(work: RegistrationWork, *args: object, whole: Callable[..., bool] = RegistrationWork.set_withdrawn_done):
        first = whole(work, *args)
        if next(failures, False):
            raise OSError("the machine is gone")
        return first

    monkeypatch.setattr(RegistrationWork, "set_withdrawn_done", done)
    port(held, HELD[:5], small.T2)
    publish(held)
    held.register(HELD[1], "next")
    assert complete(held, start(held, "next", method=Method.CODE), last_code(held))
    for _ in range(2):
        with pytest.raises(OSError, match="the machine is gone"):
            follow(held)
    follow(held)
    events = [event for event in held.store.events().all() if event.kind == "withdrawn"]
    assert len({event.registration_id for event in events}) == len(events) == 7
    assert revoked(held, USERS) == set(USERS[:5])
    assert held.registrar.get(SERVICE, "next").state is State.VERIFIED
    assert follow(held) == 0


def test_time_does_nothing_to_who_was_revoked_and_goes_on_for_the_others(held: World) -> None:
    push(held, remove=HELD[:3])
    assert follow(held) == 3
    calendar, year = Calendar(held.registrations), timedelta(days=365)
    assert calendar.pass_time(START + year) == len(HELD) - 3
    assert held.kinds()[-(len(HELD) - 3) :] == ["overdue"] * (len(HELD) - 3)
    before = held.kinds()
    assert calendar.pass_time(START + 2 * year) == 0
    assert held.kinds() == before
    assert revoked(held, [f"u{place}" for place in range(len(HELD))]) == {"u0", "u1", "u2"}


def test_a_registration_that_somebody_changed_is_left_alone_and_the_others_are_revoked(held: World) -> None:
    """R13: what nobody wrote does not become right by being revoked with others, and keeps none of them."""
    changed = held.registrar.get(SERVICE, "u3").row
    edited = Edited(held.data_dir, held.url)
    edited.set(registrations, changed._asdict(), due_at_us=changed.due_at_us + 1)
    edited.close()
    push(held, remove=HELD[:5])
    with capture_logs() as lines:
        assert follow(held) == 4
    named = [line["registration_id"] for line in lines if line["event"] == "a registration is not what was written"]
    assert named == [changed.registration_id.hex()]
    assert revoked(held, set(USERS) - {"u3"}) == {"u0", "u1", "u2", "u4"}
    withdrawn = {event.registration_id for event in held.store.events().all() if event.kind == "withdrawn"}
    assert changed.registration_id not in withdrawn


def test_a_snapshot_revokes_what_it_does_not_hold(held: World) -> None:
    push(held, add=HELD[:8], snapshot=True)
    follow(held)
    assert revoked(held, USERS) == {"u8", "u9"}


def test_a_number_that_is_back_counts_as_taken(held: World) -> None:
    """Removed by one push and added by the next, before anybody looked: it may be somebody else's now."""
    push(held, remove=[HELD[1]])
    push(held, add=[HELD[1]])
    follow(held)
    assert revoked(held, USERS) == {"u1"}


def test_a_recycled_number_stays_in_the_set_and_revokes(held: World) -> None:
    """A delta that both removes and adds a number says that it was recycled between two pushes."""
    before = held.store.sets.active_set(operator_id(held))
    counts = push(held, add=[HELD[2], HELD[4]], remove=[HELD[2]]).counts
    assert (counts.recycled, counts.removed, counts.added, counts.already_added) == (1, 0, 0, 1)
    assert held.store.sets.active_set(operator_id(held)).digest() == before.digest()
    follow(held)
    assert revoked(held, USERS) == {"u2"}
    publish(held)
    assert held.registrar.verify(SERVICE, "u2", method=None, network_address=None).registration.state is State.VERIFIED


def test_recycling_much_waits_for_a_confirmation_and_revokes_nothing_before(held: World) -> None:
    """R14: what is held counts for nothing; confirmed, it revokes what it named when it was held."""
    operator = operator_id(held)
    content = held.store.sets.push_content(operator)
    content.add(array("Q", HELD[:5]))
    content.remove(array("Q", HELD[:5]))
    head = held.store.sets.head(operator).version
    header = PushHeader(operator, False, head, None, START)
    pushed = held.store.sets.push(header, content, base_version=head, token="token", now=START)
    assert (pushed.held, pushed.counts.recycled) == (True, 5)
    assert (follow(held), revoked(held, USERS)) == (0, set())
    held.store.sets.confirm_push(operator, "token", now=START)
    follow(held)
    assert revoked(held, USERS) == set(USERS[:5])


def test_portings_revoke_and_the_donors_later_removal_does_not(held: World) -> None:
    """A number that went to another operator is taken by the porting; its donor has no more say in it."""
    port(held, [HELD[6]], small.T2)
    follow(held)
    assert revoked(held, USERS) == {"u6"}
    push(held, add=[HELD[6]], tax_id=small.T2)
    publish(held)
    held.registrar.verify(SERVICE, "u6", method=None, network_address=None)
    push(held, remove=[HELD[6], HELD[7]])
    follow(held)
    assert revoked(held, USERS) == {"u7"}
    assert held.registrar.get(SERVICE, "u6").state is State.VERIFIED


def test_a_plan_that_allots_numbers_to_another_revokes_but_what_is_ported(held: World) -> None:
    """The range's holder changes for all of it: a number that a third operator serves is served by it still."""
    port(held, [HELD[0]], small.VIMPELCOM)
    follow(held)
    push(held, add=[HELD[0]], tax_id=small.VIMPELCOM)
    publish(held)
    held.registrar.verify(SERVICE, "u0", method=None, network_address=None)
    changed = small.REGISTRY.replace(
        next(line for line in small.REGISTRY.splitlines() if line.startswith("916;")),
        f'916;0000000;0000004;5;ООО "Т2 Мобайл";г. Москва;Город Москва;{small.T2}\n'
        f'916;0000005;9999999;9999995;ПАО "МТС";г. Москва;Город Москва;{small.MTS}',
    )
    plan = read_registry([("changed.csv", changed.encode())]).plan
    held.store.import_plan(plan, source="changed.csv", now=held.now)
    follow(held)
    assert revoked(held, USERS) == {"u1", "u2", "u3", "u4"}
    gone = changed.replace("916;0000005;9999999;9999995", "916;0000010;9999999;9999990")
    held.store.import_plan(read_registry([("gone.csv", gone.encode())]).plan, source="gone.csv", now=held.now)
    follow(held)
    assert revoked(held, USERS) == set(USERS[1:])


def test_a_verification_under_way_on_a_taken_number_ends(each_world: World) -> None:
    """The code lies with whoever had the number: it verifies nobody after that."""
    world = each_world
    if world.url is not None:
        small.fill_store(world.store)
    world.methods = "code"
    outcome = world.register(HELD[0], "u0")
    push(world, remove=[HELD[0]])
    follow(world)
    assert not complete(world, outcome, last_code(world))
    assert world.registrar.get(SERVICE, "u0").state is State.PENDING


def test_nothing_is_done_twice_and_nothing_is_missed_when_pieces_fail(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash anywhere in a piece leaves it undone, whole; whoever comes then does it once."""
    monkeypatch.setattr(withdrawal, "PIECE_NUMBERS", 3)
    monkeypatch.setattr(withdrawal, "REVOKED_TOGETHER", {False: 3, True: 3})
    push(held, remove=HELD)
    failures = iter((False, True, False, True, True))

    def done(work: RegistrationWork, *args: object, whole: Callable[..., bool] = RegistrationWork.set_withdrawn_done):
        first = whole(work, *args)
        if next(failures, False):
            raise OSError("the machine is gone")
        return first

    monkeypatch.setattr(RegistrationWork, "set_withdrawn_done", done)
    crashes = 0
    while held.registrations.are_withdrawals_waiting():
        try:
            follow(held)
        except OSError:
            crashes += 1
    assert crashes == 3
    assert revoked(held, USERS) == set(USERS)
    assert held.kinds().count("withdrawn") == 10
    held.store.events()


def test_a_user_cannot_be_verified_by_data_that_is_older_than_what_took_his_number(held: World) -> None:
    """The index was looked at before the push, and the registration is written after what revokes has passed by."""
    push(held, remove=[HELD[0]])
    follow(held)
    with pytest.raises(IndexBehind):
        held.register(HELD[0], "late")
    with pytest.raises(IndexBehind):
        held.registrar.verify(SERVICE, "u0", method=Method.OPERATOR, network_address=None)
    assert held.register(HELD[1], "another").registration.state is State.VERIFIED
    publish(held)
    assert held.register(HELD[0], "late").registration.state is not State.VERIFIED


def test_what_took_a_number_is_known_while_it_may_matter_and_forgotten_then(held: World) -> None:
    """An index that is older than what is forgotten is too old for any number."""
    pushed = push(held, remove=[HELD[0]])
    older = pushed.revision - 1

    def since(number: int, revision: int) -> int:
        return held.registrations.write(lambda work: work.withdrawn_since(number, revision))

    def forget() -> None:
        held.registrations.drop_withdrawn(before_us=2**60, at_us=0)

    forget()  # it is not done: it stays
    assert (since(HELD[0], older), since(HELD[1], older), since(HELD[0], pushed.revision)) == (pushed.revision, 0, 0)
    assert follow(held) == 1
    forget()
    another = push(held, remove=[HELD[5]]).revision
    assert (since(HELD[1], older), since(HELD[1], pushed.revision)) == (pushed.revision, 0)
    assert since(HELD[5], pushed.revision) == another


def test_tags_of_many_numbers_are_those_of_each(world: World) -> None:
    numbers = [*HELD, 1, 10**15 - 1]
    assert world.vault.tags_of_numbers(array("Q", numbers)) == [
        [world.vault.number_tags(number)[0] for number in numbers]
    ]
    long = Key(2, b"x" * 32)
    assert long.tags("number", [b"a" * 200]) == [long.tag("number", b"a" * 200)]
    tagging = hmac.digest(b"x" * 32, b"numcheck tag 1", "sha256")
    assert long.tag("number", b"a" * 200) == hmac.digest(tagging, b"number\0" + b"a" * 200, "sha256")[:16]


Step = tuple[str, str, set[int], set[int]]
OPERATORS = (small.MTS, small.T2)
SOME = st.sets(st.integers(0, 9), max_size=4)
STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "port", "verify"]), st.sampled_from(OPERATORS), SOME, SOME), max_size=12
)


@pytest.fixture
def scratch(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], World]:
    def make() -> World:
        data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp("scratch") / "var")
        return World(data_dir, methods="code", courier=Courier())

    return make


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exactly_those_are_revoked_whose_number_was_taken(scratch: Callable[[], World], steps: list[Step]) -> None:
    """Beside a model: who serves each number, what each operator holds, and who was taken since he was verified."""
    world = scratch()
    serving_operator = dict.fromkeys(range(10), small.MTS)
    holds = {small.MTS: set(range(10)), small.T2: set()}
    verified = set()
    for place in range(10):
        assert complete(world, world.register(HELD[place], f"u{place}"), last_code(world))
        verified.add(place)
    for what, operator, some, others in steps:
        if what == "push":
            own = {place for place in range(10) if serving_operator[place] == operator}
            add, remove = some & own, others & (own | holds[operator])
            push(world, add=[HELD[one] for one in add], remove=[HELD[one] for one in remove], tax_id=operator)
            taken = ((remove & holds[operator]) - add | (remove & add)) & own
            holds[operator] = holds[operator] - remove | add
        elif what == "port":
            port(world, [HELD[one] for one in some], operator)
            taken = {place for place in some if serving_operator[place] != operator}
            serving_operator.update(dict.fromkeys(some, operator))
        else:
            taken = set()
            world.pass_time(days=2)
            for place in some - verified:
                outcome = world.registrar.verify(SERVICE, f"u{place}", method=Method.CODE, network_address=None)
                assert complete(world, outcome, last_code(world))
                verified.add(place)
        follow(world)
        verified -= taken
        assert {place for place in range(10) if f"u{place}" not in revoked(world, USERS)} == verified
    world.close()


# --- at the public boundary


@pytest.fixture(scope="module")
def data_dir_of_node(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(small_dir, tmp_path_factory.mktemp("withdrawn") / "var")


class Client:
    """The callers of a node: messenger and operator in one."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.registrations, self.numbering = RegistrationServiceStub(channel), NumberingServiceStub(channel)
        self.checks = CheckServiceStub(channel)

    def delta(self, *, add: Iterable[int] = (), remove: Iterable[int] = ()) -> numbering_pb2.PushActiveNumbersResponse:
        operators = self.checks.ListOperators(ListOperatorsRequest()).operators
        (mts,) = [one for one in operators if one.tax_id == small.MTS]
        header = numbering_pb2.PushHeader(
            operator_id=mts.operator_id, mode=numbering_pb2.PUSH_MODE_DELTA, base_version=mts.data_version
        )
        header.data_time.GetCurrentTime()
        head = self.numbering.GetOperatorState(numbering_pb2.GetOperatorStateRequest(operator_id=mts.operator_id))
        header.base_version = head.version
        piece = numbering_pb2.PushActiveNumbersRequest(header=header, add=add, remove=remove)
        made: numbering_pb2.PushActiveNumbersResponse = self.numbering.PushActiveNumbers(iter([piece]), timeout=30)
        if made.confirmation_token:
            confirm = numbering_pb2.ConfirmPushRequest(
                operator_id=mts.operator_id, confirmation_token=made.confirmation_token
            )
            made = self.numbering.ConfirmPush(confirm, timeout=30).push
        return made

    def watch(self, service: str, token: str = "") -> Iterator[pb.WatchRegistrationsResponse]:
        call = self.registrations.WatchRegistrations(
            pb.WatchRegistrationsRequest(service=service, resume_token=token), timeout=30
        )
        return iter(call)


@pytest.fixture
def client(data_dir_of_node: Path) -> Iterator[Client]:
    with serving(data_dir_of_node, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        yield Client(channel)


def withdrawn(watch: Iterator[pb.WatchRegistrationsResponse], count: int) -> list[str]:
    """The users of the next withdrawals that a watch tells."""
    users: list[str] = []
    while len(users) < count:
        event = next(watch).event
        if event.kind == pb.REGISTRATION_EVENT_KIND_WITHDRAWN:
            assert event.state == pb.REGISTRATION_STATE_REVOKED
            assert event.cause in {"removed", "recycled"}
            assert event.index_version
            users.append(event.user_id)
    return users


def test_a_push_is_announced_to_who_watches_and_after_a_kill_to_who_resumes(
    data_dir_of_node: Path, client: Client
) -> None:
    """The watch tells the revocations; what was taken while no node ran is told by the next one, once."""
    for place in range(4):
        client.registrations.Register(register_request("watched", HELD[place], user_id=f"u{place}"))
    watch = client.watch("watched")
    token = next(watch).resume_token
    client.delta(remove=HELD[:2])
    assert sorted(withdrawn(watch, 2)) == ["u0", "u1"]
    made = client.delta(add=[HELD[2]], remove=[HELD[2]])
    assert made.recycled_count == 1
    assert withdrawn(watch, 1) == ["u2"]
    *_, last = itertools.islice(client.watch("watched", token), 4)  # the head, and three events
    assert (last.event.cause, last.event.index_version) == ("recycled", made.index_version)
    answer = client.checks.CheckNumber(CheckNumberRequest(number=f"+{HELD[2]}"))
    assert answer.serving_operator.tax_id == small.MTS
    again = client.watch("watched", token)
    assert sorted(withdrawn(again, 3)) == ["u0", "u1", "u2"]


def test_a_node_that_was_killed_after_a_push_revokes_when_it_comes_back(small_dir: Path, tmp_path: Path) -> None:
    """The push is in the store, acknowledged, and the node dies before it has looked at a single registration."""
    data_dir = shutil.copytree(small_dir, tmp_path / "var")
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        Client(channel).registrations.Register(register_request("later", HELD[0], user_id="u0"))
        token = next(Client(channel).watch("later")).resume_token
        node.process.signal(signal.SIGKILL)
    world = World(data_dir)  # the same store without anybody who follows
    push(world, remove=[HELD[0]])
    world.close()
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        assert withdrawn(Client(channel).watch("later", token), 1) == ["u0"]
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        client = Client(channel)
        assert withdrawn(client.watch("later", token), 1) == ["u0"]
        client.registrations.DeleteRegistration(pb.DeleteRegistrationRequest(service="later", user_id="u0"))
        kinds = [one.event.kind for one in _until_deleted(client.watch("later", token))]
        assert kinds.count(pb.REGISTRATION_EVENT_KIND_WITHDRAWN) == 1


def _until_deleted(watch: Iterator[pb.WatchRegistrationsResponse]) -> Iterator[pb.WatchRegistrationsResponse]:
    for one in watch:
        yield one
        if one.event.kind == pb.REGISTRATION_EVENT_KIND_DELETED:
            return
