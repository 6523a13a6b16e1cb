"""E.4: operators are told whom services identified on their numbers, and when that ended; and nobody else is."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from numcheck.config import Settings
from numcheck.offline.rotation import drop_old_keys, rotate
from numcheck.registrations.calendar import Calendar
from numcheck.registrations.identifications import Identifications
from numcheck.serving.keys import read_keys, write_keys
from numcheck.store import Callers
from numcheck.v1 import caller_pb2, numbering_pb2
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.caller_pb2_grpc import CallerServiceStub
from numcheck.v1.check_pb2 import ListOperatorsRequest
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from numcheck.v1.numbering_pb2_grpc import NumberingServiceStub
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import refusal
from tests.registrations.test_importing import bring_in, importer_of, user
from tests.registrations.test_service import register_request
from tests.registrations.test_withdrawals import HELD, follow, operator_id, port, publish, push
from tests.registrations.world import ADDRESS, DATA, SERVICE, World, small
from tests.serving.command import Node, run, serving

DEADLINE_S = 20.0
SETTINGS = {"NUMCHECK_VERIFICATION_METHODS": "operator", "NUMCHECK_EVIDENCE_AGE_MAX_S": "0"}
TOLD, ENDED = False, True


class Told:
    """What an operator was told so far, read on from its place."""

    def __init__(self, world: World, tax_id: str = small.MTS) -> None:
        self._identifications = Identifications(world.registrations, world.vault)
        self._operator_id, self._place = operator_id(world, tax_id), 0

    def news(self) -> list[tuple[int, bytes, bool]]:
        found = self._identifications.after(self._operator_id, self._place)
        self._place = found[-1].row.position if found else self._place
        assert {one.row.service for one in found} <= {SERVICE}
        return [(one.number, one.row.registration_id, one.row.ended) for one in found]


def callers(world: World) -> Callers:
    return world.store.callers(bytes(32))


def agree(world: World, tax_id: str = small.MTS, *, identifications: bool = True) -> None:
    callers(world).agree(SERVICE, operator_id(world, tax_id), now=world.now, identifications=identifications)


def registered(world: World, number: int, user_id: str = "u1") -> bytes:
    registration_id: bytes = world.register(number, user_id).registration.row.registration_id
    return registration_id


@pytest.fixture
def filled(each_world: World) -> World:
    """An installation whose operators' data is in its own database."""
    if each_world.url is not None:
        small.fill_store(each_world.store)
        publish(each_world)
    return each_world


def test_operator_is_told_of_each_identification_and_of_its_end(filled: World) -> None:
    """E.4: confirmed, refreshed, erased, withdrawn, overdue: each in the order in which it happened."""
    world = filled
    agree(world)
    told = Told(world)
    one, two, three = (registered(world, HELD[i], f"u{i}") for i in range(3))
    registered(world, small.INACTIVE, "u3")
    assert told.news() == [(HELD[0], one, TOLD), (HELD[1], two, TOLD), (HELD[2], three, TOLD)]
    world.pass_time(days=1)
    world.registrar.refresh(SERVICE, "u1", ADDRESS, DATA)
    world.registrar.delete(SERVICE, "u0")
    assert told.news() == [(HELD[1], two, TOLD), (HELD[0], one, ENDED)]
    push(world, remove=[HELD[1]])
    publish(world)
    follow(world)
    assert told.news() == [(HELD[1], two, ENDED)]
    world.pass_time(days=400)
    Calendar(world.registrations).pass_time(world.now)
    assert told.news() == [(HELD[2], three, ENDED)]
    world.registrar.delete(SERVICE, "u2")  # it has ended already
    assert told.news() == []


def test_ported_number_ends_at_the_donor_and_is_told_to_the_recipient_once_identified_there(world: World) -> None:
    agree(world)
    agree(world, small.MTT)
    donor, recipient = Told(world), Told(world, small.MTT)
    one = registered(world, HELD[0])
    assert (donor.news(), recipient.news()) == ([(HELD[0], one, TOLD)], [])
    port(world, [HELD[0]], small.MTT)
    publish(world)
    follow(world)
    assert (donor.news(), recipient.news()) == ([(HELD[0], one, ENDED)], [])
    push(world, add=[HELD[0]], tax_id=small.MTT)
    publish(world)
    world.registrar.refresh(SERVICE, "u1", ADDRESS, DATA)
    assert (donor.news(), recipient.news()) == ([], [(HELD[0], one, TOLD)])


def test_nobody_is_told_without_an_agreement_that_says_so(world: World) -> None:
    """A user whom the operator did not confirm is not identified there either."""
    told = Told(world)
    registered(world, HELD[0])
    agree(world, identifications=False)
    registered(world, HELD[1], "u2")
    assert told.news() == []
    world.methods = "code"
    agree(world)
    registered(world, HELD[2], "u3")
    assert {number for number, _, _ in told.news()} == {HELD[0], HELD[1]}


def test_agreement_that_ends_takes_what_was_told_with_it_and_one_that_begins_tells_all(world: World) -> None:
    agree(world)
    one = registered(world, HELD[0])
    callers(world).end_agreement(SERVICE, operator_id(world), now=world.now)
    assert Told(world).news() == []
    registered(world, HELD[1], "u2")
    world.registrar.delete(SERVICE, "u2")
    agree(world)
    assert Told(world).news() == [(HELD[0], one, TOLD)]
    agree(world, identifications=False)
    assert Told(world).news() == []


def test_imported_users_are_told_as_others_are(world: World) -> None:
    agree(world)
    importer = importer_of(world)
    bring_in(importer, [user("u", HELD[0]), user("v", small.INACTIVE)])
    importer.close()
    assert [(number, ended) for number, _, ended in Told(world).news()] == [(HELD[0], TOLD)]


def test_what_ended_over_a_year_ago_is_forgotten(world: World) -> None:
    agree(world)
    kept, ended = registered(world, HELD[0]), registered(world, HELD[1], "u2")
    world.registrar.delete(SERVICE, "u2")
    assert [one for _, one, _ in Told(world).news()] == [kept, ended, ended]
    world.registrations.write(lambda work: work.forget_identifications(before_us=0))
    assert len(Told(world).news()) == 3
    world.registrations.write(lambda work: work.forget_identifications(before_us=2**60))
    assert [one for _, one, _ in Told(world).news()] == [kept]


def test_no_number_lies_open_in_the_outbox(world: World) -> None:
    agree(world)
    registered(world, HELD[0])
    world.store.close()
    content = b"".join(path.read_bytes() for path in sorted(world.data_dir.glob("numcheck.db*")))
    for form in (str(HELD[0]).encode(), HELD[0].to_bytes(8, "big"), HELD[0].to_bytes(8, "little")):
        assert form not in content


# --- at the boundary


@pytest.fixture
def node(data_dir: Path) -> Iterator[Node]:
    with serving(data_dir, env=SETTINGS) as one:
        yield one


def mts(channel: grpc.Channel) -> int:
    operators = CheckServiceStub(channel).ListOperators(ListOperatorsRequest()).operators
    return next(one.operator_id for one in operators if one.tax_id == small.MTS)


def watched(channel: grpc.Channel, operator: int, count: int, token: str = "") -> list[Any]:
    request = numbering_pb2.WatchIdentificationsRequest(operator_id=operator, resume_token=token)
    stream = NumberingServiceStub(channel).WatchIdentifications(request, timeout=DEADLINE_S)
    try:
        return [next(stream) for _ in range(count)]
    finally:
        stream.cancel()


def test_operator_follows_identifications_of_a_node_and_resumes(node: Node, data_dir: Path) -> None:
    with grpc.insecure_channel(node.address) as channel:
        operator, registrations = mts(channel), RegistrationServiceStub(channel)
        agreement = caller_pb2.Agreement(service=SERVICE, operator_id=operator, identifications=True)
        CallerServiceStub(channel).AddAgreement(caller_pb2.AddAgreementRequest(agreement=agreement))
        made = [
            registrations.Register(register_request(SERVICE, HELD[i], user_id=f"u{i}")).registration for i in range(2)
        ]
        first, second = watched(channel, operator, 2)
        told = first.identification
        assert (told.number, told.service, told.ended) == (HELD[0], SERVICE, False)
        assert told.user_code == made[0].registration_id
        assert abs(told.event_time.seconds - made[0].registered_at.seconds) <= 5
        assert watched(channel, operator, 1, first.resume_token) == [second]
        registrations.DeleteRegistration(pb.DeleteRegistrationRequest(service=SERVICE, user_id="u0"))
        (end,) = watched(channel, operator, 1, second.resume_token)
        assert (end.identification.user_code, end.identification.ended) == (told.user_code, True)
        for token in ("x", "-1", "7", end.resume_token[:-1] + "x", flipped(end), "9" * 30):
            refused = refusal(lambda token=token: watched(channel, operator, 1, token))
            assert refused.violations == [("resume_token", "BAD_RESUME_TOKEN")]
        assert refusal(lambda: watched(channel, 10**6, 1)).reason == "UNKNOWN_OPERATOR"
    line = ("registrations", "identifications", "--operator", str(operator), "--count", "3", "--data-dir", data_dir)
    printed = run(*line).out.splitlines()
    assert [one.split()[1:5] for one in printed] == [
        [str(HELD[0]), SERVICE, made[0].registration_id, "False"],
        [str(HELD[1]), SERVICE, made[1].registration_id, "False"],
        [str(HELD[0]), SERVICE, made[0].registration_id, "True"],
    ]
    assert "which is told whom it identifies" in run("callers", "list", "--data-dir", data_dir).out


def flipped(message: numbering_pb2.WatchIdentificationsResponse) -> str:
    """The token of a message under which another history stands."""
    place, _, digest = message.resume_token.rpartition("-")
    return f"{place}-{int(digest, 16) ^ 1:016x}"


def test_token_of_a_history_that_was_lost_resumes_nothing(data_dir: Path, tmp_path: Path) -> None:
    """A copy is restored that lacks what was told, and other messages come to the same places: the token of a lost one
    is refused, and never leads behind another one. Tokens of what is left are as good as before."""

    @contextmanager
    def called() -> Iterator[tuple[grpc.Channel, RegistrationServiceStub]]:
        with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
            yield channel, RegistrationServiceStub(channel)

    def register(stub: RegistrationServiceStub, place: int, user_id: str) -> str:
        request = register_request(SERVICE, HELD[place], user_id=user_id)
        return str(stub.Register(request, timeout=DEADLINE_S).registration.registration_id)

    def events(stub: RegistrationServiceStub, token: str, count: int) -> list[pb.WatchRegistrationsResponse]:
        asked = pb.WatchRegistrationsRequest(service=SERVICE, resume_token=token)
        call = stub.WatchRegistrations(asked, timeout=DEADLINE_S)
        found = [next(call) for _ in range(count + 1)][1:]
        call.cancel()
        return found

    with called() as (channel, stub):
        operator = mts(channel)
        agreement = caller_pb2.Agreement(service=SERVICE, operator_id=operator, identifications=True)
        CallerServiceStub(channel).AddAgreement(caller_pb2.AddAgreementRequest(agreement=agreement))
        register(stub, 0, "kept")
        kept_event, kept = events(stub, "0", 2)[-1], watched(channel, operator, 1)[0]
    shutil.copy(data_dir / "numcheck.db", tmp_path / "copy.db")
    with called() as (channel, stub):
        register(stub, 1, "lost")
        lost_event, lost = events(stub, kept_event.resume_token, 2)[-1], watched(channel, operator, 2)[-1]
    shutil.copy(tmp_path / "copy.db", data_dir / "numcheck.db")
    with called() as (channel, stub):
        code = register(stub, 2, "after")
        again = events(stub, kept_event.resume_token, 2)[-1]
        assert (again.event.registration_id, again.event.sequence) == (code, lost_event.event.sequence)
        told = refusal(lambda: events(stub, lost_event.resume_token, 1))
        assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_RESUME_TOKEN")
        (after,) = watched(channel, operator, 1, kept.resume_token)
        assert after.identification.user_code == code
        assert after.resume_token.split("-")[0] == lost.resume_token.split("-")[0]
        told = refusal(lambda: watched(channel, operator, 1, lost.resume_token))
        assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_RESUME_TOKEN")


class Ledger:
    """What was acknowledged, and what the operator was told, over the lives of a node."""

    def __init__(self) -> None:
        self.verified: set[str] = set()
        self.erased: set[str] = set()
        self.told: list[tuple[str, bool]] = []
        self.token, self.made = "", 0

    def register(self, stub: RegistrationServiceStub, count: int) -> list[Any]:
        """Have so many users registered; the calls, which nobody waits for."""
        users = range(self.made, self.made + count)
        self.made += count
        requests = [register_request(SERVICE, HELD[i % len(HELD)], user_id=f"u{i}") for i in users]
        return [stub.Register.future(one, timeout=DEADLINE_S) for one in requests]

    def erase_first(self, stub: RegistrationServiceStub, calls: list[Any]) -> str:
        """Erase the first of them; its code."""
        first = calls[0].result().registration
        request = pb.DeleteRegistrationRequest(service=SERVICE, user_id=first.user_id)
        stub.DeleteRegistration(request, timeout=DEADLINE_S)
        self.erased.add(first.registration_id)
        return str(first.registration_id)

    def follow(self, channel: grpc.Channel, operator: int, until: Callable[[], bool]) -> None:
        """Be told of what follows the last token."""
        request = numbering_pb2.WatchIdentificationsRequest(operator_id=operator, resume_token=self.token)
        stream = NumberingServiceStub(channel).WatchIdentifications(request, timeout=DEADLINE_S)
        while not until():
            message = next(stream)
            self.told.append((message.identification.user_code, message.identification.ended))
            self.token = message.resume_token
        stream.cancel()


def test_nothing_is_missed_whenever_the_node_is_killed(data_dir: Path) -> None:
    """Whoever was acknowledged as VERIFIED is told, and whoever was acknowledged as erased is told to have ended, to an
    operator that resumes over every kill; and nobody is invented."""
    ledger = Ledger()
    for life in range(4):
        with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
            operator, stub = mts(channel), RegistrationServiceStub(channel)
            if life == 0:
                agreement = caller_pb2.Agreement(service=SERVICE, operator_id=operator, identifications=True)
                CallerServiceStub(channel).AddAgreement(caller_pb2.AddAgreementRequest(agreement=agreement))
            calls = ledger.register(stub, 30)
            ended = ledger.erase_first(stub, calls), True
            ledger.follow(channel, operator, lambda ended=ended: ended in ledger.told)
            calls += ledger.register(stub, 30)
            node.process.signal(signal.SIGKILL)
            ended_calls = [call for call in calls if call.exception() is None]
            ledger.verified.update(call.result().registration.registration_id for call in ended_calls)
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        ledger.follow(channel, mts(channel), lambda: ledger.verified <= {code for code, _ in ledger.told})
        assert ledger.verified <= {code for code, ended in ledger.told if not ended}
        assert ledger.erased == {code for code, ended in ledger.told if ended}
        listed = pb.ListRegistrationsRequest(service=SERVICE, page_size=1_000)
        there = {one.registration_id for one in stub.ListRegistrations(listed, timeout=DEADLINE_S).registrations}
        assert {code for code, _ in ledger.told} <= there | ledger.erased


def test_told_numbers_are_sealed_anew_with_the_registrations(world: World, data_dir: Path) -> None:
    agree(world)
    one = registered(world, HELD[0])
    world.registrar.delete(SERVICE, "u1")
    write_keys(data_dir / "keys.json", world.keys.keyring, world.keys.signing_key)
    world.store.close()
    settings = Settings(data_dir=data_dir)
    rotate(settings, world.now)
    assert drop_old_keys(settings, world.now + timedelta(days=2)) == 1
    again = World(data_dir, keys=read_keys(data_dir / "keys.json"))
    assert Told(again).news() == [(HELD[0], one, TOLD), (HELD[0], one, ENDED)]
    again.close()
