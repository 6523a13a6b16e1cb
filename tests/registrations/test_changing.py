"""ChangeNumber: a user's new number is verified first, and the old one stands until then."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from numcheck.config import Settings
from numcheck.errors import (
    BadRegistration,
    DeliveryFailed,
    IndexBehind,
    MethodNotAllowed,
    NumberNotAllotted,
    NumberNotMobile,
    ProofNotAccepted,
    TooManyCodes,
    UnknownRegistration,
    WrongState,
)
from numcheck.offline.audit import verify_events
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import AttestedProof, CodeProof, InboundProof
from numcheck.registrations.record import NetworkAddress
from numcheck.registrations.registrar import Filters
from numcheck.registrations.registration import Outcome, VerificationState
from numcheck.registrations.states import RegistrationState as State
from numcheck.registrations.withdrawal import Withdrawals
from numcheck.steps import Steps, advanced, outcome_of
from tests.registrations.by_code import complete, last_code, other_than, record_of, start
from tests.registrations.test_identifications import ENDED, TOLD, Told, agree
from tests.registrations.test_withdrawals import HELD, follow, port, publish, push
from tests.registrations.world import ADDRESS, KEYS, SERVICE, Courier, World, bounds_of, small

DEFAULT = Settings().verification_methods
ELSEWHERE = NetworkAddress("198.51.100.9", 40_001)
OLD, NEW, OTHER = HELD[:3]


@pytest.fixture
def changing(each_world: World) -> World:
    """A user who is VERIFIED by both, on each engine; the operators' data is in the world's own database."""
    if each_world.url is not None:
        small.fill_store(each_world.store)
        publish(each_world)
    each_world.methods = DEFAULT
    proved(each_world, each_world.register(OLD))
    return each_world


@pytest.fixture
def world(data_dir: Path) -> Iterator[World]:
    one = World(data_dir, methods=DEFAULT)
    proved(one, one.register(OLD))
    yield one
    one.close()


def proved(world: World, outcome: Outcome) -> Outcome:
    """Return the outcome of the right code."""
    assert outcome.verification is not None
    done: Outcome = world.completion.complete(
        SERVICE, outcome.verification.verification_id, CodeProof(last_code(world))
    )
    return done


def change(world: World, number: int = NEW, user_id: str = "u1", **wanted: Any) -> Outcome:
    changed: Outcome = world.registrar.change_number(SERVICE, user_id, number, ELSEWHERE, **wanted)
    return changed


def stands(world: World, number: int, state: State = State.VERIFIED) -> None:
    """GetRegistration and ListRegistrations say so, by the number as well."""
    found = world.registrar.get(SERVICE, "u1")
    assert (found.record.number, found.state) == (number, state)
    of_number = world.registrar.page(SERVICE, Filters(number=number), size=10, place=None).registrations
    assert [one for one in of_number if one.record.user_id == "u1"] == [found]
    for other in {OLD, NEW, OTHER} - {number}:
        listed = world.registrar.page(SERVICE, Filters(number=other), size=10, place=None).registrations
        assert "u1" not in [one.record.user_id for one in listed]


def is_whole(world: World) -> None:
    verify_events(world.store, KEYS, None)


def test_a_number_is_changed_once_the_new_one_is_verified_by_both(changing: World) -> None:
    """E.1: until then the registration stands as it was; then it has the number, the address and new evidence."""
    world = changing
    before = world.registrar.get(SERVICE, "u1")
    world.pass_time(days=30)
    asked = change(world)
    assert isinstance(world.courier, Courier)
    assert world.courier.sent[-1][0] == NEW
    assert asked.verification is not None
    assert (asked.verification.method, asked.verification.state) == (Method.CODE, VerificationState.WAITING)
    assert asked.registration.record == before.record
    assert asked.registration.evidence == before.evidence
    stands(world, OLD)
    is_whole(world)
    done = proved(world, asked)
    assert done.registration == world.registrar.get(SERVICE, "u1")
    stands(world, NEW)
    assert done.registration.record.network_address == ELSEWHERE
    assert [one.method for one in done.registration.evidence] == [Method.CODE, Method.OPERATOR]
    assert done.registration.evidence[0].verified_at_us > before.evidence[0].verified_at_us
    assert done.registration.row.due_at_us == before.row.due_at_us  # the information is as old as it was
    assert world.kinds()[-2:] == ["change_started", "changed"]
    assert [event.state for event in world.store.events().of_service(SERVICE, 0)][-2:] == [State.VERIFIED] * 2
    is_whole(world)
    assert proved(world, asked) == done  # right twice
    assert world.kinds()[-2:] == ["change_started", "changed"]


def test_operators_are_told_of_a_change_when_it_is_done(changing: World) -> None:
    """E.4: the old number's is ended, and the new one is told; of one that waits or is denied they learn nothing."""
    agree(changing)
    told, (_, own_id, _) = Told(changing), Told(changing).news()[0]
    assert told.news() == [(OLD, own_id, TOLD)]
    change(changing, small.INACTIVE)
    asked = change(changing)
    assert told.news() == []
    proved(changing, asked)
    assert told.news() == [(OLD, own_id, ENDED), (NEW, own_id, TOLD)]


@pytest.mark.parametrize("state", [State.PENDING, State.REJECTED, State.REVOKED])
def test_who_is_not_verified_is_so_by_the_new_number(world: World, state: State) -> None:
    """The state stays what it is while the change waits: only its proof makes VERIFIED."""
    if state is State.REVOKED:
        push(world, remove=[OLD])
        follow(world)
    else:
        world.registrar.delete(SERVICE, "u1")
        world.register({State.PENDING: small.UNKNOWN, State.REJECTED: small.INACTIVE}[state])
        world.pass_time(minutes=2)
    number = world.registrar.get(SERVICE, "u1").record.number
    asked = change(world)
    stands(world, number, state)
    assert not complete(world, asked, other_than(last_code(world)))
    stands(world, number, state)
    proved(world, asked)
    stands(world, NEW)
    is_whole(world)


def test_who_is_overdue_is_refreshed_first(world: World) -> None:
    """I.6: before the change and while it waits."""
    world.pass_time(days=365, seconds=-60)
    asked = change(world)
    world.pass_time(seconds=60)
    Calendar(world.registrations).pass_time(world.now)
    stands(world, OLD, State.OVERDUE)
    with pytest.raises(ProofNotAccepted):
        proved(world, asked)
    with pytest.raises(WrongState):
        change(world)
    stands(world, OLD, State.OVERDUE)


def test_an_operators_no_to_the_new_number_leaves_all_as_it_is(world: World) -> None:
    """E.2: no code is sent; and so if it says no once the code is back. A repetition gets the same."""
    before = world.registrar.get(SERVICE, "u1")
    for _ in range(2):
        refused = change(world, small.INACTIVE, request_id="r1")
        assert refused.registration == before._replace(row=refused.registration.row)
        assert refused.verification is not None
        assert (refused.verification.state, refused.problem) == (VerificationState.DENIED, "NUMBER_DENIED")
    assert isinstance(world.courier, Courier)
    assert [number for number, _ in world.courier.sent] == [OLD]
    asked = change(world)
    push(world, remove=[NEW, OTHER])
    world.pass_time(minutes=2)
    again = change(world)  # begun after the withdrawal, by an index that does not show it
    with pytest.raises(ProofNotAccepted):
        proved(world, asked)
    with pytest.raises(IndexBehind):
        proved(world, again)
    publish(world)
    done = proved(world, again)
    assert (done.registration.state, done.problem) == (State.VERIFIED, "NUMBER_DENIED")
    assert done.verification is not None
    assert done.verification.state == VerificationState.DENIED
    assert proved(world, again) == done
    stands(world, OLD)
    assert world.registrar.get(SERVICE, "u1").evidence == before.evidence
    assert world.kinds()[-1] == "change_denied"
    is_whole(world)


@pytest.mark.parametrize(
    ("number", "refusal"),
    [(small.NOT_MOBILE, NumberNotMobile), (small.UNALLOCATED, NumberNotAllotted), (small.TOO_LONG, NumberNotAllotted)],
)
def test_a_number_that_no_mobile_operator_gives_is_refused(world: World, number: int, refusal: type[Exception]) -> None:
    """I.1: and nothing is written."""
    kinds = world.kinds()
    with pytest.raises(refusal):
        change(world, number)
    with pytest.raises(UnknownRegistration):
        change(world, user_id="nobody")
    assert world.kinds() == kinds
    stands(world, OLD)


def test_the_number_that_the_user_has_is_no_change_and_ends_one_that_waits(world: World) -> None:
    asked = change(world)
    code, kinds = last_code(world), world.kinds()
    for _ in range(2):
        same = change(world, OLD, request_id="r1")
        assert (same.registration.state, same.verification, same.problem) == (State.VERIFIED, None, "NUMBER_UNCHANGED")
    assert last_code(world) == code
    assert world.kinds() == kinds
    assert not complete(world, asked, code)
    stands(world, OLD)


def test_a_second_change_takes_the_place_of_the_first(changing: World) -> None:
    """The code to the first number moves nobody."""
    first, code = change(changing), last_code(changing)
    second = change(changing, OTHER)
    assert not complete(changing, first, code)
    stands(changing, OLD)
    proved(changing, second)
    stands(changing, OTHER)
    is_whole(changing)


def test_a_request_is_done_once_and_its_name_is_no_other_requests(changing: World) -> None:
    """No second code; the answer is of the registration as it is by then."""
    asked = change(changing, request_id="r1")
    assert isinstance(changing.courier, Courier)
    sent = len(changing.courier.sent)
    assert change(changing, request_id="r1") == asked._replace(registration=changing.registrar.get(SERVICE, "u1"))
    with pytest.raises(BadRegistration):
        change(changing, OTHER, request_id="r1")
    proved(changing, asked)
    again = change(changing, request_id="r1")
    assert again.registration == changing.registrar.get(SERVICE, "u1")
    assert again.verification is not None
    assert again.verification.state == VerificationState.CONFIRMED
    assert len(changing.courier.sent) == sent
    stands(changing, NEW)


def test_what_happens_while_a_change_waits_is_defined(world: World) -> None:
    """StartVerification and RefreshRegistration go about the number that stands, and end the change; erasure erases."""
    for go_on in (
        lambda: start(world),
        lambda: world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"}),
    ):
        world.pass_time(days=2)
        asked, code = change(world), last_code(world)
        other = go_on()
        assert not complete(world, asked, code)
        proved(world, other)
        stands(world, OLD)
    world.pass_time(days=2)
    asked, code = change(world), last_code(world)
    world.registrar.delete(SERVICE, "u1")
    assert not complete(world, asked, code)
    assert world.registrations.write(lambda work: work.verifications.get(asked.verification.verification_id)) is None  # type: ignore[union-attr]
    is_whole(world)


def test_a_refresh_that_was_begun_on_the_old_number_says_nothing_of_the_new_one(world: World) -> None:
    """The call has looked at the old number before the change was done, and looks again."""
    world.methods = "operator"

    def change_and_lose_the_old_one() -> None:
        change(world)
        push(world, remove=[OLD])
        publish(world)

    steps = world.rules_of_registrations.refresh(SERVICE, "u1", ADDRESS, {"a": "b"})
    refreshed: Outcome = interrupted(steps, 1, change_and_lose_the_old_one)
    assert refreshed.registration == world.registrar.get(SERVICE, "u1")
    stands(world, NEW)
    push(world, remove=[NEW])
    publish(world)
    steps = world.rules_of_registrations.verify(SERVICE, "u1", method=None, network_address=None)
    verified: Outcome = interrupted(steps, 1, lambda: change(world, OTHER))
    assert verified.registration == world.registrar.get(SERVICE, "u1")
    stands(world, OTHER)


def interrupted(steps: Steps[Any], place: int, do: Callable[[], object]) -> Any:
    """Take the steps of a call, and do something else before one of them; what the call returns."""
    outcome, taken = None, 0
    while True:
        try:
            step = advanced(steps, outcome)
        except StopIteration as end:
            return end.value
        if taken == place:
            do()
        outcome, taken = outcome_of(step), taken + 1


def test_a_withdrawal_of_the_old_number_revokes_and_the_change_goes_on(changing: World) -> None:
    """E.5: who has lost the number needs the change most; followed before the code is back, or with it."""
    for is_followed in (True, False):
        asked = change(changing, NEW if is_followed else OTHER)
        number = changing.registrar.get(SERVICE, "u1").record.number
        push(changing, remove=[number])
        if is_followed:
            follow(changing)
            stands(changing, number, State.REVOKED)
        proved(changing, asked)
        follow(changing)
        stands(changing, NEW if is_followed else OTHER)
        assert changing.kinds()[-2:] == ["withdrawn", "changed"]
        publish(changing)
    is_whole(changing)


@pytest.mark.parametrize("by", ["removed", "recycled", "ported"])
def test_a_withdrawal_of_the_new_number_ends_the_change(changing: World, by: str) -> None:
    """E.5: the code may lie with whoever had it before; whatever the index says of it by then."""
    asked = change(changing)
    if by == "ported":
        port(changing, [NEW], small.T2)
    else:
        push(changing, remove=[NEW])
        if by == "recycled":
            push(changing, add=[NEW])
    follow(changing)
    publish(changing)
    for _ in range(2):
        with pytest.raises(ProofNotAccepted):
            proved(changing, asked)
    stands(changing, OLD)
    is_whole(changing)


def test_a_withdrawal_after_the_change_is_of_the_new_number_alone(changing: World) -> None:
    """Also one of the old number that had found the registration before it moved."""
    push(changing, remove=[OLD])
    late = Withdrawals(changing.registrations, changing.vault, now=lambda: changing.now)
    found = list(late._looked_for(late._next(bulk=False)))
    proved(changing, change(changing))
    for some in found:
        changing.registrations.write(lambda work, some=some: late._revoke(some, work))
    stands(changing, NEW)
    push(changing, remove=[NEW])
    assert follow(changing) == 1
    stands(changing, NEW, State.REVOKED)


def test_codes_to_the_new_number_are_bounded_as_any(world: World) -> None:
    """R8, R10: by the number, and by the network that the change is asked from; a refusal ends no change that waits."""
    world.bounds = bounds_of(network_max=2)
    asked, code = change(world), last_code(world)
    with pytest.raises(TooManyCodes) as refused:
        change(world)
    assert refused.value.limit == "resend"
    world.registrar.register(SERVICE, "", record_of("u2", OTHER))  # from another network
    change(world, small.UNKNOWN, "u2")
    with pytest.raises(TooManyCodes) as refused:
        change(world, HELD[5])
    assert refused.value.limit == "network"
    assert complete(world, asked, code)
    stands(world, NEW)


def test_a_change_without_a_courier_says_so_and_one_that_fails_waits(world: World) -> None:
    assert isinstance(world.courier, Courier)
    world.courier.failing = True
    for _ in range(2):
        with pytest.raises(DeliveryFailed):
            change(world, request_id="r1")
    assert len(world.courier.sent) == 2
    world.courier.failing = False
    world.pass_time(minutes=2)
    proved(world, change(world))
    stands(world, NEW)
    shutil.copytree(world.data_dir, world.data_dir / "copy", ignore=lambda *_: ["copy"])
    mute = World(world.data_dir / "copy", methods=DEFAULT, courier=None, now=world.now)
    with pytest.raises(MethodNotAllowed):
        mute.registrar.change_number(SERVICE, "u1", OTHER, ELSEWHERE)
    mute.close()


def test_every_step_of_a_change_is_about_the_new_number(data_dir: Path) -> None:
    """II.2, II.3: an inbound message from the old number proves nothing; what was asserted is the change's until it is
    done."""
    policy = {"data_age_max": None, "authorities": frozenset({"esia"})}
    world = World(data_dir, methods="attested,inbound+attested", policy=policy)
    world.register(OLD)
    first = start(world, method=Method.ATTESTED)
    assert first.verification is not None
    world.completion.complete(SERVICE, first.verification.verification_id, AttestedProof("esia", "a-1", world.now))
    world.methods = "attested+inbound,inbound"
    world.register(OTHER, "u2")
    world.methods = "inbound+code"
    asked = change(world)
    assert asked.verification is not None
    word = asked.verification.word
    with pytest.raises(ProofNotAccepted):
        world.completion.complete(SERVICE, asked.verification.verification_id, InboundProof(OLD, word, world.now))
    by_code = world.completion.complete(SERVICE, asked.verification.verification_id, InboundProof(NEW, word, world.now))
    assert isinstance(world.courier, Courier)
    assert world.courier.sent[-1][0] == NEW
    assert by_code.registration.record.number == OLD
    assert [one.assertion_id for one in by_code.registration.evidence] == ["a-1"]
    assert world.kinds()[-2:] == ["proved", "change_started"]
    is_whole(world)
    done = proved(world, by_code)
    assert [one.method for one in done.registration.evidence] == [Method.INBOUND, Method.CODE]
    stands(world, NEW)
    is_whole(world)
    world.close()


def test_an_assertion_for_a_change_is_told_with_the_new_number_alone(data_dir: Path) -> None:
    """II.3: until then the old evidence names the old assertion."""
    policy = {"data_age_max": None, "authorities": frozenset({"esia"})}
    world = World(data_dir, methods="attested", policy=policy)
    world.register(OLD)
    first = start(world, method=Method.ATTESTED)
    assert first.verification is not None
    world.completion.complete(SERVICE, first.verification.verification_id, AttestedProof("esia", "a-1", world.now))
    asked = change(world)
    assert (asked.verification, asked.problem) == (None, "ATTESTATION_NEEDED")
    stands(world, OLD)
    world.close()
