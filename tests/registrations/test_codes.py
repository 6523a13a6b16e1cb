"""R8 and R10: how often a code may be tried and sent, by a clock that the tests move."""

import contextlib
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from numcheck.errors import (
    BadRegistration,
    DeliveryFailed,
    MethodNotAllowed,
    ProofNotAccepted,
    TooManyCodes,
    WrongState,
)
from numcheck.moments import microseconds
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.codes import TRIES_MAX, CodePolicy, make_code, word_of
from numcheck.registrations.completion import Completion
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.inbound import Inbound
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import AttestedProof, CodeProof, InboundProof, Proof
from numcheck.registrations.record import NetworkAddress
from numcheck.registrations.registration import Outcome, Registration
from numcheck.registrations.states import RegistrationState as State
from numcheck.registrations.ways import Way
from numcheck.steps import advanced, outcomes_of
from numcheck.store.store import FILE_NAME
from tests.registrations.by_code import BY_CODE, NUMBER, complete, last_code, other_than, record_of, start
from tests.registrations.test_importing import PROVED, bring_in, importer_of, user
from tests.registrations.world import ADDRESS, SERVICE, START, Ran, World, bounds_of, small


@pytest.fixture
def each_code_world(data_dir: Path, url: str | None):
    """On each engine in its turn."""
    one = World(data_dir, url=url, **BY_CODE)
    yield one
    one.close()


@pytest.fixture
def code_world(data_dir: Path):
    one = World(data_dir, **BY_CODE)
    yield one
    one.close()


def test_the_service_determines_a_number_by_itself(code_world: World) -> None:
    """II.1: by its own code alone, though an operator holds the number: none is asked, and none is in evidence."""
    outcome = code_world.register(small.ACTIVE)
    assert outcome.registration.state is State.PENDING
    assert complete(code_world, outcome, last_code(code_world))
    verified = code_world.registrar.get(SERVICE, "u1")
    assert verified.state is State.VERIFIED
    assert verified.evidence == (Evidence(Method.CODE, verified_at_us=microseconds(code_world.now)),)


# --- tries


def test_a_code_is_accepted_until_its_last_moment_and_not_after(code_world: World) -> None:
    """R8: 300 s."""
    for user_id, wait in (("u1", timedelta(seconds=300)), ("u2", timedelta(seconds=300, microseconds=-1))):
        outcome = code_world.register(NUMBER + int(user_id[1]), user_id)
        code_world.now += wait
        assert complete(code_world, outcome, last_code(code_world)) is (user_id == "u2")


def test_the_fourth_try_is_not_accepted_even_if_it_is_right(code_world: World) -> None:
    """R8: three tries, and the event says that the verification failed."""
    outcome = code_world.register(NUMBER)
    code = last_code(code_world)
    for _ in range(3):
        assert not complete(code_world, outcome, other_than(code))
    assert not complete(code_world, outcome, code)
    assert code_world.kinds() == ["registered", "started", "failed"]


def guess_wrong(world: World, outcome: Outcome, times: int, service: str = SERVICE) -> None:
    code = last_code(world)
    for _ in range(times):
        assert not complete(world, outcome, other_than(code), service)


def test_the_eleventh_wrong_try_of_a_day_is_not_made(code_world: World) -> None:
    """R8: ten wrong tries of a user at a number a day, over every verification; a day later they are forgotten."""
    outcome = code_world.register(NUMBER)
    for times in (3, 3, 3, 1):
        guess_wrong(code_world, outcome, times)
        code_world.pass_time(seconds=700)
        outcome = start(code_world)
    # Ten were wrong; this one would be right.
    assert not complete(code_world, outcome, last_code(code_world))
    code_world.pass_time(days=1)
    outcome = start(code_world)
    assert complete(code_world, outcome, last_code(code_world))


def test_a_strangers_wrong_tries_do_not_shut_the_holder_out(code_world: World) -> None:
    """R8: the holder's own next code works, whatever others have tried at the number, even from the same network; it is
    theirs for three tries."""
    for turn, times in enumerate((3, 3, 3, 1)):
        guess_wrong(code_world, code_world.register(NUMBER, f"stranger {turn}"), times)
        code_world.pass_time(seconds=700)
    outcome = code_world.register(NUMBER, "holder")
    guess_wrong(code_world, outcome, 2)
    assert complete(code_world, outcome, last_code(code_world))


def test_wrong_tries_stay_counted_for_a_user_who_was_erased_and_came_again(code_world: World) -> None:
    """R8: or whoever guesses would begin anew with each registration."""
    outcome = code_world.register(NUMBER)
    for times in (3, 3, 3, 1):
        guess_wrong(code_world, outcome, times)
        code_world.pass_time(seconds=700)
        code_world.registrar.delete(SERVICE, "u1")
        outcome = code_world.register(NUMBER)
    assert not complete(code_world, outcome, last_code(code_world))


def test_one_services_users_spend_nothing_of_anothers(data_dir: Path) -> None:
    """R8, R10: tries, codes to the number, its block and the network, and the rate: each service has its own."""
    bounds = bounds_of(block_max=5, network_max=5, rate_max=5)
    world = World(data_dir, bounds=bounds, **BY_CODE)
    outcome = world.register(NUMBER)
    for _ in range(4):
        guess_wrong(world, outcome, 3)
        world.pass_time(seconds=600)
        outcome = start(world)
    for place in range(4):
        assert world.register(NUMBER + place, f"more {place}").problem == "TOO_MANY_CODES"
    theirs = world.registrar.register("other", "", record_of("u1"))
    assert complete(world, theirs, last_code(world), "other")
    world.close()


def test_a_live_code_stays_good_whoever_else_begins(code_world: World) -> None:
    """R8: a stranger who registers with the number, and asks for more codes, takes nothing from its holder."""
    holder, code = code_world.register(NUMBER), last_code(code_world)
    for turn in range(2):
        code_world.pass_time(seconds=120)
        stranger = code_world.register(NUMBER, f"stranger {turn}")
        guess_wrong(code_world, stranger, 3)
    assert complete(code_world, holder, code)
    assert code_world.registrar.get(SERVICE, "stranger 1").state is State.PENDING


# --- the right proof, given twice


@pytest.mark.parametrize("times", [2, 20])
def test_a_right_code_is_right_however_often_and_at_once_it_is_given(each_code_world: World, times: int) -> None:
    """R8: all get the same registration; no wrong try is counted; and so once more later, within the code's life."""
    outcome, code = each_code_world.register(NUMBER), last_code(each_code_world)
    done = at_once(each_code_world, outcome, CodeProof(code), times)
    each_code_world.pass_time(seconds=299)
    done += at_once(each_code_world, outcome, CodeProof(code), times)
    assert done == [each_code_world.registrar.get(SERVICE, "u1")] * 2 * times
    assert wrong_tries(each_code_world) == 0
    assert each_code_world.kinds() == ["registered", "started", "confirmed"]
    with pytest.raises(ProofNotAccepted):
        at_once(each_code_world, outcome, CodeProof(other_than(code)), 1)


def test_a_right_code_is_right_on_two_nodes_at_once(data_dir: Path, url: str | None) -> None:
    """R8: each has counted its try before the other has confirmed; both tell the registration, neither was wrong."""
    world = World(data_dir, url=url, **BY_CODE)
    outcome, code = world.register(NUMBER), last_code(world)
    node = Ran(Completion(world.registrations, world.vault, world.rules_of_verifications))  # with turns of its own

    class Meeting(CodeProof):
        def accepted(self, *arguments, **named):  # type: ignore[no-untyped-def]
            barrier.wait()  # both have counted their tries
            return super().accepted(*arguments, **named)

    barrier = threading.Barrier(2)
    verification_id = verification_id_of(outcome)
    with ThreadPoolExecutor(2) as callers:
        asked = [
            callers.submit(completion.complete, SERVICE, verification_id, Meeting(code))
            for completion in (world.completion, node)
        ]
    assert [call.result().registration for call in asked] == [world.registrar.get(SERVICE, "u1")] * 2
    assert wrong_tries(world) == 0
    world.close()


def test_an_inbound_word_and_an_assertion_are_right_however_often_they_are_given(act_world: World) -> None:
    """II.2, II.3: at once and again; another assertion than the one that verified is not."""
    outcome = act_world.register(NUMBER)
    assert outcome.verification is not None
    by_word = InboundProof(NUMBER, outcome.verification.word, act_world.now)
    assert at_once(act_world, outcome, by_word, 8) == [act_world.registrar.get(SERVICE, "u1")] * 8
    outcome = start(act_world, method=Method.ATTESTED)
    attested = AttestedProof("esia", "a-1", act_world.now)
    assert at_once(act_world, outcome, attested, 8) == [act_world.registrar.get(SERVICE, "u1")] * 8
    assert wrong_tries(act_world) == 0
    with pytest.raises(ProofNotAccepted):
        at_once(act_world, outcome, AttestedProof("esia", "a-2", act_world.now), 1)


def at_once(world: World, outcome: Outcome, proof: Proof, times: int) -> list[Registration]:
    """What each of so many calls at once gets."""
    verification_id = verification_id_of(outcome)
    with ThreadPoolExecutor(times) as callers:
        asked = [callers.submit(world.completion.complete, SERVICE, verification_id, proof) for _ in range(times)]
    return [call.result().registration for call in asked]


def verification_id_of(outcome: Outcome) -> bytes:
    assert outcome.verification is not None
    return outcome.verification.verification_id


def wrong_tries(world: World) -> int:
    tags, since_us = world.vault.number_tags(NUMBER), microseconds(world.now - timedelta(days=1))
    networks = world.vault.network_tags(ADDRESS)
    return world.registrations.write(
        lambda work: work.sends.wrong_tries(SERVICE, tags, networks, [], since_us=since_us)
    )[0]


# --- tries at once


def test_of_100_parallel_guesses_three_are_compared(each_code_world: World) -> None:
    """R8: on both engines, never more than three tries are counted, and none is compared that was not."""
    code_world = each_code_world
    outcome = code_world.register(NUMBER)
    code = last_code(code_world)
    assert outcome.verification is not None
    compared: list[str] = []
    accepted: list[bool] = []
    barrier = threading.Barrier(100)

    class Watched(CodeProof):
        def accepted(self, *arguments, **named):  # type: ignore[no-untyped-def]
            compared.append(self.code)
            return super().accepted(*arguments, **named)

    def guess(place: int) -> None:
        barrier.wait()
        try:
            proof = Watched(f"{(int(code) + 1 + place) % 10**6:06}")
            code_world.completion.complete(SERVICE, outcome.verification.verification_id, proof)
            accepted.append(True)
        except ProofNotAccepted:
            pass

    threads = [threading.Thread(target=guess, args=(place,)) for place in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(compared), accepted) == (3, [])


def test_a_try_that_was_counted_before_a_crash_stays_counted(code_world: World) -> None:
    """R8: a process that dies between counting and comparing gives no try back."""
    outcome = code_world.register(NUMBER)
    code = last_code(code_world)
    assert outcome.verification is not None

    class Dying(CodeProof):
        def accepted(self, *_arguments, **_named):  # type: ignore[no-untyped-def]
            raise SystemError

    for _ in range(3):
        with pytest.raises(SystemError):
            code_world.completion.complete(SERVICE, outcome.verification.verification_id, Dying(code))
    code_world.close()
    again = World(code_world.data_dir, **BY_CODE)
    assert not complete(again, outcome, code)
    again.close()


def test_only_the_newest_verification_counts(code_world: World) -> None:
    """R8: one live challenge a registration."""
    first, first_code = code_world.register(NUMBER), last_code(code_world)
    code_world.pass_time(seconds=60)
    second, second_code = start(code_world), last_code(code_world)
    assert not complete(code_world, first, first_code)
    assert complete(code_world, second, second_code)


def test_a_code_of_one_service_is_nothing_in_another(code_world: World) -> None:
    outcome = code_world.register(NUMBER)
    assert not complete(code_world, outcome, last_code(code_world), "other")
    assert complete(code_world, outcome, last_code(code_world))


def test_every_code_and_word_is_of_its_form_and_they_are_all_about_as_frequent() -> None:
    """R8: six digits, leading zeros kept; a word has no letter that is taken for another."""
    assert make_code(lambda below: below - 1, 6) == "999999"
    assert make_code(lambda _below: 42, 4) == "0042"
    words = Counter("".join(word_of(bytes([at] * 6)) for at in range(256)))
    assert set(words) == set("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
    assert len(set(words.values())) == 1


# --- sends


def sent_at(world: World, span: timedelta, step: timedelta) -> list[timedelta]:
    """When codes were sent, of tries at every step."""
    began, times = world.now, [timedelta(0)]
    while world.now - began < span:
        world.now += step
        with contextlib.suppress(TooManyCodes):
            start(world)
            times.append(world.now - began)
    return times


def test_codes_to_a_number_are_60_120_300_and_600_seconds_apart_and_five_a_day(code_world: World) -> None:
    """R8: to the second, by one who asks every ten seconds; the sixth comes a day after the first."""
    code_world.register(NUMBER)
    times = sent_at(code_world, timedelta(hours=1), timedelta(seconds=10))
    assert [one.total_seconds() for one in times] == [0, 60, 180, 480, 1_080]
    with pytest.raises(TooManyCodes) as caught:
        start(code_world)
    assert caught.value.retry_delay_s == 86_400 - 3_600
    code_world.pass_time(seconds=caught.value.retry_delay_s)
    start(code_world)


def test_the_time_to_wait_is_the_time_after_which_it_works(code_world: World) -> None:
    """R8: not a microsecond sooner."""
    code_world.register(NUMBER)
    with pytest.raises(TooManyCodes) as caught:
        start(code_world)
    code_world.now += timedelta(seconds=caught.value.retry_delay_s) - timedelta(microseconds=1)
    with pytest.raises(TooManyCodes):
        start(code_world)
    code_world.now += timedelta(microseconds=1)
    start(code_world)


@pytest.mark.parametrize(
    ("bounds", "number", "limit", "told_s"),
    [
        (bounds_of(), NUMBER, "resend", 59),
        (bounds_of(rate_max=1), NUMBER + 1, "rate", 9),
        (bounds_of(block_max=1), NUMBER + 1, "block", 86_399 + 20),
        (bounds_of(network_max=1), NUMBER + 10_000, "network", 86_399 + 20),
    ],
)
def test_a_refusal_says_which_limit_and_when_others_were_sent_codes_only_coarsely(
    data_dir: Path, bounds: CodePolicy, number: int, limit: str, told_s: int
) -> None:
    """R8, R10: a second later; what others caused ends at a whole minute, here 20 s after the day."""
    world = World(data_dir, bounds=bounds, **BY_CODE)
    world.pass_time(seconds=40)
    world.register(NUMBER, "u1")
    world.pass_time(seconds=1)
    assert world.register(number, "u2").problem == "TOO_MANY_CODES"
    with pytest.raises(TooManyCodes) as refused:
        start(world, "u2")
    assert (refused.value.metadata, refused.value.retry_delay_s) == ({"limit": limit}, told_s)
    world.close()


@pytest.mark.parametrize(
    ("bounds", "step"),
    [
        (bounds_of(number_max=6), 0),
        (bounds_of(block_max=3), 1),
        (bounds_of(network_max=3), 1),
        (bounds_of(rate_max=3), 1),
    ],
)
def test_users_who_are_recorded_in_one_transaction_share_their_bounds(
    data_dir: Path, bounds: CodePolicy, step: int
) -> None:
    """R8, R10: each code counts for the next of the same transaction, as it does for those of others."""
    world = World(data_dir, bounds=bounds, **BY_CODE)
    addresses = [NetworkAddress(f"198.51.100.{place}", 50_000) for place in range(5)]
    if bounds.network_max == 3:
        addresses = [ADDRESS] * 5
    records = [record_of(f"u{place}", NUMBER + place * step, one) for place, one in enumerate(addresses)]
    asked = [world.rules_of_registrations.register(SERVICE, "", one) for one in records]
    steps = [advanced(one, None) for one in asked]
    outcomes = outcomes_of(steps[0].run, [one.argument for one in steps])
    assert [one.problem for one in outcomes] == ["", "", "", "TOO_MANY_CODES", "TOO_MANY_CODES"]
    assert len({one.verification.verification_id for one in outcomes[:3]}) == 3
    world.close()


def test_a_number_gets_so_many_codes_of_all_services_and_no_service_learns_when_others_sent(data_dir: Path) -> None:
    """R10: a phone is not flooded by many services; to the one that is refused, an hour is all that it is told, and all
    that it learns by asking until it is not: the wait that others caused ends at a whole one."""
    world = World(data_dir, bounds=bounds_of(number_max=2), **BY_CODE)
    world.pass_time(seconds=89)
    for service, seconds in (("a", 1_234), ("b", 567), ("c", 0)):
        outcome = world.registrar.register(service, "", record_of("u1"))
        assert (outcome.problem == "TOO_MANY_CODES") is (service == "c")
        world.pass_time(seconds=seconds)
    for passed in (timedelta(hours=5), timedelta(hours=18), timedelta()):
        world.now += passed
        with pytest.raises(TooManyCodes) as refused:
            start(world, "u1", "c")
        ends = world.now + timedelta(seconds=refused.value.retry_delay_s)
        assert (refused.value.limit, ends) == ("number_total", START + timedelta(hours=25))
    world.now = ends - timedelta(microseconds=1)
    with pytest.raises(TooManyCodes):
        start(world, "u1", "c")
    world.now = ends
    assert start(world, "u1", "c").verification is not None
    world.close()


def test_a_service_that_vouches_for_users_itself_floods_no_phone(data_dir: Path) -> None:
    """R10: whom it imports has proved a number by its word alone, one after the other: they are held to what one holder
    may have more than others."""
    world = World(data_dir, bounds=bounds_of(number_max=4), methods="code+operator,code")
    importer, sent = importer_of(world), 0
    for turn in range(12):
        bring_in(importer, [user(f"u{turn}", small.ACTIVE, proved=PROVED + timedelta(minutes=turn))], f"i{turn}")
        with contextlib.suppress(TooManyCodes):
            sent += start(world, f"u{turn}").verification is not None
    assert sent == 7
    importer.close()
    world.close()


def test_a_strangers_codes_do_not_use_up_the_day_of_a_numbers_holder(code_world: World) -> None:
    """R8: who has had none of a network's five gets one, at the same pace; who has had some, and who comes next, does
    not. A user who has proved the number has their own five, whatever the others had."""
    code_world.register(NUMBER, "stranger")
    for seconds in (60, 120, 300, 600):
        code_world.pass_time(seconds=seconds)
        start(code_world, "stranger")
    assert code_world.register(NUMBER, "holder").problem == "TOO_MANY_CODES"
    with pytest.raises(TooManyCodes) as paced:
        start(code_world, "holder")
    assert (paced.value.limit, paced.value.retry_delay_s) == ("resend", 600)
    code_world.pass_time(seconds=600)
    outcome = start(code_world, "holder")
    assert outcome.verification is not None
    code_world.pass_time(seconds=299)
    assert complete(code_world, outcome, last_code(code_world))
    code_world.pass_time(seconds=600)
    with pytest.raises(TooManyCodes) as refused:
        start(code_world, "stranger")
    assert refused.value.limit == "number"
    for seconds in (120, 300, 600, 600):
        start(code_world, "holder")
        code_world.pass_time(seconds=seconds)
    with pytest.raises(TooManyCodes) as refused:
        start(code_world, "holder")
    assert refused.value.limit == "number"


def test_a_stranger_elsewhere_takes_neither_codes_nor_tries_from_a_numbers_holder(data_dir: Path) -> None:
    """R8: whatever one network has asked for, by as many users as it likes, others have three codes
    left in a service, and the tries at them."""
    world = World(data_dir, bounds=bounds_of(number_max=20), **BY_CODE)
    stranger, sent = NetworkAddress("198.51.100.1", 1), 0
    for turn in range(12):
        outcome = world.register(NUMBER, f"stranger {turn}", network_address=stranger)
        if outcome.verification is not None:
            guess_wrong(world, outcome, 3)
            sent += 1
        world.pass_time(seconds=600)
    assert sent == 7
    outcome = world.register(NUMBER, "holder")
    for _ in range(2):
        guess_wrong(world, outcome, 3)
        world.pass_time(seconds=600)
        outcome = start(world, "holder")
    assert complete(world, outcome, last_code(world))
    with pytest.raises(TooManyCodes) as refused:
        start(world, "stranger 11", network_address=stranger)
    assert refused.value.limit == "number"
    world.close()


def test_a_holder_gets_a_code_though_others_have_used_up_all_of_the_numbers(data_dir: Path) -> None:
    """R8, R10: a user who has proved that the number is theirs is held to their own codes, not to the number's."""
    world = World(data_dir, bounds=bounds_of(number_max=4), **BY_CODE)
    assert complete(world, world.register(NUMBER, "holder"), last_code(world))
    world.pass_time(days=1)
    for turn in range(3):
        network = NetworkAddress(f"198.51.100.{turn}", 1)
        refused = world.register(NUMBER, f"stranger {turn}", network_address=network)
        assert (refused.verification is None) is (turn == 2)
    outcome = start(world, "holder")
    assert complete(world, outcome, last_code(world))
    world.close()


def test_codes_without_an_end_to_one_number_end_at_a_services_half_of_the_bound(data_dir: Path) -> None:
    """R8, R10: however many users somebody makes for it in one service; each of the others has its codes still, until
    all of them together have sent as many as may be."""
    world = World(data_dir, bounds=bounds_of(number_max=8), **BY_CODE)
    sent: Counter[str] = Counter()
    for service in ("strangers", "holders", "third"):
        for turn in range(20):
            outcome = world.registrar.register(service, "", record_of(f"u{turn}"))
            sent[service] += outcome.verification is not None
            world.pass_time(seconds=600)
    assert sent == {"strangers": 4, "holders": 4, "third": 0}
    with pytest.raises(TooManyCodes) as refused:
        start(world, "u19", "strangers")
    assert refused.value.limit == "number"
    world.close()


@pytest.mark.parametrize(
    ("bounds", "numbers", "networks"),
    [
        (bounds_of(block_max=7), range(NUMBER, NUMBER + 40), 40),
        (bounds_of(network_max=7), range(NUMBER, NUMBER + 40_000, 1_000), 1),
    ],
)
def test_never_a_send_over_the_bound(data_dir: Path, bounds: CodePolicy, numbers: range, networks: int) -> None:
    """R10: one block of 10,000 numbers, one network (all of a /64), whoever asks and however often, in any 24 hours."""
    world = World(data_dir, bounds=bounds, **BY_CODE)
    sends: list[datetime] = []
    for turn in range(120):
        address = NetworkAddress.checked(f"2001:db8:0:{turn % networks:x}::{turn:x}", 1)
        outcome = world.register(numbers[turn % 40], f"u{turn}", network_address=address)
        if outcome.verification is not None:
            sends.append(world.now)
        world.pass_time(minutes=31)
    assert all(len([one for one in sends if at - timedelta(days=1) < one <= at]) <= 7 for at in sends)
    assert len(sends) > 14
    world.close()


def test_the_breaker_opens_when_few_of_the_last_200_codes_come_back_and_closes_when_they_do(data_dir: Path) -> None:
    """R10: 39 of 200 open it; then one code a minute goes out, and forty that come back close it."""
    world = World(data_dir, bounds=bounds_of(), **BY_CODE)
    place = iter(range(10_000))

    def one(*, back: bool) -> bool:
        number = next(place)
        outcome = world.register(79_990_000_000 + number, f"u{number}")
        if outcome.verification is None:
            assert outcome.problem == "TOO_MANY_CODES"
            return False
        if back:
            assert complete(world, outcome, last_code(world))
        world.pass_time(seconds=1)
        return True

    assert all(one(back=turn % 5 == 0) for turn in range(200))  # 40 of 200
    world.pass_time(seconds=60)
    assert one(back=False)  # it pushes one that came back out: 39 of 200
    world.pass_time(seconds=60)
    assert one(back=False)  # the first after a minute
    refused = sum(not one(back=True) for _ in range(58))
    assert refused == 58
    sent = 0
    for _ in range(60):
        world.pass_time(seconds=60)
        sent += one(back=True)
    assert sent == 60
    assert all(one(back=True) for _ in range(30))
    world.close()


def test_a_code_that_cannot_be_handed_over_counts_as_sent(code_world: World) -> None:
    """R10: or a broken gateway could be made to send without bound. The registration stays, and says why."""
    assert code_world.courier is not None
    code_world.courier.failing = True
    outcome = code_world.register(NUMBER)
    assert (outcome.problem, outcome.registration.state) == ("DELIVERY_FAILED", State.PENDING)
    with pytest.raises(TooManyCodes):
        start(code_world)
    code_world.pass_time(seconds=60)
    with pytest.raises(DeliveryFailed):
        start(code_world)


# --- the other methods


@pytest.fixture
def act_world(data_dir: Path):
    one = World(
        data_dir,
        methods="inbound,attested",
        policy={"data_age_max": None, "authorities": frozenset({"esia"})},
    )
    yield one
    one.close()


def test_a_message_with_the_word_from_the_number_verifies(act_world: World) -> None:
    """II.2: an inbound message; from another number, without the word, too early or too late it does not."""
    outcome = act_world.register(NUMBER)
    assert outcome.verification is not None
    word, verification_id, now = outcome.verification.word, outcome.verification.verification_id, act_world.now
    for proof in (InboundProof(NUMBER + 1, word, now), InboundProof(NUMBER, "thanks", now)):
        with pytest.raises(ProofNotAccepted):
            act_world.completion.complete(SERVICE, verification_id, proof)
    done = act_world.completion.complete(
        SERVICE, verification_id, InboundProof(NUMBER, f"My code: {word.lower()}.", now)
    ).registration
    assert done.state is State.VERIFIED
    assert [one.method for one in done.evidence] == [Method.INBOUND]


@pytest.mark.parametrize("late", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_an_act_before_the_verification_or_in_the_future_verifies_nothing(act_world: World, late: timedelta) -> None:
    """II.2: a call from the number, at the wrong time; at the right time it does."""
    outcome = act_world.register(NUMBER)
    assert outcome.verification is not None
    proof = InboundProof(NUMBER, "", act_world.now + late)
    with pytest.raises(ProofNotAccepted):
        act_world.completion.complete(SERVICE, outcome.verification.verification_id, proof)
    act_world.completion.complete(
        SERVICE, outcome.verification.verification_id, InboundProof(NUMBER, "", act_world.now)
    )
    assert act_world.registrar.get(SERVICE, "u1").state is State.VERIFIED


@pytest.mark.parametrize("text", [" ", "\n", "\u00a0 \t", ".", "''", "Спасибо!", "👍", "0123456789", "ABCDE"])
def test_a_message_with_no_word_in_it_is_no_call_and_no_try(act_world: World, text: str) -> None:
    """II.2: only a call needs no word; what cannot be one is refused by its field, before anything is counted."""
    act_world.register(NUMBER)
    with pytest.raises(BadRegistration) as refused:
        InboundProof(NUMBER, text, act_world.now)
    assert refused.value.field == "inbound_act.text"


def test_an_assertion_verifies_one_user_of_a_service_once(act_world: World) -> None:
    """II.3: brought again, for another user or for the same one, it is not accepted; in another service it is."""
    when = act_world.now - timedelta(hours=1)
    proof = AttestedProof("esia", "a-81f4", when)

    def attested(user_id: str, service: str = SERVICE) -> bool:
        outcome = start(act_world, user_id, service, method=Method.ATTESTED)
        assert outcome.verification is not None
        try:
            act_world.completion.complete(service, outcome.verification.verification_id, proof)
        except ProofNotAccepted:
            return False
        # The same proof for the same verification has the same answer.
        act_world.completion.complete(service, outcome.verification.verification_id, proof)
        return True

    for place, user_id in enumerate(("u1", "u2")):
        act_world.register(NUMBER + place, user_id)
    act_world.registrar.register("other", "", record_of("u1"))
    assert attested("u1")
    assert not attested("u2")
    assert act_world.registrar.get(SERVICE, "u2").state is State.PENDING
    assert not attested("u1")
    assert attested("u1", "other")


SPELLINGS = ("A1", "a1", " a1", "a1 ", "\ta1\n", "\uff21\uff11", "\uff41\uff11", "a\uff11", "\u24b6\u2460", "\u3000A1")


@pytest.mark.parametrize("first", SPELLINGS)
def test_an_assertion_verifies_once_however_its_name_is_spelt(act_world: World, first: str) -> None:
    """Large and small letters, spaces around, full width and circled: whichever comes first, no other counts."""

    def is_accepted(place: int, assertion_id: str) -> bool:
        act_world.register(NUMBER + place, f"u{place}")
        verification = start(act_world, f"u{place}", method=Method.ATTESTED).verification
        assert verification is not None
        try:
            proof = AttestedProof("esia", assertion_id, act_world.now)
            act_world.completion.complete(SERVICE, verification.verification_id, proof)
        except ProofNotAccepted:
            return False
        return True

    assert is_accepted(0, first)
    assert not any(is_accepted(place, other) for place, other in enumerate(SPELLINGS, start=1))
    assert is_accepted(len(SPELLINGS) + 1, "a2"), "another assertion is another"


@pytest.mark.parametrize("assertion_id", ["", " ", "a b", "\u0430\u0431", "a\u0301", "a\x00", "x" * 1_000])
def test_an_assertion_whose_name_has_no_normal_form_is_refused_by_its_field(
    act_world: World, assertion_id: str
) -> None:
    with pytest.raises(BadRegistration) as refused:
        AttestedProof("esia", assertion_id, act_world.now)
    assert refused.value.field == "attested_act.assertion_id"


def test_the_name_of_an_assertion_lies_sealed(act_world: World) -> None:
    """R12: it leads to a person at the authority; it is told to the service, and by a later method no more."""
    outcome = act_world.register(NUMBER)
    outcome = start(act_world, method=Method.ATTESTED)
    assert outcome.verification is not None
    proof = AttestedProof("esia", "assertion-of-ivan", act_world.now)
    done = act_world.completion.complete(SERVICE, outcome.verification.verification_id, proof).registration
    assert [one.assertion_id for one in done.evidence] == ["assertion-of-ivan"]
    assert act_world.registrar.get(SERVICE, "u1") == done
    outcome = start(act_world)
    assert outcome.verification is not None
    by_call = InboundProof(NUMBER, "", act_world.now)
    done = act_world.completion.complete(SERVICE, outcome.verification.verification_id, by_call).registration
    assert [one.assertion_id for one in done.evidence] == [""]
    act_world.close()
    for path in act_world.data_dir.iterdir():
        assert not path.is_file() or b"assertion-of-ivan" not in path.read_bytes()


def test_an_authoritys_assertion_verifies_and_is_recorded_with_who_and_when(act_world: World) -> None:
    """II.3: only an authority that the settings name; and the chain never holds the assertion's name."""
    act_world.register(NUMBER)
    outcome = start(act_world, method=Method.ATTESTED)
    assert outcome.verification is not None
    verification_id, when = outcome.verification.verification_id, act_world.now - timedelta(hours=1)
    for proof in (AttestedProof("nobody", "a-1", when), AttestedProof("esia", "a-1", when - timedelta(days=2))):
        with pytest.raises(ProofNotAccepted):
            act_world.completion.complete(SERVICE, verification_id, proof)
    done = act_world.completion.complete(SERVICE, verification_id, AttestedProof("esia", "a-81f4", when)).registration
    (evidence,) = done.evidence
    assert (evidence.authority, evidence.assertion_id) == ("esia", "a-81f4")
    assert evidence.act_time_us == int(when.timestamp() * 1_000_000)
    assert not [event for event in act_world.store.events().all() if "a-81f4" in event.details]


def test_a_method_that_the_policy_has_not_is_refused(world: World) -> None:
    world.register(NUMBER)
    for method in (Method.INBOUND, Method.ATTESTED):
        with pytest.raises(MethodNotAllowed):
            start(world, method=method)
    with pytest.raises(MethodNotAllowed):
        start(world, method=Method.CODE, way=Way("call"))


def test_a_rejected_user_who_starts_again_waits_for_his_code(world: World) -> None:
    """REJECTED is not for ever: he becomes PENDING, and the code makes him VERIFIED."""
    assert world.register(small.INACTIVE).registration.state is State.REJECTED
    outcome = start(world, method=Method.CODE)
    assert outcome.registration.state is State.PENDING
    assert complete(world, outcome, last_code(world))
    assert world.kinds() == ["registered", "denied", "started", "confirmed"]


def test_overdue_users_refresh_and_do_not_just_start(world: World) -> None:
    """I.6: an overdue registration's user has to give his information anew."""
    world.register(small.ACTIVE)
    row = world.registrar.get(SERVICE, "u1").row
    world.registrations.write(lambda work: work.replace(row, row._replace(state=int(State.OVERDUE))))
    with pytest.raises(WrongState):
        start(world)
    outcome = world.registrar.refresh(SERVICE, "u1", ADDRESS, {"name": "Иванова"})
    assert outcome.registration.state is State.VERIFIED


def test_what_bounds_codes_is_kept_for_30_days_and_not_for_ever(code_world: World) -> None:
    """Verifications, sends and tries of the last 30 days stay, older ones go, and the registration stays."""
    first = code_world.register(NUMBER)
    assert not complete(code_world, first, other_than(last_code(code_world)))
    code_world.pass_time(days=1)
    outcome, code = start(code_world), last_code(code_world)
    assert complete(code_world, outcome, code)
    calendar = Calendar(code_world.registrations)
    code_world.pass_time(days=29)
    calendar.pass_time(code_world.now)
    assert counts(code_world) == (2, 2, 2)
    code_world.pass_time(hours=1)
    calendar.pass_time(code_world.now)
    assert counts(code_world) == (1, 1, 1)
    assert complete(code_world, outcome, code)
    code_world.pass_time(days=1)
    calendar.pass_time(code_world.now)
    assert counts(code_world) == (0, 0, 0)
    assert code_world.registrar.get(SERVICE, "u1").state is State.VERIFIED


def counts(world: World) -> tuple[int, ...]:
    connection = sqlite3.connect(world.data_dir / FILE_NAME)
    tables = ("verifications", "code_sends", "code_tries")
    found = tuple(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)
    connection.close()
    return found


def test_a_message_that_reaches_the_node_counts_for_whoever_waits_for_it(act_world: World) -> None:
    """II.2 with R8: each service's own word; a message without one is no try, wrong ones are bounded."""
    inbound = Inbound(act_world.registrations, act_world.vault, act_world.rules_of_proofs, now=lambda: act_world.now)
    act_world.register(NUMBER)
    act_world.registrar.register("other", "", record_of("u1"))
    mine = start(act_world, method=Method.INBOUND)
    others = start(act_world, method=Method.INBOUND, service="other")
    assert mine.verification is not None
    assert others.verification is not None
    word = mine.verification.word
    for text in (" \n", "Спасибо", "👍", "да"):
        assert inbound.take(NUMBER, text) == 0
    assert inbound.take(NUMBER + 1, word) == 0
    for _ in range(TRIES_MAX + 1):  # as gateways repeat messages: none of them is a try of the other service's
        assert inbound.take(NUMBER, f"«{word.lower()}»") == 1
    assert act_world.registrar.get(SERVICE, "u1").row.state == State.VERIFIED
    assert act_world.registrar.get("other", "u1").row.state == State.PENDING
    assert inbound.take(NUMBER, others.verification.word) == 1
    theirs = start(act_world, method=Method.INBOUND, service="other")
    assert theirs.verification is not None
    for _ in range(TRIES_MAX):
        assert inbound.take(NUMBER, "thanks") == 0
    assert inbound.take(NUMBER, theirs.verification.word) == 0
