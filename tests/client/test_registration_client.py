"""A messenger's side in Python, against a real node: every call, what it gives, and what a refusal tells."""

import re
from collections.abc import Iterator

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.client import RegistrationClient
from numcheck.door.native_door import LACKING
from numcheck.errors import NodeUnreachable, RegistrationRefused
from numcheck.v1 import registration_pb2 as pb
from tests.serving import small
from tests.serving.command import Node, serving

SETTINGS = {
    "NUMCHECK_CODE_DELIVERY": "console",
    "NUMCHECK_EVIDENCE_AGE_MAX_S": "0",
    "NUMCHECK_VERIFICATION_METHODS": "operator,code,inbound,attested",
    "NUMCHECK_ATTESTING_AUTHORITIES": "authority",
}
HOME = pb.NetworkAddress(address="203.0.113.7", port=50812)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with serving(small.fill(tmp_path_factory.mktemp("client") / "var"), env=SETTINGS) as one:
        yield one


@pytest.fixture
def client(node: Node, request: pytest.FixtureRequest) -> Iterator[RegistrationClient]:
    """Of a service that is the test's own."""
    with RegistrationClient(node.address, request.node.name) as one:
        yield one


def request(number: int = small.ACTIVE, user_id: str = "u1", request_id: str = "r1") -> pb.RegisterRequest:
    return pb.RegisterRequest(
        user_id=user_id,
        request_id=request_id,
        number=f"+{number}",
        network_address=HOME,
        registration_data={"name": "Иванов"},
    )


def test_user_is_registered_read_refreshed_and_erased(client: RegistrationClient) -> None:
    asked = request()
    made = client.register(asked)
    assert (made.registration.state, asked.service) == (pb.REGISTRATION_STATE_VERIFIED, "")
    assert client.register(asked) == made
    assert client.get("u1") == made.registration
    moved = pb.NetworkAddress(address="203.0.113.8", port=1)
    data = {"name": "Иванова"}
    refresh = pb.RefreshRegistrationRequest(user_id="u1", network_address=moved, registration_data=data)
    refreshed = client.refresh(refresh).registration
    assert (dict(refreshed.registration_data), refreshed.network_address) == (data, moved)
    assert list(client.list()) == [refreshed]
    change = pb.ChangeNumberRequest(user_id="u1", number="+79160000000", network_address=HOME)
    changed = client.change_number(change).registration
    assert (changed.number, changed.state, change.service) == (79160000000, pb.REGISTRATION_STATE_VERIFIED, "")
    assert client.get("u1") == changed
    client.delete("u1")
    with pytest.raises(RegistrationRefused) as refused:
        client.get("u1")
    assert refused.value.refusal == "UNKNOWN_REGISTRATION"


def test_events_are_told_from_the_token_on(client: RegistrationClient) -> None:
    client.register(request())
    watching = client.watch("0")
    first, registered, confirmed = (next(watching) for _ in range(3))
    watching.close()  # type: ignore[attr-defined]  # a generator
    assert not first.HasField("event")
    kinds = [pb.REGISTRATION_EVENT_KIND_REGISTERED, pb.REGISTRATION_EVENT_KIND_CONFIRMED]
    assert [registered.event.kind, confirmed.event.kind] == kinds
    again = client.watch(registered.resume_token)
    next(again)
    assert next(again) == confirmed
    again.close()  # type: ignore[attr-defined]
    assert [one.checked_count for one in client.reverify()] == [1]


def test_code_is_given_back_and_the_next_one_has_its_time(client: RegistrationClient, node: Node) -> None:
    waiting = client.register(request(small.UNKNOWN)).verification
    code = re.search(r": (\d{6})$", node.process.line_with("code for the number"))
    assert code is not None
    with pytest.raises(RegistrationRefused, match="PROOF_NOT_ACCEPTED"):
        client.complete_verification(waiting.verification_id, f"{(int(code[1]) + 1) % 10**6:06}")
    assert client.complete_verification(waiting.verification_id, code[1]).state == pb.REGISTRATION_STATE_VERIFIED
    with pytest.raises(RegistrationRefused) as refused:
        client.start_verification(pb.StartVerificationRequest(user_id="u1", method=pb.VERIFICATION_METHOD_CODE))
    assert refused.value.refusal == "TOO_MANY_CODES"
    assert refused.value.retry_delay_s is not None
    assert 0 < refused.value.retry_delay_s <= 60


def test_acts_are_proofs(client: RegistrationClient) -> None:
    client.register(request())
    now = Timestamp()
    now.GetCurrentTime()
    for method, proof in (
        (pb.VERIFICATION_METHOD_INBOUND, pb.InboundAct(from_number=f"+{small.ACTIVE}", received_at=now)),
        (pb.VERIFICATION_METHOD_ATTESTED, pb.AttestedAct(authority="authority", assertion_id="a1", attested_at=now)),
    ):
        started = client.start_verification(pb.StartVerificationRequest(user_id="u1", method=method))
        done = client.complete_verification(started.verification.verification_id, proof)
        assert (done.state, done.evidence[0].method) == (pb.REGISTRATION_STATE_VERIFIED, method)


def test_refusal_has_the_nodes_reason_and_absence_has_none(client: RegistrationClient) -> None:
    with pytest.raises(RegistrationRefused, match=r"^NUMBER_NOT_MOBILE: ") as refused:
        client.register(request(small.NOT_MOBILE))
    assert (refused.value.refusal, refused.value.retry_delay_s) == ("NUMBER_NOT_MOBILE", None)
    with pytest.raises(RegistrationRefused, match="BAD_REGISTRATION"):
        next(client.watch("no token"))
    large = pb.ImportedRegistration(user_id="u1", registration_data={"a": "b" * 2**21})
    # It is not sent again and again. A plain door gives no reason: grpcio ends the call before any code of ours.
    refusal, said = (RegistrationRefused, "MESSAGE_TOO_LARGE") if LACKING is None else (NodeUnreachable, "larger than")
    with pytest.raises(refusal, match=said):
        list(client.import_registrations("i1", lambda _place: iter([large])))
    with RegistrationClient("127.0.0.1:1", "x") as nobody, pytest.raises(NodeUnreachable, match="no node answers"):
        nobody.get("u1")
