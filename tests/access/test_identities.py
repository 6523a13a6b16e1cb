"""Who is known, by certificate or token, and for how long; what a service sees of whose data."""

from datetime import UTC, datetime

import grpc
import pytest
from cryptography import x509

from numcheck.active import ActiveSet
from numcheck.rpc.access import token_tag
from numcheck.serving.access import token_key
from numcheck.serving.authority import issue_client, make_authority
from numcheck.v1 import (
    check_pb2,
    check_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    number_pb2,
    numbering_pb2,
    numbering_pb2_grpc,
    registration_pb2,
    registration_pb2_grpc,
)
from tests.access.node import ALPHA, FIRST, IDENTITIES, NOW, secure_node
from tests.rpc.calls import DEADLINE_S, refusal

REQUEST = check_pb2.CheckNumbersRequest(numbers=[FIRST])


@pytest.fixture
def node(tmp_path):
    with secure_node(tmp_path) as one:
        yield one


def call(channel: grpc.Channel):
    return check_pb2_grpc.CheckServiceStub(channel).CheckNumbers(REQUEST, timeout=DEADLINE_S)


def test_call_without_a_certificate_ends_in_the_handshake(node):
    with node.channel(None) as channel:
        assert refusal(lambda: call(channel)).code == grpc.StatusCode.UNAVAILABLE


def test_certificate_of_another_authority_ends_in_the_handshake(node, tmp_path):
    make_authority(tmp_path / "other", now=NOW)
    issue_client(tmp_path / "other", "administrator", IDENTITIES["administrator"].uri, now=NOW)
    for ending in ("pem", "key"):
        target = node.directory / f"stranger.{ending}"
        target.write_bytes((tmp_path / "other" / f"administrator.{ending}").read_bytes())
    with node.channel("stranger") as channel:
        assert refusal(lambda: call(channel)).code == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("uri", ["numcheck://nobody", "https://example.org"])
def test_certificate_of_a_uri_that_nobody_knows_is_not_authenticated(node, uri):
    """And the denial is kept, with the URI that was shown."""
    issue_client(node.directory, "unknown", uri, now=NOW)
    with node.channel("unknown") as channel:
        refused = refusal(lambda: call(channel))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED")
    assert node.denied() == 1
    (denial,) = node.store.last_denials(1)
    assert (denial.uri, denial.method, denial.reason) == (uri, "/numcheck.v1.CheckService/CheckNumbers", refused.reason)


def test_identity_that_is_revoked_is_forgotten_on_its_open_connection(node):
    """After what is remembered has aged; a stream and a watch that are open end as well."""
    with node.channel("messenger") as channel, node.channel("administrator") as administrator:
        call(channel)
        requests = iter([REQUEST, *[REQUEST] * 1_000])
        stream = check_pb2_grpc.CheckServiceStub(channel).StreamCheckNumbers(requests, timeout=DEADLINE_S)
        next(stream)
        watch = numbering_pb2_grpc.NumberingServiceStub(channel).WatchIndex(
            numbering_pb2.WatchIndexRequest(), timeout=DEADLINE_S
        )
        next(watch)
        identity_pb2_grpc.IdentityServiceStub(administrator).RevokeIdentity(
            identity_pb2.RevokeIdentityRequest(uri=IDENTITIES["messenger"].uri), timeout=DEADLINE_S
        )
        assert refusal(lambda: call(channel)).code == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as ended:
            list(stream)
        assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as ended:
            list(watch)
        assert ended.value.code() == grpc.StatusCode.CANCELLED


def test_bearer_token_says_who_calls(node):
    """With a certificate that names nobody known; the newest token alone."""
    issue_client(node.directory, "gateway", "https://gateway.example.org", now=NOW)
    with node.channel("administrator") as channel:
        stub = identity_pb2_grpc.IdentityServiceStub(channel)
        request = identity_pb2.IssueTokenRequest(uri=IDENTITIES["messenger"].uri)
        old, new = (stub.IssueToken(request, timeout=DEADLINE_S).token for _ in range(2))
    for token, known in ((new, True), (old, False), ("x", False), ("x" * 300, False)):
        with node.channel("gateway", token=token) as channel:
            if known:
                assert call(channel).statuses
            else:
                assert refusal(lambda channel=channel: call(channel)).code == grpc.StatusCode.UNAUTHENTICATED


def test_store_has_no_token(node, tmp_path):
    key = token_key(tmp_path / "data")
    node.gate.identities.set_token(IDENTITIES["messenger"].uri, token_tag(key, "the-secret-token"))
    content = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("numcheck.db*"))
    assert b"the-secret-token" not in content
    assert (tmp_path / "data" / "token.key").stat().st_mode & 0o777 == 0o400


def test_service_sees_operators_that_it_has_an_agreement_with(node, tmp_path):
    """I.5: without one their numbers are UNKNOWN, whatever was pushed; whose they are is told all the same."""
    node.store.replace_active_set(ALPHA, ActiveSet.from_numbers([FIRST]), data_time=NOW, now=NOW)
    with node.channel("messenger") as channel, node.channel("administrator") as administrator:
        facts = check_pb2_grpc.CheckServiceStub(channel).CheckNumber
        request = check_pb2.CheckNumberRequest(number=f"+{FIRST}")
        before = facts(request, timeout=DEADLINE_S)
        assert before.status == number_pb2.NUMBER_STATUS_UNKNOWN
        assert before.serving_operator.operator_id == ALPHA
        assert list(call(channel).operator_ids) == [ALPHA]
        agreement = identity_pb2.Agreement(service="chat", operator_id=ALPHA)
        stub = identity_pb2_grpc.IdentityServiceStub(administrator)
        stub.AddAgreement(identity_pb2.AddAgreementRequest(agreement=agreement), timeout=DEADLINE_S)
        node.publish()
        assert facts(request, timeout=DEADLINE_S).status == number_pb2.NUMBER_STATUS_ACTIVE
        assert list(call(channel).statuses) == [number_pb2.NUMBER_STATUS_ACTIVE]
        assert [
            (one.service, one.operator_id)
            for one in stub.ListIdentities(identity_pb2.ListIdentitiesRequest(), timeout=DEADLINE_S).agreements
        ] == [("chat", ALPHA)]


def test_certificates_are_for_what_they_were_issued_for(node):
    """A server's certificate is no client's, and the other way around."""
    server = x509.load_pem_x509_certificate((node.directory / "server.pem").read_bytes())
    client = x509.load_pem_x509_certificate((node.directory / "alpha.pem").read_bytes())
    usages = [one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value for one in (server, client)]
    assert [[oid.dotted_string for oid in usage] for usage in usages] == [["1.3.6.1.5.5.7.3.1"], ["1.3.6.1.5.5.7.3.2"]]


def register(channel, user_id: str) -> int:
    """Register a user of the operator's active number; how he stands then."""
    request = registration_pb2.RegisterRequest(
        service="chat",
        user_id=user_id,
        number=f"+{FIRST}",
        network_address=registration_pb2.NetworkAddress(address="192.0.2.7", port=5000),
        registration_data={"name": "as he typed it"},
    )
    stub = registration_pb2_grpc.RegistrationServiceStub(channel)
    return stub.Register(request, timeout=DEADLINE_S).registration.state


def test_operators_data_verifies_nobody_without_an_agreement(node):
    """I.3b with I.5: the same number, the same set; with the agreement the next user is verified by it."""
    node.store.replace_active_set(ALPHA, ActiveSet.from_numbers([FIRST]), data_time=datetime.now(UTC), now=NOW)
    node.publish()
    with node.channel("messenger") as channel:
        assert register(channel, "before") != registration_pb2.REGISTRATION_STATE_VERIFIED
        node.gate.identities.agree("chat", ALPHA, now=NOW)
        node.gate.directory.refresh()
        assert register(channel, "after") == registration_pb2.REGISTRATION_STATE_VERIFIED
