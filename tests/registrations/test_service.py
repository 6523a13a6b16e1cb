"""RegistrationService at the public boundary: a real node on a real port, killed where it matters."""

import hashlib
import itertools
import json
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.client import CallerClient
from numcheck.store.store import FILE_NAME
from numcheck.v1 import check_pb2, number_pb2
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import Refusal, call_raw, refusal
from tests.serving import small
from tests.serving.command import Node, run, serving

SETTINGS = {
    "NUMCHECK_CODE_DELIVERY": "console",
    "NUMCHECK_EVIDENCE_AGE_MAX_S": "0",
    "NUMCHECK_VERIFICATION_METHODS": "operator,code",
}
METHODS = ("Register", "GetRegistration", "ListRegistrations", "DeleteRegistration", "RefreshRegistration")
METHODS += ("StartVerification", "CompleteVerification", "ChangeNumber")


@pytest.fixture(scope="module")
def node_dir(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(small_dir, tmp_path_factory.mktemp("node") / "var")


@pytest.fixture(scope="module")
def node(node_dir: Path) -> Iterator[Node]:
    """One node for all: each test is a service of its own, and each number that gets a code a number of its own."""
    with serving(node_dir, env=SETTINGS) as one:
        yield one


@pytest.fixture(scope="module")
def channel(node: Node) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(node.address) as one:
        yield one


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> RegistrationServiceStub:
    return RegistrationServiceStub(channel)


@pytest.fixture
def service(request: pytest.FixtureRequest) -> str:
    """The test's own."""
    return hashlib.sha256(request.node.name.encode()).hexdigest()[:32]


numbers = itertools.count(small.UNKNOWN)


def register_request(service: str, number: int | str = small.ACTIVE, **fields: object) -> pb.RegisterRequest:
    return pb.RegisterRequest(
        **{  # type: ignore[arg-type]
            "service": service,
            "user_id": "u1",
            "number": f"+{number}" if isinstance(number, int) else number,
            "identifier": {"login": "ivan"},
            "network_address": pb.NetworkAddress(address="203.0.113.7", port=50812),
            "registration_data": {"name": "Иванов"},
            **fields,
        }
    )


def get(stub: RegistrationServiceStub, service: str) -> pb.Registration:
    return stub.GetRegistration(pb.GetRegistrationRequest(service=service, user_id="u1")).registration


def code_of(node: Node) -> str:
    """The newest code that the node's console showed."""
    node.process.line_with("code for the number")
    (code,) = re.findall(r": (\d{6})$", [line for line in node.process.lines if "code for" in line][-1])
    return code


def test_a_user_is_registered_confirmed_and_read_back_after_a_kill(data_dir: Path, service: str) -> None:
    """I.2 to I.4: what was acknowledged is there after SIGKILL, every field of it, and a retry gets it."""
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        request = register_request(service, "8 (916) 123-45-67", request_id="r1")
        made = RegistrationServiceStub(channel).Register(request)
        node.process.signal(signal.SIGKILL)
    registration = made.registration
    assert (registration.service, registration.user_id, registration.number) == (service, "u1", small.ACTIVE)
    assert dict(registration.identifier) == {"login": "ivan"}
    assert dict(registration.registration_data) == {"name": "Иванов"}
    assert (registration.network_address.address, registration.network_address.port) == ("203.0.113.7", 50812)
    assert registration.state == pb.REGISTRATION_STATE_VERIFIED
    assert registration.evidence[0].answer == number_pb2.NUMBER_STATUS_ACTIVE
    assert registration.evidence[0].data_time.ToDatetime().isoformat() == "2026-08-19T12:00:00"
    assert registration.due_at.seconds - registration.registered_at.seconds == 365 * 86_400
    assert made.verification.state == pb.VERIFICATION_STATE_CONFIRMED
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        assert get(stub, service) == registration
        assert stub.Register(request).registration == registration


def test_a_change_of_number_outlives_kills_and_is_done_once(data_dir: Path, service: str) -> None:
    """While it waits the old number stands; repeated, it sends no second code; what is done is done, and told."""
    old, new = small.ACTIVE, next(numbers)
    asked = pb.ChangeNumberRequest(
        service=service,
        request_id="c1",
        user_id="u1",
        number=f"+{new}",
        network_address=pb.NetworkAddress(address="198.51.100.9", port=1),
    )
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        made = stub.Register(register_request(service, old)).registration
        begun = stub.ChangeNumber(asked)
        assert begun.registration == made == get(stub, service)
        code = code_of(node)
        node.process.signal(signal.SIGKILL)
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        assert stub.ChangeNumber(asked) == begun
        assert get(stub, service) == made
        proof = pb.CompleteVerificationRequest(
            service=service, verification_id=begun.verification.verification_id, code=code
        )
        done = stub.CompleteVerification(proof).registration
        node.process.signal(signal.SIGKILL)
        assert not [line for line in node.process.lines if "code for" in line]
    assert (done.number, done.state, done.registration_id) == (new, made.state, made.registration_id)
    assert done.network_address == asked.network_address
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        assert get(stub, service) == done == stub.CompleteVerification(proof).registration
        again = stub.ChangeNumber(asked)
        assert (again.registration, again.verification.state) == (done, pb.VERIFICATION_STATE_CONFIRMED)
        told = stub.WatchRegistrations(pb.WatchRegistrationsRequest(service=service, resume_token="0"))
        kinds = [pb.RegistrationEventKind.Name(one.event.kind)[24:] for one in itertools.islice(told, 1, 5)]
        told.cancel()
    assert kinds == ["REGISTERED", "CONFIRMED", "CHANGE_STARTED", "CHANGED"]
    assert run("events", "verify", "--data-dir", data_dir).status == 0


def test_a_code_that_comes_back_verifies(node: Node, stub: RegistrationServiceStub, service: str) -> None:
    """II.2: sent to the number, typed, and the registration is VERIFIED; the same answer again for the same code."""
    made = stub.Register(register_request(service, next(numbers)))
    assert made.registration.state == pb.REGISTRATION_STATE_PENDING
    assert (made.verification.method, made.verification.state) == (
        pb.VERIFICATION_METHOD_CODE,
        pb.VERIFICATION_STATE_WAITING,
    )
    assert made.verification.expires_at.seconds - made.registration.registered_at.seconds == 300
    assert made.verification.next_code_at.seconds - made.registration.registered_at.seconds == 60
    complete = pb.CompleteVerificationRequest(
        service=service, verification_id=made.verification.verification_id, code=code_of(node)
    )
    done = stub.CompleteVerification(complete).registration
    assert done.state == pb.REGISTRATION_STATE_VERIFIED
    assert done.evidence[0].method == pb.VERIFICATION_METHOD_CODE
    assert stub.CompleteVerification(complete).registration == done
    assert get(stub, service) == done


def test_a_wrong_an_unknown_a_malformed_and_a_strangers_proof_look_the_same(
    node: Node, stub: RegistrationServiceStub, service: str
) -> None:
    """R8: to the last byte of the error, but for what is left of a verification that the caller knows."""
    made = stub.Register(register_request(service, next(numbers)))
    own, code = made.verification.verification_id, code_of(node)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    requests = [
        pb.CompleteVerificationRequest(service=service, verification_id=own, code=wrong),
        pb.CompleteVerificationRequest(service=service, verification_id="00" * 16, code=code),
        pb.CompleteVerificationRequest(service=service, verification_id="no hex", code=code),
        pb.CompleteVerificationRequest(service="other", verification_id=own, code=code),
        pb.CompleteVerificationRequest(service=service, verification_id=own, code=wrong),
        pb.CompleteVerificationRequest(service=service, verification_id=own, code=wrong),
        pb.CompleteVerificationRequest(service=service, verification_id=own, code=code),  # the fourth try
    ]
    refusals = [refusal(lambda one=request: stub.CompleteVerification(one)) for request in requests]
    assert len({str(one._replace(metadata={})) for one in refusals}) == 1
    told = [one.metadata.get("tries_left") for one in refusals]
    assert told == ["2", None, None, None, "1", "0", "0"], "who knows the verification is told what is left of it"
    assert "PROOF_NOT_ACCEPTED" in refusals.pop()
    assert get(stub, service).state == pb.REGISTRATION_STATE_PENDING


@pytest.mark.parametrize(
    ("fields", "code", "reason", "field"),
    [
        ({"number": "+74951234567"}, "INVALID_ARGUMENT", "NUMBER_NOT_MOBILE", "number"),
        ({"number": f"+{small.UNALLOCATED}"}, "INVALID_ARGUMENT", "NUMBER_NOT_ALLOTTED", "number"),
        ({"number": "call me"}, "INVALID_ARGUMENT", "NOT_A_NUMBER", "number"),
        ({"service": ""}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "service"),
        ({"service": "x" * 129}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "service"),
        ({"user_id": ""}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "user_id"),
        ({"service": "My Shop"}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "service"),
        ({"user_id": "ж" * 129}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "user_id"),
        ({"request_id": "x" * 129}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "request_id"),
        ({"identifier": {"a": "x" * 4_096}}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "identifier"),
        ({"registration_data": {}}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "registration_data"),
        ({"registration_data": {"a": "x" * 16_384}}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "registration_data"),
        ({"network_address": None}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "network_address"),
        (
            {"network_address": pb.NetworkAddress(address="example.org", port=1)},
            "INVALID_ARGUMENT",
            "BAD_REGISTRATION",
            "network_address.address",
        ),
        (
            {"network_address": pb.NetworkAddress(address="::1", port=65_536)},
            "INVALID_ARGUMENT",
            "BAD_REGISTRATION",
            "network_address.port",
        ),
        *(
            ({"user_id": f"ivan{mark}petrov"}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "user_id")
            for mark in ("\0", "\n", "\x1b[31m", "\x9b", "\u2028", "\u202e", "\u2066", "\u061c")
        ),
        ({"identifier": {"log\nin": "ivan"}}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "identifier"),
        ({"identifier": {"login": "\u202enavi"}}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "identifier"),
        ({"code_channel": 9}, "INVALID_ARGUMENT", "BAD_REGISTRATION", "code_channel"),
    ],
)
def test_a_request_that_cannot_be_is_refused_with_its_field(
    stub: RegistrationServiceStub, service: str, fields: dict[str, object], code: str, reason: str, field: str
) -> None:
    """I.1, I.4: nothing is recorded."""
    refused = refusal(lambda: stub.Register(register_request(**{"service": service, **fields})))  # type: ignore[arg-type]
    assert (refused.code.name, refused.reason, refused.violations) == (code, reason, [(field, reason)])
    assert not stub.ListRegistrations(pb.ListRegistrationsRequest(service=service)).registrations


def test_a_network_address_may_lack_its_port(stub: RegistrationServiceStub, service: str) -> None:
    """I.4b, as far as it was kept: old databases have addresses alone."""
    address = pb.NetworkAddress(address="203.0.113.7")
    stub.Register(register_request(service, network_address=address))
    read = stub.GetRegistration(pb.GetRegistrationRequest(service=service, user_id="u1")).registration
    assert read.network_address == address


def test_what_is_no_code_or_has_no_word_is_refused_by_its_field_and_costs_no_try(
    stub: RegistrationServiceStub, service: str, node: Node
) -> None:
    number = next(numbers)
    made = stub.Register(register_request(service, number))
    wanted = {"service": service, "verification_id": made.verification.verification_id}
    for code in ("", "12345", "1234567", "no code", "O42917"):
        refused = refusal(
            lambda one=code: stub.CompleteVerification(pb.CompleteVerificationRequest(**wanted, code=one))
        )
        assert refused.violations == [("code", "BAD_REGISTRATION")]
    act = pb.InboundAct(from_number=f"+{number}", text="Спасибо!", received_at=Timestamp(seconds=1))
    refused = refusal(lambda: stub.CompleteVerification(pb.CompleteVerificationRequest(**wanted, inbound_act=act)))
    assert refused.violations == [("inbound_act.text", "BAD_REGISTRATION")]
    code = code_of(node)
    typed = f" {code[:3]}\u00a0{code[3:]}\n"
    done = stub.CompleteVerification(pb.CompleteVerificationRequest(**wanted, code=typed)).registration
    assert done.state == pb.REGISTRATION_STATE_VERIFIED


def test_what_is_not_there_is_not_found(stub: RegistrationServiceStub, service: str) -> None:
    asked = {"service": service, "user_id": "nobody"}
    address = pb.NetworkAddress(address="::1", port=1)
    calls = [
        lambda: stub.GetRegistration(pb.GetRegistrationRequest(**asked)),
        lambda: stub.DeleteRegistration(pb.DeleteRegistrationRequest(**asked)),
        lambda: stub.StartVerification(pb.StartVerificationRequest(**asked)),
        lambda: stub.RefreshRegistration(
            pb.RefreshRegistrationRequest(**asked, network_address=address, registration_data={"a": "b"})
        ),
        lambda: stub.ChangeNumber(pb.ChangeNumberRequest(**asked, number="+79161234567", network_address=address)),
    ]
    found: list[Refusal] = [refusal(call) for call in calls]
    assert {(one.code.name, one.reason) for one in found} == {("NOT_FOUND", "UNKNOWN_REGISTRATION")}


def test_pages_and_filters_over_the_api(stub: RegistrationServiceStub, service: str) -> None:
    for place in range(5):
        stub.Register(register_request(service, small.ACTIVE if place % 2 else small.INACTIVE, user_id=f"u{place}"))
    asked = pb.ListRegistrationsRequest(service=service, page_size=2)
    users = []
    while True:
        page = stub.ListRegistrations(asked)
        users += [one.user_id for one in page.registrations]
        if not page.next_page_token:
            break
        asked.page_token = page.next_page_token
    assert users == ["u0", "u1", "u2", "u3", "u4"]
    rejected = pb.ListRegistrationsRequest(service=service, states=[pb.REGISTRATION_STATE_REJECTED])
    assert [one.user_id for one in stub.ListRegistrations(rejected).registrations] == ["u0", "u2", "u4"]
    of_number = pb.ListRegistrationsRequest(service=service, number="8 916 123-45-67")
    assert [one.user_id for one in stub.ListRegistrations(of_number).registrations] == ["u1", "u3"]
    due = pb.ListRegistrationsRequest(service=service, due_before=Timestamp(seconds=1))
    assert not stub.ListRegistrations(due).registrations
    third = stub.ListRegistrations(pb.ListRegistrationsRequest(service=service)).registrations[2]
    since = pb.ListRegistrationsRequest(service=service, registered_after=third.registered_at)
    assert [one.user_id for one in stub.ListRegistrations(since).registrations] == ["u3", "u4"]
    for token in ("AAAA", "?", "_" * 32):
        bad = pb.ListRegistrationsRequest(service=service, page_token=token, due_before=Timestamp(seconds=1))
        assert refusal(lambda one=bad: stub.ListRegistrations(one)).violations == [("page_token", "BAD_REGISTRATION")]


def test_page_token_counts_only_as_it_was_given_out_and_with_its_own_filters(
    stub: RegistrationServiceStub, service: str
) -> None:
    """AIP-158: the page after goes by what the page before was asked for; only how much it holds may change."""
    for place in range(3):
        stub.Register(register_request(service, user_id=f"u{place}"))
    token = stub.ListRegistrations(pb.ListRegistrationsRequest(service=service, page_size=1)).next_page_token
    assert (
        len(stub.ListRegistrations(pb.ListRegistrationsRequest(service=service, page_token=token)).registrations) == 2
    )
    for changes in (
        {"service": f"{service}x"},
        {"states": [pb.REGISTRATION_STATE_VERIFIED]},
        {"number": "+7 916 123-45-67"},
        {"due_before": Timestamp(seconds=4_000_000_000)},
        {"registered_after": Timestamp(seconds=1)},
        {"page_token": f"!!!{token}"},
        {"page_token": f"{token}\n"},
        {"page_token": token[:-1]},
        {"page_token": f"ж{token}"},
    ):
        asked = pb.ListRegistrationsRequest(**{"service": service, "page_token": token, **changes})  # type: ignore[arg-type]
        assert refusal(lambda one=asked: stub.ListRegistrations(one)).violations == [("page_token", "BAD_REGISTRATION")]


@pytest.mark.parametrize("token", [" ", "ff", "FF" * 16, "ff " * 16, "zz" * 16])
def test_resume_token_that_no_reverification_gave_out_is_refused(
    stub: RegistrationServiceStub, service: str, token: str
) -> None:
    asked = pb.ReverifyRegistrationsRequest(service=service, resume_token=token)
    found = refusal(lambda: list(stub.ReverifyRegistrations(asked)))
    assert found.violations == [("resume_token", "BAD_REGISTRATION")]


def test_number_that_an_inbound_act_cannot_have_come_from_is_named_where_it_stands(
    stub: RegistrationServiceStub, service: str
) -> None:
    act = pb.InboundAct(from_number="nobody", received_at=Timestamp(seconds=1))
    asked = pb.CompleteVerificationRequest(service=service, verification_id="00" * 16, inbound_act=act)
    found = refusal(lambda: stub.CompleteVerification(asked))
    assert found.violations == [("inbound_act.from_number", "NOT_A_NUMBER")]


@pytest.mark.parametrize("state", [0, pb.REGISTRATION_STATE_DELETED, 7, -1])
def test_a_state_that_nothing_is_listed_in_is_refused(stub: RegistrationServiceStub, service: str, state: int) -> None:
    """Also where somebody was erased: an erased registration is in no list."""
    stub.Register(register_request(service))
    stub.DeleteRegistration(pb.DeleteRegistrationRequest(service=service, user_id="u1"))
    asked = pb.ListRegistrationsRequest(service=service, states=[pb.REGISTRATION_STATE_VERIFIED, state])  # type: ignore[list-item]
    assert refusal(lambda: stub.ListRegistrations(asked)).violations == [("states", "BAD_REGISTRATION")]


def test_a_state_that_is_said_300000_times_is_one(stub: RegistrationServiceStub, service: str) -> None:
    stub.Register(register_request(service))
    states = [pb.REGISTRATION_STATE_VERIFIED, pb.REGISTRATION_STATE_REVOKED] * 150_000
    asked = pb.ListRegistrationsRequest(service=service, states=states)
    assert len(stub.ListRegistrations(asked).registrations) == 1


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel, method: str) -> None:
    service = "/numcheck.v1.RegistrationService"
    assert refusal(lambda: call_raw(channel, method, b"\xff", service)).reason == "MALFORMED_MESSAGE"


def test_an_erased_user_is_gone_and_the_chain_verifies(data_dir: Path, service: str) -> None:
    """Erased over the API, verified by the auditor's command while the node runs."""
    with serving(data_dir, env=SETTINGS) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        stub.Register(register_request(service))
        stub.DeleteRegistration(pb.DeleteRegistrationRequest(service=service, user_id="u1"))
        assert refusal(lambda: get(stub, service)).reason == "UNKNOWN_REGISTRATION"
        assert stub.Register(register_request(service)).registration.state == pb.REGISTRATION_STATE_VERIFIED
        verified = run("events", "verify", "--data-dir", data_dir)
        assert (verified.status, verified.out.split(" are ")[0]) == (0, "9 events")
    exported, head = data_dir / "events.jsonl", data_dir / "head.json"
    written = run("events", "export", exported, "--data-dir", data_dir)
    assert (written.status, written.err) == (0, f"9 events and the signed head are in {exported}\n")
    head.write_text(run("events", "head", "--data-dir", data_dir).out)
    assert json.loads(run("events", "verify", exported, "--head", head, "--json").out)["event_count"] == 9
    connection = sqlite3.connect(data_dir / FILE_NAME)
    with connection:
        connection.execute("UPDATE events SET kind = 'rejected' WHERE sequence = 3")
    connection.close()
    verified = run("events", "verify", "--data-dir", data_dir)
    assert (verified.status, verified.err) == (1, "numcheck: event 3 is not what was written\n")


def test_a_row_that_was_changed_is_told_and_the_others_of_its_service_are_listed(
    node: Node, node_dir: Path, stub: RegistrationServiceStub, service: str
) -> None:
    """Over the API and by the command, which ends with status 1."""
    for user_id in ("u1", "u2", "u3"):
        stub.Register(register_request(service, user_id=user_id))
    connection = sqlite3.connect(node_dir / FILE_NAME)
    with connection:
        ids = "SELECT registration_id FROM registrations WHERE service = ? ORDER BY registration_id"
        registration_id = connection.execute(ids, [service]).fetchall()[1][0]
        changed = "UPDATE registrations SET due_at_us = due_at_us + 1 WHERE registration_id = ?"
        assert connection.execute(changed, [registration_id]).rowcount == 1
    connection.close()
    answer = stub.ListRegistrations(pb.ListRegistrationsRequest(service=service))
    assert [one.user_id for one in answer.registrations] == ["u1", "u3"]
    assert list(answer.damaged_registration_ids) == [registration_id.hex()]
    request = pb.GetRegistrationRequest(service=service, user_id="u2")
    assert refusal(lambda: stub.GetRegistration(request)).reason == "STORE_DAMAGED"
    listed = run("registrations", "list", "--json", "--service", service, "--server", node.address)
    assert [json.loads(line)["user_id"] for line in listed.out.splitlines()] == ["u1", "u3"]
    assert listed.status == 1
    assert f"left out: registration {registration_id.hex()}" in listed.err


def test_a_refused_code_leaves_the_registration_and_says_why(stub: RegistrationServiceStub, service: str) -> None:
    """R8: the second code comes 60 s after the first at the earliest; RetryInfo says how long to wait."""
    number = next(numbers)
    first = stub.Register(register_request(service, number))
    assert first.verification_problem == ""
    start = pb.StartVerificationRequest(service=service, user_id="u1")
    refused = refusal(lambda: stub.StartVerification(start))
    assert (refused.code.name, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CODES")
    assert refused.retry_delay_s is not None
    assert 50 < refused.retry_delay_s <= 60
    other = stub.Register(register_request(service, number, user_id="u2"))
    assert (other.verification_problem, other.registration.state) == ("TOO_MANY_CODES", pb.REGISTRATION_STATE_PENDING)
    assert not other.HasField("verification")


def test_on_loopback_the_agreements_of_a_service_that_has_any_count(
    node: Node, stub: RegistrationServiceStub, service: str
) -> None:
    """I.5: whoever has none recorded tries out, with all operators' data; who has one, sees that and no other's."""
    callers = CallerClient(node.address)
    facts = CheckServiceStub(grpc.insecure_channel(node.address)).CheckNumber(
        check_pb2.CheckNumberRequest(number=f"+{small.ACTIVE}")
    )
    serving_id = facts.serving_operator.operator_id
    another_id = next(one for one in (1, 2, 3) if one != serving_id)
    states = []
    for change in (
        lambda: None,
        lambda: callers.agree(service, another_id),
        lambda: callers.agree(service, serving_id),
        lambda: callers.end_agreement(service, serving_id),
    ):
        change()
        made = stub.Register(register_request(service, user_id=f"u{len(states)}"))
        states.append(made.registration.state == pb.REGISTRATION_STATE_VERIFIED)
    assert states == [True, False, True, False]
