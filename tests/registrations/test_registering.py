"""Registering, reading and erasing, by the rules: whom is recorded, what of him, once."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from numcheck.config import Settings
from numcheck.errors import (
    MethodNotAllowed,
    NumberNotAllotted,
    NumberNotMobile,
    RegistrationExists,
    StoreDamaged,
    UnknownRegistration,
)
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import InboundProof
from numcheck.registrations.record import NetworkAddress
from numcheck.registrations.registrar import Filters
from numcheck.registrations.registration import VerificationState
from numcheck.registrations.states import RegistrationState as State
from numcheck.registrations.ways import Way
from numcheck.status import NumberStatus
from numcheck.store import Needs, PageBounds, RegistrationWork, Selection
from tests.registrations.by_code import complete, last_code, record_of, start
from tests.registrations.world import ADDRESS, DATA, SERVICE, Courier, World, recorded, small


def test_a_user_is_recorded_with_identifier_address_and_data(world: World) -> None:
    """I.2b, I.3a, I.4: everything that was given is read back, exactly, and from the store."""
    made = world.register(small.ACTIVE).registration
    read = world.registrar.get(SERVICE, "u1")
    assert recorded(read) == recorded(made)
    assert (read.record.number, read.record.identifier) == (small.ACTIVE, {"login": "ivan"})
    assert (read.record.network_address, read.record.registration_data) == (ADDRESS, DATA)


def test_the_operators_data_confirms_a_number_and_is_kept_as_evidence(world: World) -> None:
    """I.3b: operator, data version, data time, index version and answer."""
    outcome = world.register(small.ACTIVE)
    (evidence,) = outcome.registration.evidence
    assert outcome.registration.state is State.VERIFIED
    operator = world.index.facts(small.ACTIVE).serving_operator
    assert operator is not None
    assert (evidence.method, evidence.operator_id) == (Method.OPERATOR, operator.operator_id)
    assert evidence.data_time_us == small.DATA_TIME.timestamp() * 1_000_000
    assert (evidence.data_version, evidence.answer) == (1, NumberStatus.ACTIVE)
    assert evidence.index_version == world.index.index_version
    assert world.kinds() == ["registered", "confirmed"]


def test_a_number_that_its_operator_does_not_hold_is_rejected(world: World) -> None:
    """I.3b: a fresh no is an answer, and no code is sent."""
    outcome = world.register(small.INACTIVE)
    assert outcome.registration.state is State.REJECTED
    assert world.courier is not None
    assert world.courier.sent == []
    assert world.kinds() == ["registered", "denied"]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (small.NOT_MOBILE, NumberNotMobile),
        (small.NOT_MOBILE_EITHER, NumberNotMobile),
        (small.UNALLOCATED, NumberNotAllotted),
        (small.FOREIGN, NumberNotAllotted),
        (small.TOO_LONG, NumberNotAllotted),
    ],
)
def test_only_a_number_of_a_mobile_operator_is_taken(world: World, number: int, error: type[Exception]) -> None:
    """I.1: nothing is recorded of any other."""
    with pytest.raises(error):
        world.register(number)
    assert world.kinds() == []
    with pytest.raises(UnknownRegistration):
        world.registrar.get(SERVICE, "u1")


def test_a_repeated_request_gets_the_registration_that_it_made(world: World) -> None:
    """I.2a: whatever happened since; another request for the user, or the same name for another one, is refused."""
    made = world.register(small.ACTIVE, request_id="r1").registration
    world.pass_time(days=1)
    assert recorded(world.register(small.ACTIVE, request_id="r1").registration) == recorded(made)
    for other in (
        {"request_id": "r2"},
        {"request_id": ""},
        {"request_id": "r1", "registration_data": {"name": "Петров"}},
    ):
        with pytest.raises(RegistrationExists):
            world.register(small.ACTIVE, **other)  # type: ignore[arg-type]
    assert world.kinds() == ["registered", "confirmed"]


def test_a_repeated_request_gets_the_verification_that_waits(data_dir: Path) -> None:
    """A lost answer loses nothing: the repetition has what takes the code that was sent, and no other is sent."""
    world = World(data_dir, methods="code")
    first = world.register(small.UNKNOWN, request_id="r1")
    code = last_code(world)
    again = world.register(small.UNKNOWN, request_id="r1")
    assert first.verification is not None
    assert again.verification == first.verification
    assert world.courier is not None
    assert len(world.courier.sent) == 1
    world.pass_time(seconds=300)
    over = world.register(small.UNKNOWN, request_id="r1").verification
    assert over is not None
    assert over.state == VerificationState.ENDED
    world.pass_time(seconds=-1)
    assert complete(world, again, code)
    done = world.register(small.UNKNOWN, request_id="r1").verification
    assert done is not None
    assert (done.verification_id, done.state) == (first.verification.verification_id, VerificationState.CONFIRMED)
    world.close()


def test_a_repeated_request_gets_the_word_that_a_message_has_to_hold(data_dir: Path) -> None:
    """Also from a process that began since: the word is made from the verification's id, under the key."""
    world = World(data_dir, methods="inbound")
    first = world.register(small.UNKNOWN, request_id="r1").verification
    other = world.register(small.UNKNOWN + 1, "u2").verification
    world.close()
    world = World(data_dir, methods="inbound", seed=8)
    again = world.register(small.UNKNOWN, request_id="r1").verification
    assert first is not None
    assert other is not None
    assert again == first
    assert len(first.word) == 6
    assert other.word != first.word
    done = world.completion.complete(SERVICE, first.verification_id, InboundProof(small.UNKNOWN, first.word, world.now))
    assert done.registration.state is State.VERIFIED
    ended = world.register(small.UNKNOWN, request_id="r1").verification
    assert ended is not None
    assert (ended.state, ended.word) == (VerificationState.CONFIRMED, "")
    world.close()


def test_a_repeated_request_gets_the_operators_answer_again(world: World) -> None:
    """Whether it was yes or no, and though the number is in no plan any more."""
    for number, user_id in ((small.ACTIVE, "u1"), (small.INACTIVE, "u2")):
        first = world.register(number, user_id, request_id="r1")
        assert first.verification is not None
        again = world.register(number, user_id, request_id="r1")
        assert (recorded(again.registration), again.verification) == (recorded(first.registration), first.verification)
    assert world.kinds() == ["registered", "confirmed", "registered", "denied"]


def test_one_of_many_simultaneous_registrations_of_a_user_is_made(each_world: World) -> None:
    """I.2a: 16 threads, one registration; the retries of one request all get it, others are refused."""
    world = each_world
    results: list[object] = []
    barrier = threading.Barrier(16)

    def register(request_id: str) -> None:
        barrier.wait()
        try:
            results.append(world.register(small.ACTIVE, request_id=request_id).registration.row.registration_id)
        except RegistrationExists:
            results.append(None)

    threads = [threading.Thread(target=register, args=(f"r{place % 2}",)) for place in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [one for one in results if one is not None]
    assert len(made) == 8
    assert len(set(made)) == 1
    assert world.kinds() == ["registered", "confirmed"]


def test_the_same_user_id_of_another_service_is_another_user(world: World) -> None:
    """I.2b: unique in its service; one service's reads never show another's users."""
    mine = world.register(small.ACTIVE).registration
    record = mine.record._replace(number=small.SHARED_FIRST_OF_MTS)
    other = world.registrar.register("other", "", record).registration
    assert recorded(world.registrar.get(SERVICE, "u1")) == recorded(mine)
    assert recorded(world.registrar.get("other", "u1")) == recorded(other)
    page = world.registrar.page("other", Filters(), size=10, place=None)
    assert [*map(recorded, page.registrations)] == [recorded(other)]


def test_without_an_agreement_the_operators_data_says_nothing(data_dir) -> None:
    """I.5: the next method is tried, and no evidence tells the data's version."""
    world = World(data_dir, agreed=lambda _service, _operator_id: False)
    outcome = world.register(small.ACTIVE)
    assert outcome.registration.state is State.PENDING
    assert outcome.verification is not None
    assert outcome.verification.method is Method.CODE
    assert outcome.registration.evidence == ()
    world.close()


def test_data_older_than_the_policy_allows_says_nothing(data_dir) -> None:
    """I.3b: up to the bound it is an answer, a microsecond later it is none."""
    age = timedelta(days=30)
    world = World(data_dir, policy={"data_age_max": age}, now=small.DATA_TIME + age)
    assert world.register(small.ACTIVE).registration.state is State.VERIFIED
    world.pass_time(microseconds=1)
    assert world.register(small.ACTIVE + 0, "u2").registration.state is State.PENDING
    world.close()


def test_nothing_is_under_way_where_no_method_can_be_tried(data_dir) -> None:
    """A node that delivers no codes: the registration is recorded, waits, and says why."""
    world = World(data_dir, courier=None)
    outcome = world.register(small.UNKNOWN)
    told = outcome.registration.state, outcome.verification, outcome.problem
    assert told == (State.PENDING, None, "METHOD_NOT_ALLOWED")
    world.close()


@pytest.mark.parametrize(("courier", "channel"), [(None, "sms"), (Courier(), "call")])
def test_an_operators_word_does_not_stand_in_for_a_code_that_cannot_be_sent(data_dir, courier, channel) -> None:
    """E.1: by the default policy nobody is VERIFIED who only typed an active number, whatever channel they ask for."""
    methods = Settings().verification_methods
    world = World(data_dir, courier=courier, methods=methods)
    outcome = world.registrar.register(SERVICE, "", record_of("u1", small.ACTIVE), way=Way(channel))
    told = outcome.registration.state, outcome.verification, outcome.problem
    assert told == (State.PENDING, None, "METHOD_NOT_ALLOWED")
    with pytest.raises(MethodNotAllowed):
        start(world, way=Way(channel))
    world.close()


def test_erasing_a_user_leaves_no_trace_of_him_but_the_chain(each_world: World) -> None:
    """I.4 ends with the user: afterwards he is unknown, is in no list, and may register anew as somebody else."""
    world = each_world
    first = world.register(small.ACTIVE, request_id="r1").registration
    world.registrar.delete(SERVICE, "u1")
    with pytest.raises(UnknownRegistration):
        world.registrar.get(SERVICE, "u1")
    with pytest.raises(UnknownRegistration):
        world.registrar.delete(SERVICE, "u1")
    assert world.registrar.page(SERVICE, Filters(), size=10, place=None).registrations == []
    assert world.kinds() == ["registered", "confirmed", "deleted"]
    again = world.register(small.ACTIVE, request_id="r1").registration
    assert again.row.registration_id != first.row.registration_id


def test_pages_have_every_registration_once_in_order(each_world: World) -> None:
    """Whatever the size of a page, and with each filter."""
    world = each_world
    for place in range(23):
        world.register(79160000000 if place % 3 else small.INACTIVE, f"u{place}")
        world.pass_time(seconds=1)

    def listed(size: int, filters: Filters) -> list[str]:
        users, page_place = [], None
        while True:
            page = world.registrar.page(SERVICE, filters, size=size, place=page_place)
            assert len(page.registrations) <= size
            users += [one.record.user_id for one in page.registrations]
            page_place = page.next_place
            if page_place is None:
                return users

    everybody = [f"u{place}" for place in range(23)]
    rejected = [f"u{place}" for place in range(0, 23, 3)]
    for size in (1, 2, 7, 22, 23, 24, 1_000):
        assert listed(size, Filters()) == everybody
        assert listed(size, Filters(states=[State.REJECTED])) == rejected
        assert listed(size, Filters(number=small.INACTIVE)) == rejected
        assert listed(size, Filters(due_before=world.now + timedelta(days=366))) == everybody
        half = world.now + timedelta(days=365) - timedelta(seconds=11)
        assert listed(size, Filters(due_before=half)) == everybody[:12]
        late = world.now - timedelta(seconds=23 - 10)  # as the eleventh, u10, was registered
        assert listed(size, Filters(registered_after=late)) == everybody[11:]
        assert listed(size, Filters(registered_after=late, due_before=half)) == everybody[11:12]
        assert listed(size, Filters(registered_after=late, states=[State.REJECTED])) == rejected[4:]
        assert listed(size, Filters(registered_after=world.now)) == []


def test_a_page_ends_at_its_size_in_bytes(each_world: World) -> None:
    """100 registrations of 16 KiB are more than a message may hold: no page is over 1 MiB, and no more is read."""
    world = each_world
    for place in range(100):
        world.register(small.ACTIVE, f"u{place:03}", registration_data={"text": "x" * 16_000})
    for filters in (Filters(), Filters(due_before=world.now + timedelta(days=366))):
        users, place, sizes = [], None, []
        while True:
            page = world.registrar.page(SERVICE, filters, size=1_000, place=place)
            users += [one.record.user_id for one in page.registrations]
            sizes.append(len(page.registrations))
            if (place := page.next_place) is None:
                break
        assert sorted(users) == [f"u{one:03}" for one in range(100)]
        assert 30 < sizes[0] < 67
    rows = world.registrations.page(
        SERVICE, Selection([State.VERIFIED]), after=(-1, b""), within=PageBounds(1_001, 2**20)
    )
    assert len(rows) == sizes[0] + 1


def test_a_row_that_was_moved_to_another_registration_is_refused(world: World) -> None:
    """R12: what was sealed for one registration opens for no other."""
    one, other = (world.register(small.ACTIVE, user).registration.row for user in ("u1", "u2"))
    world.registrations.write(lambda work: work.replace(one, one._replace(sealed_record=other.sealed_record)))
    with pytest.raises(StoreDamaged):
        world.registrar.get(SERVICE, "u1")


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_codes_are_bounded_by_the_network_that_an_address_is_in(text: str, network: str) -> None:
    """R10: an IPv4 address, mapped or not, is one; who has an IPv6 address has its /64."""
    assert NetworkAddress.checked(text, 1).network == network


def test_users_who_are_looked_for_together_are_found_as_if_alone(world: World) -> None:
    """Whatever a transaction has written since it looked."""
    world.register(small.ACTIVE, "known")
    known = world.registrar.get(SERVICE, "known").row
    new = known._replace(registration_id=bytes(16), user_tag=b"n" * 16)

    def operation(work: RegistrationWork) -> None:
        work.look_ahead([Needs([b"n" * 16, b"m" * 16]), Needs([known.user_tag])])
        assert work.find([known.user_tag]) == known
        assert work.find([b"n" * 16, b"m" * 16]) is None
        work.insert(new)
        stored = work.find([b"m" * 16, b"n" * 16])
        assert stored is not None
        assert stored[:-4] == new[:-4]
        assert work.get(new.registration_id) == stored
        assert work.find([b"n" * 16]) == stored
        changed = work.replace(stored, stored._replace(user_tag=b"m" * 16))
        assert work.find([b"n" * 16]) is None
        assert work.find([b"m" * 16]) == changed

    world.registrations.write(operation)


def test_a_user_is_registered_once_whoever_shares_the_transaction(world: World) -> None:
    """Many at the same time, with and without the same request_id: one registration, one event of it."""
    outcomes: list[object] = []

    def register(caller: int) -> None:
        try:
            request_id = "same" if caller % 2 else f"other-{caller}"
            outcomes.append(world.register(small.ACTIVE, request_id=request_id).registration.row.registration_id)
        except RegistrationExists:
            outcomes.append(None)

    threads = [threading.Thread(target=register, args=(caller,)) for caller in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [one for one in outcomes if one is not None]
    assert len(set(made)) == 1
    assert len(made) in (1, 16)
    assert world.kinds() == ["registered", "confirmed"]
