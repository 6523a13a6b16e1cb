"""Who is known, by certificate or token, and for how long; what a service sees of whose data."""

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from unittest.mock import create_autospec

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.api.access import token_tag
from numcheck.api.slots import Slots
from numcheck.door import feeds
from numcheck.door.watches import Watches, _Watch
from numcheck.errors import NotAuthenticated, StoreUnavailable, TooManyStreams
from numcheck.offline import authority
from numcheck.offline.authority import issue_client, make_authority
from numcheck.v1 import (
    caller_pb2,
    caller_pb2_grpc,
    check_pb2,
    check_pb2_grpc,
    number_pb2,
    numbering_pb2,
    numbering_pb2_grpc,
    registration_pb2,
    registration_pb2_grpc,
)
from tests.access.calls import register_request
from tests.access.node import ALPHA, CALLERS, FIRST, NOW, secure_node
from tests.active.sets import active_set_of
from tests.api.calls import DEADLINE_S, refusal

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
    issue_client(tmp_path / "other", "administrator", CALLERS["administrator"].uri, now=NOW)
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


def test_caller_that_is_revoked_is_forgotten_on_its_open_connection(node):
    """At once, on the node that revokes; a stream ends with its next message, a watch by itself."""
    revoked = threading.Event()

    def requests():
        yield REQUEST
        assert revoked.wait(DEADLINE_S)
        yield REQUEST

    with node.channel("messenger") as channel, node.channel("administrator") as administrator:
        call(channel)
        stream = check_pb2_grpc.CheckServiceStub(channel).StreamCheckNumbers(requests(), timeout=DEADLINE_S)
        next(stream)
        watch = numbering_pb2_grpc.NumberingServiceStub(channel).WatchIndex(
            numbering_pb2.WatchIndexRequest(), timeout=DEADLINE_S
        )
        next(watch)
        caller_pb2_grpc.CallerServiceStub(administrator).RevokeCaller(
            caller_pb2.RevokeCallerRequest(uri=CALLERS["messenger"].uri), timeout=DEADLINE_S
        )
        revoked.set()
        assert refusal(lambda: call(channel)).code == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as ended:
            list(stream)
        assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as ended:
            list(watch)
        assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_bearer_token_says_who_calls(node):
    """With a certificate that names nobody known; the newest token alone."""
    issue_client(node.directory, "gateway", "https://gateway.example.org", now=NOW)
    with node.channel("administrator") as channel:
        stub = caller_pb2_grpc.CallerServiceStub(channel)
        request = caller_pb2.IssueTokenRequest(uri=CALLERS["messenger"].uri)
        old, new = (stub.IssueToken(request, timeout=DEADLINE_S).token for _ in range(2))
    for token, known in ((new, True), (old, False), ("x", False), ("x" * 300, False)):
        with node.channel("gateway", token=token) as channel:
            if known:
                assert call(channel).statuses
            else:
                assert refusal(lambda channel=channel: call(channel)).code == grpc.StatusCode.UNAUTHENTICATED


def test_store_has_no_token(node, tmp_path):
    node.control.callers.set_token(CALLERS["messenger"].uri, token_tag(node.control.key, "the-secret-token"), now=NOW)
    content = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("numcheck.db*"))
    assert b"the-secret-token" not in content
    assert (tmp_path / "data" / "token.key").stat().st_mode & 0o777 == 0o400


def test_service_sees_operators_that_it_has_an_agreement_with(node, tmp_path):
    """I.5: without one their numbers are UNKNOWN, whatever was pushed; whose they are is told all the same."""
    node.store.sets.replace_active_set(ALPHA, active_set_of([FIRST]), data_time=NOW, now=NOW)
    with node.channel("messenger") as channel, node.channel("administrator") as administrator:
        facts = check_pb2_grpc.CheckServiceStub(channel).CheckNumber
        request = check_pb2.CheckNumberRequest(number=f"+{FIRST}")
        before = facts(request, timeout=DEADLINE_S)
        assert before.status == number_pb2.NUMBER_STATUS_UNKNOWN
        assert before.serving_operator.operator_id == ALPHA
        assert list(call(channel).operator_ids) == [ALPHA]
        agreement = caller_pb2.Agreement(service="chat", operator_id=ALPHA)
        stub = caller_pb2_grpc.CallerServiceStub(administrator)
        stub.AddAgreement(caller_pb2.AddAgreementRequest(agreement=agreement), timeout=DEADLINE_S)
        node.publish()
        assert facts(request, timeout=DEADLINE_S).status == number_pb2.NUMBER_STATUS_ACTIVE
        assert list(call(channel).statuses) == [number_pb2.NUMBER_STATUS_ACTIVE]
        assert [
            (one.service, one.operator_id)
            for one in stub.ListCallers(caller_pb2.ListCallersRequest(), timeout=DEADLINE_S).agreements
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
    node.store.sets.replace_active_set(ALPHA, active_set_of([FIRST]), data_time=datetime.now(UTC), now=NOW)
    node.publish()
    with node.channel("messenger") as channel:
        assert register(channel, "before") != registration_pb2.REGISTRATION_STATE_VERIFIED
        node.control.callers.agree("chat", ALPHA, now=NOW)
        node.control.directory.refresh()
        assert register(channel, "after") == registration_pb2.REGISTRATION_STATE_VERIFIED


def code_of(made: Callable[[], object]) -> grpc.StatusCode:
    try:
        made()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


# --- what a caller shows


@pytest.mark.parametrize("listener", ["api", "native"])
def test_name_of_another_kind_that_looks_like_a_uri_is_none(node, listener):
    """A DNS name, which an authority may give out to whoever owns a host, is nobody's caller."""
    names = [x509.DNSName(CALLERS["administrator"].uri), x509.RFC822Name(CALLERS["messenger"].uri)]
    authority._issue(node.directory, "disguised", names, ExtendedKeyUsageOID.CLIENT_AUTH, datetime.now(UTC))
    with node.channel("disguised", listener=listener) as channel:
        assert refusal(lambda: call(channel)).code == grpc.StatusCode.UNAUTHENTICATED


ADMINISTRATOR = CALLERS["administrator"].uri
NOBODY = {
    "cut at a NUL": [f"{ADMINISTRATOR}\0.tenant.example"],
    "a NUL at the end": [f"{ADMINISTRATOR}\0"],
    "a newline": [f"{ADMINISTRATOR}\n"],
    "a space": [f" {ADMINISTRATOR}"],
    "an escape": [f"{ADMINISTRATOR}%00"],
    "backslashes": [ADMINISTRATOR.replace("/", "\\")],
    "one slash": [ADMINISTRATOR.replace("//", "/")],
    "three slashes": [ADMINISTRATOR.replace("//", "///")],
    "a slash at the end": [f"{ADMINISTRATOR}/"],
    "a way round": [ADMINISTRATOR.replace("//", "//x/../")],
    "a port": [f"{ADMINISTRATOR}:443"],
    "a user before it": [ADMINISTRATOR.replace("://", "://x@")],
    "a query": [f"{ADMINISTRATOR}?x"],
    "a fragment": [f"{ADMINISTRATOR}#x"],
    "another case": [ADMINISTRATOR.upper()],
    "too long": [f"{ADMINISTRATOR}{'/x' * 1_000}"],
    "two of them": [ADMINISTRATOR, "https://example.org/"],
    "one behind another": ["https://example.org/", ADMINISTRATOR],
    "the same twice": [ADMINISTRATOR, ADMINISTRATOR],
    "none": [],
}


@pytest.mark.parametrize("listener", ["api", "native"])
def test_certificate_that_names_nobody_beyond_doubt_is_nobodys(node, listener):
    """Whatever a TLS library makes of its names: it is the certificate itself that is read, to its end."""
    for kind, uris in NOBODY.items():
        names: list[x509.GeneralName] = [x509.DNSName("client.example"), *map(x509.UniformResourceIdentifier, uris)]
        authority._issue(node.directory, "doubtful", names, ExtendedKeyUsageOID.CLIENT_AUTH, datetime.now(UTC))
        with node.channel("doubtful", listener=listener) as channel:
            refused = refusal(lambda channel=channel: call(channel))
        assert (kind, refused.code) == (kind, grpc.StatusCode.UNAUTHENTICATED)


@pytest.mark.parametrize("listener", ["api", "native"])
def test_one_uri_beside_names_of_other_kinds_is_the_callers(node, listener):
    names = [x509.DNSName("client.example"), x509.UniformResourceIdentifier(CALLERS["messenger"].uri)]
    authority._issue(node.directory, "mixed", names, ExtendedKeyUsageOID.CLIENT_AUTH, datetime.now(UTC))
    with node.channel("mixed", listener=listener) as channel:
        call(channel)


def give_token(node, name: str, token: str) -> None:
    node.control.callers.set_token(CALLERS[name].uri, token_tag(node.control.key, token), now=NOW)
    node.control.directory.refresh()


@pytest.mark.parametrize("listener", ["api", "native"])
def test_each_call_is_its_own_tokens_on_one_connection(node, listener):
    """A proxy's connection, with a certificate that names nobody known: no call gets what another's token may."""
    issue_client(node.directory, "gateway", "https://gateway.example.org", now=NOW)
    give_token(node, "messenger", "a messenger's")
    give_token(node, "alpha", "an operator's")
    shown = {
        "Bearer a messenger's": grpc.StatusCode.OK,
        "bearer   a messenger's": grpc.StatusCode.OK,
        "Bearer an operator's": grpc.StatusCode.PERMISSION_DENIED,
        "Bearer nobody's": grpc.StatusCode.UNAUTHENTICATED,
        "Basic a messenger's": grpc.StatusCode.UNAUTHENTICATED,
        "Bearer " + "x" * 300: grpc.StatusCode.UNAUTHENTICATED,
        "": grpc.StatusCode.UNAUTHENTICATED,
        None: grpc.StatusCode.UNAUTHENTICATED,
    }
    with node.channel("gateway", listener=listener) as channel:
        stub = check_pb2_grpc.CheckServiceStub(channel)
        for _ in range(2):
            for value, code in shown.items():
                metadata = [] if value is None else [("authorization", value)]
                made = code_of(lambda m=metadata: stub.CheckNumbers(REQUEST, timeout=DEADLINE_S, metadata=m))
                assert made == code, value
        twice = [("authorization", "Bearer a messenger's")] * 2
        refused = code_of(lambda: stub.CheckNumbers(REQUEST, timeout=DEADLINE_S, metadata=twice))
        assert refused == grpc.StatusCode.UNAUTHENTICATED
        operators = check_pb2.ListOperatorsRequest()
        metadata = [("authorization", "Bearer an operator's")]
        assert stub.ListOperators(operators, timeout=DEADLINE_S, metadata=metadata).operators


@pytest.mark.parametrize("listener", ["api", "native"])
def test_each_call_sees_its_own_tokens_operators_on_one_connection(node, listener):
    """I.5: two services behind one gateway, by turns; one has the agreement, and the other never sees by it."""
    node.store.sets.replace_active_set(ALPHA, active_set_of([FIRST]), data_time=NOW, now=NOW)
    node.publish()
    node.control.callers.agree("chat", ALPHA, now=NOW)
    issue_client(node.directory, "gateway", "https://gateway.example.org", now=NOW)
    for name in ("messenger", "other"):
        give_token(node, name, name)
    with node.channel("gateway", listener=listener) as channel:
        stub = check_pb2_grpc.CheckServiceStub(channel)
        seen = [
            stub.CheckNumbers(REQUEST, timeout=DEADLINE_S, metadata=[("authorization", f"Bearer {name}")]).statuses[0]
            for name in ("messenger", "other", "messenger", "messenger", "other")
        ]
    active, unknown = number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_UNKNOWN
    assert seen == [active, unknown, active, active, unknown]


def test_token_alone_lets_in_where_the_node_asks_for_no_certificate(tmp_path):
    """On both doors; a certificate says nothing there, of whatever authority it is."""
    with secure_node(tmp_path, tls_clients="token", tls_client_authority_file=None) as one:
        give_token(one, "messenger", "secret")
        for listener in ("api", "native"):
            for name, token, code in (
                (None, "secret", grpc.StatusCode.OK),
                (None, "other", grpc.StatusCode.UNAUTHENTICATED),
                (None, None, grpc.StatusCode.UNAUTHENTICATED),
                ("messenger", None, grpc.StatusCode.UNAUTHENTICATED),
            ):
                with one.channel(name, token=token, listener=listener) as channel:
                    assert code_of(lambda channel=channel: call(channel)) == code, (listener, name, token)


# --- for how long


@pytest.mark.parametrize("listener", ["api", "native"])
def test_check_goes_on_while_the_database_is_away(tmp_path, server, listener):
    """On connections that are open and on new ones; a watch stays; a push is refused, and may be repeated."""
    with secure_node(tmp_path, url=server.new_database()) as one, one.channel("administrator") as channel:
        numbering = numbering_pb2_grpc.NumberingServiceStub(channel)
        watch = numbering.WatchIndex(numbering_pb2.WatchIndexRequest(), timeout=60)
        next(watch)
        with one.channel("messenger", listener=listener) as opened:
            assert call(opened).statuses
            server.stop()
            try:
                one.control.directory.refresh()
                assert call(opened).statuses
                with one.channel("messenger", listener=listener) as new, one.channel("alpha") as operator:
                    assert call(new).statuses
                    assert refusal(lambda: call(operator)).code == grpc.StatusCode.PERMISSION_DENIED
                request = numbering_pb2.GetOperatorStateRequest(operator_id=ALPHA)
                refused = refusal(lambda: numbering.GetOperatorState(request, timeout=60))
                assert refused.reason == "STORE_UNAVAILABLE"
                assert watch.is_active()
            finally:
                server.start()
            one.control.callers.revoke(CALLERS["messenger"].uri, now=NOW)
            one.control.directory.refresh()
            with one.channel("messenger", listener=listener) as late:
                assert refusal(lambda: call(late)).code == grpc.StatusCode.UNAUTHENTICATED
        watch.cancel()


def test_watch_of_registrations_ends_when_its_caller_is_revoked(node):
    """Though nothing happens that it would be told of."""
    with node.channel("messenger") as channel:
        stub = registration_pb2_grpc.RegistrationServiceStub(channel)
        watch = stub.WatchRegistrations(registration_pb2.WatchRegistrationsRequest(service="chat"), timeout=DEADLINE_S)
        next(watch)
        node.control.callers.revoke(CALLERS["messenger"].uri, now=NOW)
        node.control.directory.refresh()
        with pytest.raises(grpc.RpcError) as ended:
            next(watch)
        assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_watch_of_registrations_ends_within_a_piece_when_its_caller_is_revoked(node, monkeypatch):
    """Who reads slowly is not sent the rest of what was read for it minutes ago."""
    monkeypatch.setattr(feeds, "ACCESS_INTERVAL_S", 0.0)
    asked, admit = itertools.count(), node.control.access.admit

    def told(*arguments):
        if next(asked) == 12:
            raise NotAuthenticated("revoked by now")
        return admit(*arguments)

    with node.channel("messenger") as channel:
        stub = registration_pb2_grpc.RegistrationServiceStub(channel)
        for _ in range(20):
            stub.Register(register_request("chat"))
        monkeypatch.setattr(node.control.access, "admit", told)
        request = registration_pb2.WatchRegistrationsRequest(service="chat", resume_token="0")
        seen = []
        with pytest.raises(grpc.RpcError) as ended:
            seen.extend(stub.WatchRegistrations(request, timeout=DEADLINE_S))
    assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert 0 < len(seen) < 20


def test_push_whose_caller_is_revoked_behind_its_last_message_changes_nothing(node, monkeypatch):
    """It may have been idle for an hour: that its caller may push is asked once more before it counts."""
    asked, revoked = threading.Semaphore(0), threading.Event()
    admit = node.control.access.admit

    def told(*arguments):
        admitted = admit(*arguments)
        asked.release()
        return admitted

    monkeypatch.setattr(node.control.access, "admit", told)
    data_time = Timestamp(seconds=1_750_000_000)
    header = numbering_pb2.PushHeader(operator_id=ALPHA, mode=numbering_pb2.PUSH_MODE_DELTA, data_time=data_time)

    def requests():
        yield numbering_pb2.PushActiveNumbersRequest(header=header, add=[FIRST])
        assert revoked.wait(DEADLINE_S)

    with node.channel("alpha") as channel:
        stub = numbering_pb2_grpc.NumberingServiceStub(channel)
        push = stub.PushActiveNumbers.future(requests(), timeout=DEADLINE_S)
        for _ in range(2):  # the call, and its one message
            assert asked.acquire(timeout=DEADLINE_S)
        node.control.callers.revoke(CALLERS["alpha"].uri, now=NOW)
        node.control.directory.refresh()
        revoked.set()
        assert code_of(push.result) == grpc.StatusCode.UNAUTHENTICATED
    assert node.store.sets.head(ALPHA).version == 0


def test_watch_that_fails_ends_and_the_others_are_told():
    """One that cannot be told is cut off; it does not starve those behind it, nor what ends them all."""
    told = []

    watches = Watches()

    def fail() -> bytes:
        raise StoreUnavailable("away")

    def watch(message) -> _Watch:
        return _Watch(message, told.append, create_autospec(grpc.ServicerContext), lambda: None)

    others = [watch(lambda: b"news") for _ in range(20)]
    failing = watch(fail)
    watches._watches = {failing, *others}
    watches.end()
    watches.close()
    assert sorted(told, key=str) == sorted([*[b"news", None] * 20, None], key=str)
    for one in (failing, *others):
        one.context.set_code.assert_called_once_with(grpc.StatusCode.UNAVAILABLE)  # type: ignore[attr-defined]


def test_no_more_slots_are_taken_than_there_are_nor_by_one_service():
    slots = Slots(3, 2)
    with slots.take("a"), slots.take("a"):
        with pytest.raises(TooManyStreams, match="one service"), slots.take("a"):
            raise AssertionError
        with slots.take("b"), pytest.raises(TooManyStreams), slots.take("c"):
            raise AssertionError
        with slots.take("c"):
            pass
    with slots.take("a"), slots.take("a"):
        pass
