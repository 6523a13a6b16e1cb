"""ImportRegistrations: users whom a service has already, at the public boundary and by the rules."""

import itertools
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numcheck.errors import ConcurrentImport, IndexBehind
from numcheck.moments import microseconds, moment
from numcheck.offline.audit import verify_events
from numcheck.registrations.importing import ImportedUser, Importer, Refusal
from numcheck.registrations.policy import Method
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.registrar import Filters
from numcheck.registrations.states import RegistrationState as S
from numcheck.status import NumberStatus
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import refusal
from tests.registrations.test_withdrawals import push
from tests.registrations.world import DATA, KEYS, SERVICE, START, World
from tests.serving import small
from tests.serving.command import NUMCHECK, PLAIN, Node, run, serving

YEAR = timedelta(days=365)
PROVED = START - timedelta(days=100)


def user(user_id: str, number: int = small.ACTIVE, **moments: datetime | None) -> ImportedUser:
    given_us = {name: 0 if at is None else microseconds(at) for name, at in moments.items()}
    record = Record(user_id, number, {"login": user_id}, NetworkAddress("203.0.113.7", 0), DATA)
    whole = {"registered": microseconds(PROVED), "refreshed": 0, "proved": microseconds(PROVED), **given_us}
    return ImportedUser(user_id, number, record.to_bytes(), whole["registered"], whole["refreshed"], whole["proved"])


@pytest.fixture
def importer(world: World) -> Iterator[Importer]:
    one = importer_of(world)
    yield one
    one.close()


def importer_of(world: World) -> Importer:
    return Importer(world.registrations, world.vault, world.registrar, world.around, steady=world.steady)


def bring_in(importer: Importer, rows: list[ImportedUser | Refusal], import_id: str = "i") -> Any:
    one = importer.begin(SERVICE, import_id, sends_codes=False)
    return importer.take(one, [lambda: rows])


def registrations(world: World) -> dict[str, Any]:
    page = world.registrar.page(SERVICE, Filters(), size=1_000, place=None)
    return {one.record.user_id: one for one in page.registrations}


# --- by the rules


def test_a_row_stands_where_its_proof_and_the_operators_data_lead(each_world: World) -> None:
    """E.1: VERIFIED takes the operator's data and the proof of possession, both; every row and event is bound."""
    importer = importer_of(each_world)
    rows = {
        "verified": (user("verified"), S.VERIFIED),
        "unproved": (user("unproved", proved=None), S.PENDING),
        "inactive": (user("inactive", small.INACTIVE), S.REJECTED),
        "inactive, unproved": (user("inactive, unproved", small.INACTIVE, proved=None), S.REJECTED),
        "unknown": (user("unknown", small.UNKNOWN), S.PENDING),
        "old data": (user("old data", small.OLD), S.VERIFIED),  # of within the policy's year
        "overdue": (user("overdue", registered=START - YEAR), S.OVERDUE),
        "not yet": (user("not yet", 79160000000, registered=START - YEAR + timedelta(microseconds=1)), S.VERIFIED),
    }
    taken = bring_in(importer, [one for one, _ in rows.values()])
    assert taken.refused == []
    found = registrations(each_world)
    assert {name: one.state for name, one in found.items()} == {name: state for name, (_, state) in rows.items()}
    assert found["verified"].row.registered_at_us == microseconds(PROVED)
    proof, answer = found["verified"].evidence
    assert (proof.method, proof.imported, proof.verified_at_us) == (Method.CODE, True, microseconds(PROVED))
    assert (answer.method, answer.imported, answer.answer) == (Method.OPERATOR, False, NumberStatus.ACTIVE)
    assert [one.method for one in found["inactive"].evidence] == [Method.OPERATOR]
    assert found["unproved"].evidence == ()
    assert verify_events(each_world.store, KEYS, None).event_count == len(rows) + 1
    importer.close()


def test_without_an_agreement_the_operators_data_verifies_nobody(data_dir: Path) -> None:
    """I.5."""
    world = World(data_dir, agreed=lambda _service, _operator_id: False)
    importer = importer_of(world)
    bring_in(importer, [user("u")])
    assert registrations(world)["u"].state is S.PENDING
    importer.close()
    world.close()


def test_what_comes_again_is_there_already_and_other_content_is_refused(world: World, importer: Importer) -> None:
    """I.2a: one registration for a user, in a chunk, in an import and in another."""
    first = bring_in(importer, [user("u"), user("u"), user("u", small.INACTIVE)])
    assert first.after.progress == (3, 1, 1, 1)
    assert first.refused == [(2, "REGISTRATION_EXISTS", "user_id")]
    again = bring_in(importer, [user("u"), user("u", proved=None), user("v")])
    assert again.after.progress == (6, 2, 2, 2)
    assert again.refused == [(4, "REGISTRATION_EXISTS", "user_id")]
    other = bring_in(importer, [user("u"), user("v")], "another")
    assert other.after.progress == (2, 0, 2, 0)
    assert len(registrations(world)) == 2
    assert list(importer.refused_before(again.after)) == [[*first.refused, *again.refused]]


def test_a_user_who_registered_by_themselves_is_not_imported(world: World, importer: Importer) -> None:
    world.register(small.ACTIVE, "u")
    taken = bring_in(importer, [user("u")])
    assert taken.refused == [(0, "REGISTRATION_EXISTS", "user_id")]


def test_two_calls_of_an_import_do_not_both_go_on(importer: Importer) -> None:
    one = importer.begin(SERVICE, "i", sends_codes=False)
    importer.take(one, [lambda: [user("u")]])
    with pytest.raises(ConcurrentImport):
        importer.take(one, [lambda: [user("v")]])


def test_nothing_is_recorded_by_data_from_before_a_withdrawal(world: World, importer: Importer) -> None:
    """What takes the number behind the index's back has passed by already: the call is refused as a whole."""
    push(world, remove=[small.ACTIVE])
    with pytest.raises(IndexBehind):
        bring_in(importer, [user("v", small.INACTIVE), user("u")])
    assert registrations(world) == {}


names = map(str, itertools.count())  # never the same again, whatever Hypothesis tries
moments = st.integers(-1_000, 200).map(lambda days: START + timedelta(days=days))
moments |= st.integers(-400_000_000, 400_000_000).map(lambda us: START + timedelta(microseconds=us))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(moments, st.none() | moments, st.none() | moments), min_size=1, max_size=20))
def test_no_due_time_is_later_than_a_year_after_the_information_was_taken(
    world: World, importer: Importer, rows: list[tuple[datetime, datetime | None, datetime | None]]
) -> None:
    """I.6: whatever the moments; those in the future, or out of order, are refused by their field."""
    users = [user(next(names), registered=at, refreshed=refreshed, proved=proved) for at, refreshed, proved in rows]
    taken = bring_in(importer, list(users), next(names))
    refused = {place: field for place, _, field in taken.refused}
    latest = world.now + timedelta(minutes=5)
    found = registrations(world)
    for place, (one, (registered, refreshed, proved)) in enumerate(zip(users, rows, strict=True)):
        fields = {"registered_at": registered, "refreshed_at": refreshed or registered, "possession_proved_at": proved}
        wrong = {name for name, at in fields.items() if at is not None and at > latest}
        wrong |= {"refreshed_at"} if (refreshed or registered) < registered else set()
        assert (refused.get(place) in wrong) == bool(wrong)
        if wrong:
            continue
        made = found[one.user_id]
        due, since = moment(made.row.due_at_us), min(fields["refreshed_at"] or registered, world.now)
        assert due <= since + YEAR
        assert (made.state is S.OVERDUE) == (due <= world.now)
        assert due == since + YEAR or due >= world.now + timedelta(days=30) - timedelta(milliseconds=1)


def test_due_times_of_one_day_are_spread_over_the_year(world: World, importer: Importer) -> None:
    """I.6: a thousand users whose information was taken on one day fall due on hundreds of days."""
    bring_in(importer, [user(f"u{place}", registered=START, proved=START) for place in range(1_000)])
    due = [moment(one.row.due_at_us) for one in registrations(world).values()]
    assert START + timedelta(days=30) <= min(due) < START + timedelta(days=60)
    assert START + timedelta(days=335) < max(due) <= START + YEAR
    per_day = Counter(one.date() for one in due)
    assert len(per_day) > 250
    assert max(per_day.values()) < 20


def test_bulk_verification_leaves_spread_due_times_and_writes_no_event_of_them(
    world: World, importer: Importer
) -> None:
    """A spread due time is not taken for one that waits for a confirmation."""
    world.policy = {**world.policy, "users_per_number_max": 20}
    bring_in(importer, [user(f"u{place}") for place in range(20)])
    due = {name: one.row.due_at_us for name, one in registrations(world).items()}
    kinds = world.kinds()
    (progress,) = world.reverifier.run(SERVICE, due_before=None, place=b"")
    assert (progress.checked, progress.confirmed) == (20, 20)
    assert {name: one.row.due_at_us for name, one in registrations(world).items()} == due
    assert world.kinds() == kinds


# --- at the boundary


def row(place: int, number: int | str = small.ACTIVE, **fields: Any) -> pb.ImportedRegistration:
    whole = {
        "user_id": f"u{place}",
        "number": f"+{number}" if isinstance(number, int) else number,
        "network_address": pb.NetworkAddress(address="203.0.113.7"),
        "registration_data": {"name": "Иванов"},
        "registered_at": Timestamp(seconds=1_780_000_000),
        "possession_proved_at": Timestamp(seconds=1_780_000_100),
        **fields,
    }
    return pb.ImportedRegistration(**whole)


def header(import_id: str = "i", service: str = SERVICE, **fields: Any) -> pb.ImportRegistrationsRequest:
    made = pb.ImportHeader(service=service, import_id=import_id, **fields)
    return pb.ImportRegistrationsRequest(header=made)


def part(*rows: pb.ImportedRegistration) -> pb.ImportRegistrationsRequest:
    return pb.ImportRegistrationsRequest(rows=rows)


NODE = {
    "NUMCHECK_EVIDENCE_AGE_MAX_S": "0",
    "NUMCHECK_CODE_DELIVERY": "console",
    "NUMCHECK_USERS_PER_NUMBER_MAX": "1000",  # many of the rows have the same number
}


@pytest.fixture(scope="module", params=["native", "plain"])
def node(request: pytest.FixtureRequest, small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp("imports") / "var")
    command = PLAIN if request.param == "plain" else NUMCHECK
    with serving(data_dir, env=NODE, command=(*command, "serve")) as one:
        yield one


@pytest.fixture
def stub(node: Node) -> Iterator[RegistrationServiceStub]:
    with grpc.insecure_channel(node.address) as channel:
        yield RegistrationServiceStub(channel)


HOSTILE: dict[str, tuple[pb.ImportedRegistration, str, str]] = {
    "nothing": (pb.ImportedRegistration(), "NOT_A_NUMBER", "number"),
    "no number": (row(1, "call me"), "NOT_A_NUMBER", "number"),
    "two lines": (row(1, "+79161234567\n+79161234568"), "NOT_A_NUMBER", "number"),
    "fixed line": (row(1, small.NOT_MOBILE), "NUMBER_NOT_MOBILE", "number"),
    "unallotted": (row(1, small.UNALLOCATED), "NUMBER_NOT_ALLOTTED", "number"),
    "no user": (row(1, user_id=""), "BAD_REGISTRATION", "user_id"),
    "a long user": (row(1, user_id="x" * 257), "BAD_REGISTRATION", "user_id"),
    "a control character": (row(1, user_id="a\x1b[2Jb"), "BAD_REGISTRATION", "user_id"),
    "an override": (row(1, identifier={"login": "a\u202eb"}), "BAD_REGISTRATION", "identifier"),
    "a huge identifier": (row(1, identifier={"a": "x" * 4_096}), "BAD_REGISTRATION", "identifier"),
    "no data": (row(1, registration_data={}), "BAD_REGISTRATION", "registration_data"),
    "huge data": (row(1, registration_data={"a": "x" * 16_384}), "BAD_REGISTRATION", "registration_data"),
    "no address": (row(1, network_address=None), "BAD_REGISTRATION", "network_address"),
    "a name": (
        row(1, network_address=pb.NetworkAddress(address="localhost")),
        "BAD_REGISTRATION",
        "network_address.address",
    ),
    "a port": (
        row(1, network_address=pb.NetworkAddress(address="::1", port=65_536)),
        "BAD_REGISTRATION",
        "network_address.port",
    ),
    "the future": (row(1, registered_at=Timestamp(seconds=2_000_000_000_0)), "BAD_REGISTRATION", "registered_at"),
    "before 1970": (row(1, refreshed_at=Timestamp(seconds=-1)), "BAD_REGISTRATION", "refreshed_at"),
    "no moment": (
        row(1, possession_proved_at=Timestamp(seconds=1, nanos=-1)),
        "BAD_REGISTRATION",
        "possession_proved_at",
    ),
    "no year": (row(1, registered_at=Timestamp(seconds=2**62)), "BAD_REGISTRATION", "registered_at"),
    "refreshed before": (row(1, refreshed_at=Timestamp(seconds=1_770_000_000)), "BAD_REGISTRATION", "refreshed_at"),
}


def test_each_hostile_row_is_refused_alone_and_the_others_go_in(stub: RegistrationServiceStub) -> None:
    """I.1, I.4: with reason and field; a port may be missing."""
    rows = [one for place, (bad, _, _) in enumerate(HOSTILE.values()) for one in (bad, row(1_000 + place))]
    answers = [*stub.ImportRegistrations(iter([header("hostile", "hostile"), part(*rows)]))]
    assert [one.row_count for one in answers] == [0, len(rows)]
    last = answers[-1]
    told = [(one.row, one.reason, one.field) for one in last.refused]
    assert told == [(2 * place, reason, field) for place, (_, reason, field) in enumerate(HOSTILE.values())]
    assert (last.made_count, last.already_count, last.refused_count) == (len(HOSTILE), 0, len(HOSTILE))
    summary = stub.SummarizeRegistrations(pb.SummarizeRegistrationsRequest(service="hostile"))
    counts = {one.state: one.registration_count for one in summary.states}
    assert counts == {
        pb.REGISTRATION_STATE_PENDING: 0,
        pb.REGISTRATION_STATE_VERIFIED: len(HOSTILE),
        pb.REGISTRATION_STATE_REJECTED: 0,
        pb.REGISTRATION_STATE_OVERDUE: 0,
        pb.REGISTRATION_STATE_REVOKED: 0,
    }


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([part(row(1))], "header"),
        ([header(service="M!")], "service"),
        ([header("")], "header.import_id"),
        ([header("x" * 129)], "header.import_id"),
        ([header("twice"), header("twice")], "header"),
        ([header("many"), part(*[pb.ImportedRegistration()] * 10_001)], "rows"),
    ],
)
def test_a_call_that_cannot_be_is_refused_with_its_field(
    stub: RegistrationServiceStub, requests: list[Any], field: str
) -> None:
    found = refusal(lambda: [*stub.ImportRegistrations(iter(requests))])
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REGISTRATION")
    assert found.violations == [(field, "BAD_REGISTRATION")]


def test_an_answer_comes_before_the_next_message_is_sent(stub: RegistrationServiceStub) -> None:
    """A caller who waits for each answer is answered: the header at once, and each message once it is durable."""
    go_on = threading.Semaphore(0)

    def requests() -> Iterator[pb.ImportRegistrationsRequest]:
        yield header("slow", "slow")
        for place in range(3):
            assert go_on.acquire(timeout=60)
            yield part(row(place))
        assert go_on.acquire(timeout=60)

    counts = []
    for answer in stub.ImportRegistrations(requests(), timeout=60):
        counts.append(answer.row_count)
        go_on.release()
    assert counts == [0, 1, 2, 3]


def test_codes_are_sent_only_if_asked_for(node: Node, stub: RegistrationServiceStub) -> None:
    """And only to who is PENDING: what a registration's newest event says."""
    unproved = part(row(1, small.UNKNOWN + 7, possession_proved_at=None), row(2))

    def kinds(service: str) -> list[int]:
        watch = stub.WatchRegistrations(pb.WatchRegistrationsRequest(service=service, resume_token="0"))
        sequence = next(watch).head.sequence
        found = [next(watch).event.kind for _ in range(sequence)]
        watch.cancel()
        return found

    [*stub.ImportRegistrations(iter([header("quiet", "quiet"), unproved]))]
    registered, confirmed = pb.REGISTRATION_EVENT_KIND_REGISTERED, pb.REGISTRATION_EVENT_KIND_CONFIRMED
    assert kinds("quiet") == [registered, confirmed]
    [*stub.ImportRegistrations(iter([header("loud", "loud", send_codes=True), unproved]))]
    assert kinds("loud") == [registered, confirmed, pb.REGISTRATION_EVENT_KIND_STARTED]


def test_an_import_that_is_killed_goes_on_and_each_row_counts_once(data_dir: Path) -> None:
    """R1: a node that is killed amid an import holds what it has answered, and the rest comes once."""
    parts = [part(*(row(100 * place + one) for one in range(100)), row(0, "bad")) for place in range(20)]

    killed = threading.Event()

    def requests(first: int) -> Iterator[pb.ImportRegistrationsRequest]:
        yield header()
        yield from parts[first:10]
        assert killed.wait(60)  # so that it does not come to its end before
        yield from parts[max(first, 10) :]

    with serving(data_dir, env=NODE) as node, grpc.insecure_channel(node.address) as channel:
        answers = RegistrationServiceStub(channel).ImportRegistrations(requests(0))
        told = [next(answers).row_count for _ in range(4)]
        node.process.signal(signal.SIGKILL)
        killed.set()
        with pytest.raises(grpc.RpcError):
            told += (answer.row_count for answer in answers)
    with serving(data_dir, env=NODE) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        (begun, *before) = stub.ImportRegistrations(iter([header()]))
        assert begun.row_count >= told[-1]
        assert begun.row_count % 101 == 0
        refused = [one.row for answer in before for one in answer.refused]
        assert refused == [*range(100, begun.row_count, 101)]
        last = [*stub.ImportRegistrations(requests(begun.row_count // 101))][-1]
        assert (last.row_count, last.made_count, last.already_count) == (2_020, 2_000, 0)
        assert last.refused_count == 20
        request = pb.ListRegistrationsRequest(service=SERVICE, page_size=1_000)
        users: list[str] = []
        while True:
            page = stub.ListRegistrations(request)
            users += [one.user_id for one in page.registrations]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert sorted(users) == sorted(f"u{place}" for place in range(2_000))
    assert run("events", "verify", "--data-dir", data_dir).status == 0
