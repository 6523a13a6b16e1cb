"""One holder: who has proved a number last is VERIFIED on it, and no more users than the policy allows."""

import pytest

from numcheck.offline.audit import verify_events
from numcheck.registrations.events import basis_of
from numcheck.registrations.proofs import CodeProof
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.registrar import Filters
from numcheck.registrations.registration import Outcome
from numcheck.registrations.states import RegistrationState as State
from tests.registrations.by_code import complete, last_code, start
from tests.registrations.test_changing import DEFAULT, change, proved
from tests.registrations.test_identifications import ENDED, TOLD, Told, agree
from tests.registrations.test_importing import PROVED, YEAR, bring_in, importer_of, user
from tests.registrations.test_withdrawals import HELD, publish
from tests.registrations.world import DATA, KEYS, SERVICE, World, small

NUMBER = HELD[0]


@pytest.fixture
def shared(each_world: World) -> World:
    """An installation by both steps, on each engine; the operators' data is in its own database."""
    if each_world.url is not None:
        small.fill_store(each_world.store)
        publish(each_world)
    each_world.methods = DEFAULT
    return each_world


def asked(world: World, user_id: str, number: int = NUMBER, service: str = SERVICE) -> Outcome:
    """A registration from a network of the user's own, whose code is sent."""
    network = NetworkAddress(f"2001:db8:0:{user_id[1:]}::1", 1)
    outcome: Outcome = world.registrar.register(service, "", Record(user_id, number, {}, network, DATA))
    return outcome


def holds(world: World, user_id: str, number: int = NUMBER, service: str = SERVICE) -> bytes:
    """Make a new user prove that they hold a number."""
    outcome = asked(world, user_id, number, service)
    assert outcome.verification is not None
    world.completion.complete(service, outcome.verification.verification_id, CodeProof(last_code(world)))
    return outcome.registration.row.registration_id


def verified(world: World, service: str = SERVICE) -> set[str]:
    """The users who are VERIFIED."""
    filters = Filters(states=[State.VERIFIED])
    page = world.registrar.page(service, filters, size=1_000, place=None)
    return {one.record.user_id for one in page.registrations}


def test_who_proves_a_number_ends_who_was_verified_on_it(shared: World) -> None:
    """REVOKED, announced with the cause, and told to the operator (E.4); nobody else is."""
    agree(shared)
    told = Told(shared)
    first = holds(shared, "u1")
    holds(shared, "u2", HELD[1])
    holds(shared, "u3", NUMBER, "another")
    asked(shared, "u4")
    assert [number for number, _, _ in told.news()] == [NUMBER, HELD[1]]
    second = holds(shared, "u5")
    assert verified(shared) == {"u2", "u5"}
    assert verified(shared, "another") == {"u3"}
    (event,) = [one for one in shared.store.events().of_service(SERVICE, 0) if one.kind == "withdrawn"]
    assert (event.registration_id, event.state, basis_of(event.details)) == (first, State.REVOKED, ("taken_over", 0))
    assert told.news() == [(NUMBER, first, ENDED), (NUMBER, second, TOLD)]


def test_whose_number_was_taken_over_may_prove_that_it_is_theirs(shared: World) -> None:
    """They are told to verify anew; the code of before is over, as it may have gone to the new holder."""
    holds(shared, "u1")
    shared.pass_time(minutes=2)
    again = start(shared, "u1")
    code = last_code(shared)
    holds(shared, "u2")
    assert not complete(shared, again, code)
    assert verified(shared) == {"u2"}
    shared.pass_time(minutes=2)
    started = start(shared, "u1")
    assert started.registration.state is State.PENDING
    assert verified(shared) == {"u2"}
    assert complete(shared, started, last_code(shared))
    assert verified(shared) == {"u1"}


def test_a_change_takes_the_new_number_over_and_one_of_its_last_holder_goes_on(shared: World) -> None:
    """As anybody's proof does; who loses a number may be changing to another."""
    holds(shared, "u1")
    holds(shared, "u2", HELD[1])
    away, code = change(shared, HELD[2], "u2"), last_code(shared)
    proved(shared, change(shared, HELD[1], "u1"))
    assert verified(shared) == {"u1"}
    assert complete(shared, away, code)
    assert verified(shared) == {"u1", "u2"}
    verify_events(shared.store, KEYS, None)


def test_nobody_loses_a_number_to_who_has_not_proved_it(shared: World) -> None:
    """Neither to an operator's word for whoever types it, nor to a refresh that rests on a proof of before."""
    holds(shared, "u1")
    shared.methods = "operator"
    asked(shared, "u2")
    assert verified(shared) == {"u1", "u2"}
    shared.registrar.refresh(SERVICE, "u2", NetworkAddress("203.0.113.7", 1), DATA)
    list(shared.reverifier.run(SERVICE, due_before=None, place=b""))
    assert verified(shared) == {"u1", "u2"}
    shared.methods = DEFAULT
    holds(shared, "u3")
    assert verified(shared) == {"u3"}


def test_a_service_may_let_several_users_hold_a_number(shared: World) -> None:
    """The oldest proof is ended first, and who has none before."""
    shared.policy = {**shared.policy, "users_per_number_max": 2}
    shared.methods = "operator"
    asked(shared, "u0")
    shared.methods = DEFAULT
    for user_id, left in (("u1", {"u0", "u1"}), ("u2", {"u1", "u2"}), ("u3", {"u2", "u3"})):
        shared.pass_time(minutes=1)
        holds(shared, user_id)
        assert verified(shared) == left
    proved(shared, start(shared, "u2"))
    holds(shared, "u4")
    assert verified(shared) == {"u2", "u4"}


def test_of_imported_users_of_one_number_the_latest_proof_wins(shared: World) -> None:
    """In a chunk, in another, and beside those who have proved it here; what is imported again changes nothing."""
    importer = importer_of(shared)
    rows = [user("u1", NUMBER), user("u2", NUMBER, proved=PROVED + YEAR / 10), user("u3", NUMBER, proved=None)]
    rows += [user("u4", HELD[1]), user("u5", NUMBER, proved=PROVED - YEAR / 10)]
    bring_in(importer, rows)
    assert verified(shared) == {"u2", "u4"}
    assert shared.registrar.get(SERVICE, "u3").state is State.PENDING
    lost = shared.registrar.get(SERVICE, "u1")
    assert (lost.state, len(lost.evidence), lost.row.next_at_us) == (State.REVOKED, 2, None)
    bring_in(importer, [user("u6", NUMBER), user("u7", HELD[1], proved=PROVED + YEAR / 10)], "j")
    assert verified(shared) == {"u2", "u7"}
    holds(shared, "u8")
    assert verified(shared) == {"u7", "u8"}
    bring_in(importer, [user("u9", NUMBER, proved=shared.now - YEAR / 10), *rows], "k")
    assert verified(shared) == {"u7", "u8"}
    causes = [basis_of(one.details).cause for one in shared.store.events().of_service(SERVICE, 0, count_max=100)]
    assert causes.count("taken_over") == len({"u1", "u2", "u4", "u5", "u6", "u9"})
    verify_events(shared.store, KEYS, None)
    importer.close()


def test_several_imported_users_hold_a_number_where_the_service_lets_them(shared: World) -> None:
    shared.policy = {**shared.policy, "users_per_number_max": 2}
    importer = importer_of(shared)
    bring_in(importer, [user(f"u{days}", NUMBER, proved=PROVED + YEAR * days / 1_000) for days in (3, 1, 2, 0)])
    assert verified(shared) == {"u3", "u2"}
    importer.close()
