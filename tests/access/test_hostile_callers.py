"""What a hostile caller tries over TLS, at each door: names, tokens, paths, headers, and things of others.

One node for all. Each attempt is refused for who makes it: its rightful caller's same call succeeds beside it.
"""

import json
import shutil
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from numcheck.api.access import token_tag
from numcheck.offline.authority import issue_client
from numcheck.v1 import caller_pb2, caller_pb2_grpc, numbering_pb2
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.numbering_pb2_grpc import NumberingServiceStub
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.access import calls
from tests.access.node import ALPHA, BETA, CALLERS, FIRST, NOW, SecureNode, secure_node
from tests.api.calls import DEADLINE_S, refusal
from tests.conformance.calls import CHECK_NUMBERS, call_fields, headers, message, numbers, question
from tests.conformance.http2 import (
    DATA,
    EMPTY_SETTINGS,
    FRAME_SIZE_MAX_DEFAULT,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    Peer,
    block,
    frame,
)

LISTENERS = ("api", "native")
LIST = "/numcheck.v1.CheckService/ListOperators"
ADMINISTRATOR = CALLERS["administrator"].uri
SUBJECT_ALTERNATIVE_NAME = ObjectIdentifier("2.5.29.17")


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[SecureNode]:
    """With a certificate that names nobody known."""
    with secure_node(tmp_path_factory.mktemp("hostile"), threads=1) as one:
        issue_client(one.directory, "gateway", "https://gateway.example.org", now=datetime.now(UTC))
        yield one


def ask(channel: grpc.Channel, path: str = LIST, **options: object) -> bytes:
    answer: bytes = channel.unary_unary(path)(b"", timeout=DEADLINE_S, **options)
    return answer


# --- names that are not read from where names belong


def issue(
    node: SecureNode, name: str, common_name: str, extensions: list[x509.ExtensionType], authority: str = "authority"
) -> None:
    """Issue a certificate of the clients' authority, or of another, as a careless one might."""
    files = {ending: (node.directory / f"{authority}.{ending}").read_bytes() for ending in ("pem", "key")}
    issuer = x509.load_pem_x509_certificate(files["pem"])
    signing = serialization.load_pem_private_key(files["key"], password=None)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer_name=issuer.subject, public_key=key.public_key(), serial_number=7)
    builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
    builder = builder.not_valid_before(issuer.not_valid_before_utc).not_valid_after(issuer.not_valid_after_utc)
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    signed = builder.sign(signing, hashes.SHA256())  # type: ignore[arg-type]
    assert now < signed.not_valid_after_utc
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (node.directory / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (node.directory / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))


def in_der(kind: int, *contents: bytes) -> bytes:
    """A value of DER, of less than 128 bytes."""
    content = b"".join(contents)
    assert len(content) < 0x80
    return bytes([kind, len(content)]) + content


def uri_in_der(text: bytes) -> bytes:
    return in_der(0x86, text)  # uniformResourceIdentifier of GeneralName


MISNAMED = {
    "in the common name alone": [],
    "with bytes that are no ASCII": [in_der(0x30, uri_in_der(ADMINISTRATOR.encode() + b"\xff"))],
    "in letters that look the same": [in_der(0x30, uri_in_der("numcheck://аdministrator".encode()))],
    "in an extension that is cut": [in_der(0x30, uri_in_der(ADMINISTRATOR.encode()))[:-3]],
    "with something behind the names": [in_der(0x30, uri_in_der(ADMINISTRATOR.encode())) + b"\x05\x00"],
    "in no sequence": [uri_in_der(ADMINISTRATOR.encode())],
    "by a name of a kind that is unknown": [in_der(0x30, in_der(0x8F, b"x"), uri_in_der(ADMINISTRATOR.encode()))],
    "behind a mark of byte order": [in_der(0x30, uri_in_der(b"\xef\xbb\xbf" + ADMINISTRATOR.encode()))],
    "behind a NUL": [in_der(0x30, uri_in_der(b"\0" + ADMINISTRATOR.encode()))],
    "in parts": [in_der(0x30, in_der(0xA6, in_der(0x16, ADMINISTRATOR.encode())))],
    "in BER, of no length": [b"\x30\x80" + uri_in_der(ADMINISTRATOR.encode()) + b"\0\0"],
    "in BER, its length in a byte too many": [
        b"\x30\x81" + in_der(0x30, uri_in_der(ADMINISTRATOR.encode()))[1:],
    ],
    "with an empty second name": [in_der(0x30, uri_in_der(ADMINISTRATOR.encode()), uri_in_der(b""))],
}


def test_name_that_a_certificate_tells_in_any_other_way_is_nobodys(node):
    """Each by a certificate that the clients' authority signed; one that OpenSSL cannot read ends in the handshake."""
    for place, (kind, encoded) in enumerate(MISNAMED.items()):
        extensions = [x509.UnrecognizedExtension(SUBJECT_ALTERNATIVE_NAME, one) for one in encoded]
        issue(node, f"misnamed{place}", ADMINISTRATOR, extensions)
        for listener in LISTENERS:
            with (
                node.channel(f"misnamed{place}", listener=listener) as channel,
                pytest.raises(grpc.RpcError) as refused,
            ):
                ask(channel)
            found = refused.value.code()
            assert found in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE), (kind, listener)


def test_certificates_behind_a_clients_own_say_nothing_of_who_it_is(node):
    """An administrator's that is sent along, and one that a messenger has signed with its own key."""
    files = {name: (node.directory / f"{name}.pem").read_bytes() for name in ("messenger", "administrator")}
    (node.directory / "chain.pem").write_bytes(files["messenger"] + files["administrator"])
    shutil.copy(node.directory / "messenger.key", node.directory / "chain.key")
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(ADMINISTRATOR)])
    issue(node, "signed", "client", [names], authority="messenger")
    with (node.directory / "signed.pem").open("ab") as signed:
        signed.write(files["messenger"])
    expected = {"chain": grpc.StatusCode.PERMISSION_DENIED, "signed": grpc.StatusCode.UNAVAILABLE}
    for listener in LISTENERS:
        for name, code in expected.items():
            with node.channel(name, listener=listener) as channel, pytest.raises(grpc.RpcError) as refused:
                ask(channel, "/numcheck.v1.CallerService/ListCallers")
            assert (name, refused.value.code()) == (name, code)


# --- tokens


def give_token(node: SecureNode, name: str, token: str) -> None:
    node.control.callers.set_token(CALLERS[name].uri, token_tag(node.control.key, token), now=NOW)
    node.control.directory.refresh()


def test_what_is_nearly_a_token_is_nobodys(node):
    """In other letters, cut, longer, another installation's, twice, by another scheme, in another place, or the tag
    that the store keeps."""
    token = "aB3-" + "x" * 40
    give_token(node, "administrator", token)
    tag = token_tag(node.control.key, token).hex()
    wrong = [token.lower(), token.upper(), token[:-1], f"{token}x", f"x{token}", f"{token},{token}", f"{token} {token}"]
    shown = [[("authorization", f"Bearer {one}")] for one in (*wrong, tag, "*", ADMINISTRATOR, "x" * 249)]
    shown += [
        [("authorization", one)] for one in (token, f"Basic {token}", f"Bearer{token}", f"Bearer  Bearer {token}")
    ]
    shown += [[("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]]
    shown += [[(name, f"Bearer {token}")] for name in ("x-authorization", "proxy-authorization", "cookie", "token")]
    shown += [[("authorization-bin", f"Bearer {token}".encode())]]
    for listener in LISTENERS:
        with node.channel("gateway", listener=listener) as channel:
            for metadata in shown:
                found = refusal(lambda channel=channel, metadata=metadata: ask(channel, metadata=metadata))
                assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED"), metadata
            assert ask(channel, metadata=[("authorization", f"bearer  {token}")])


def test_token_does_not_raise_who_shows_a_certificate_of_their_own(node):
    """Whoever is known by their certificate is that caller, whatever token they show besides."""
    give_token(node, "administrator", "stolen" * 8)
    shown = [("authorization", f"Bearer {'stolen' * 8}")]
    with node.channel("auditor") as channel:
        found = refusal(lambda: ask(channel, "/numcheck.v1.NumberingService/ListHeldPushes", metadata=shown))
        assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED")


# --- paths


@pytest.mark.parametrize("listener", LISTENERS)
def test_no_other_spelling_of_a_path_is_the_method(node, listener):
    """A messenger's way to the administrator's methods: each is denied or no method, and none is answered."""
    right = "/numcheck.v1.CallerService/ListCallers"
    spellings = [right.lower(), right.upper(), f"{right}/", f"/{right}", f"{right}?x", f"{right}#x", f"{right}%00"]
    spellings += [right.replace("/numcheck", "/./numcheck"), right.replace("Service/", "Service//"), f"{right} "]
    spellings += [f"/numcheck.v1.CheckService/../{right[1:]}", right.replace("L", "%4C", 1), "/", "*", right[1:]]
    with node.channel("messenger", listener=listener) as channel:
        for path in [right, *spellings]:
            with pytest.raises(grpc.RpcError) as refused:
                ask(channel, path)
            found = refused.value.code()
            assert found in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL)
        assert ask(channel)


class SecurePeer(Peer):
    """A connection in frames, over TLS, of the client of a name."""

    def __init__(self, node: SecureNode, name: str, listener: str) -> None:
        super().__init__(node.addresses[listener], None)
        context = ssl.create_default_context(cafile=node.directory / "authority.pem")
        context.load_cert_chain(node.directory / f"{name}.pem", node.directory / f"{name}.key")
        context.set_alpn_protocols(["h2"])
        self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self.send(PREFACE + EMPTY_SETTINGS)

    def status(self, *fields: tuple[str, str]) -> str | None:
        """Call with these fields and an empty message; return its gRPC status, None if there is none."""
        self.send(question(1, block([*fields])))
        while (one := self.next()) is not None and one.kind != RST_STREAM and not (one.stream == 1 and one.ends_stream):
            pass
        return {name: value for some in self.fields.get(1, ()) for name, value in some}.get("grpc-status")


@pytest.mark.parametrize("listener", LISTENERS)
def test_call_of_two_paths_reaches_no_method_that_its_caller_may_not_call(node, listener):
    """Two different ones, either first, and one as an absolute URI: what is judged is what is called."""
    forbidden = "/numcheck.v1.CallerService/ListCallers"
    own = [field for field in call_fields(LIST) if field[0] != ":path"]
    tries = [[LIST, forbidden], [forbidden, LIST], [f"https://localhost{forbidden}"], [forbidden]]
    for paths in tries:
        with SecurePeer(node, "messenger", listener) as peer:
            found = peer.status(*((":path", path) for path in paths), *own)
        if paths[-1] == LIST and listener == "api":
            continue  # grpcio takes the last one: a method of the caller's own
        assert found != "0"
    with SecurePeer(node, "messenger", listener) as peer:
        assert peer.status(*call_fields(LIST)) == "0"


# --- what belongs to others


def registered(node: SecureNode, service: str, owner: str) -> pb.RegisterResponse:
    """Register a user for its own service, with a verification that waits."""
    with node.channel(owner) as channel:
        stub = RegistrationServiceStub(channel)
        made = stub.Register(calls.register_request(service), timeout=DEADLINE_S)
        request = pb.StartVerificationRequest(
            service=service, user_id=made.registration.user_id, method=pb.VERIFICATION_METHOD_ATTESTED
        )
        made.verification.CopyFrom(stub.StartVerification(request, timeout=DEADLINE_S).verification)
        return made


def test_nothing_of_another_service_is_reached_by_any_field(node):
    """By its user, its verification, its page and its request, each under the caller's own service's name; what is
    refused reads as what is not there."""
    theirs = registered(node, "other", "other")
    attested = pb.AttestedAct(authority="bank", assertion_id="a-1", attested_at=calls.stamp())
    with node.channel("messenger") as channel, node.channel("other") as owner:
        mine, own = RegistrationServiceStub(channel), RegistrationServiceStub(owner)
        user_id = theirs.registration.user_id
        for method, request in (
            ("GetRegistration", pb.GetRegistrationRequest(service="chat", user_id=user_id)),
            ("DeleteRegistration", pb.DeleteRegistrationRequest(service="chat", user_id=user_id)),
            ("StartVerification", pb.StartVerificationRequest(service="chat", user_id=user_id)),
        ):
            found = refusal(lambda method=method, request=request: getattr(mine, method)(request, timeout=DEADLINE_S))
            assert (method, found.code) == (method, grpc.StatusCode.NOT_FOUND)
        for verification_id in (theirs.verification.verification_id, "00" * 16):
            given = pb.CompleteVerificationRequest(
                service="chat", verification_id=verification_id, attested_act=attested
            )
            found = refusal(lambda given=given: mine.CompleteVerification(given, timeout=DEADLINE_S))
            assert found.reason == "PROOF_NOT_ACCEPTED"
        registered(node, "other", "other")
        page = own.ListRegistrations(pb.ListRegistrationsRequest(service="other", page_size=1), timeout=DEADLINE_S)
        assert page.next_page_token
        turned = pb.ListRegistrationsRequest(service="chat", page_size=1, page_token=page.next_page_token)
        assert refusal(lambda: mine.ListRegistrations(turned, timeout=DEADLINE_S)).reason == "BAD_REGISTRATION"
        asked = pb.GetRegistrationRequest(service="other", user_id=user_id)
        assert own.GetRegistration(asked, timeout=DEADLINE_S).registration == theirs.registration


def test_request_id_of_another_service_is_another_request(node):
    """Repeated under the caller's own service it makes a registration there, and tells nothing of the other's."""
    request = calls.register_request("other")
    request.request_id = "r-1"
    with node.channel("other") as owner, node.channel("messenger") as channel:
        first = RegistrationServiceStub(owner).Register(request, timeout=DEADLINE_S).registration
        request.service, request.user_id = "chat", "somebody-else"
        second = RegistrationServiceStub(channel).Register(request, timeout=DEADLINE_S).registration
    assert (first.service, second.service, second.user_id) == ("other", "chat", "somebody-else")
    assert first.registration_id != second.registration_id


def held_token(node: SecureNode, operator_id: int) -> str:
    """Have a push of an operator held; the token that confirms it."""
    calls.fill(node, operator_id)
    header = numbering_pb2.PushHeader(
        operator_id=operator_id, mode=numbering_pb2.PUSH_MODE_SNAPSHOT, data_time=calls.stamp(), push_id="held"
    )
    request = numbering_pb2.PushActiveNumbersRequest(header=header, add=[calls.FIRST_OF[operator_id]])
    with node.channel("administrator") as channel:
        answer = NumberingServiceStub(channel).PushActiveNumbers(iter([request]), timeout=DEADLINE_S)
    return str(answer.confirmation_token)


def test_push_of_another_operator_is_reached_by_neither_its_token_nor_its_id(node):
    """Beta's held push under Alpha's own name, and a second header in Alpha's stream that names Beta."""
    token = held_token(node, BETA)
    before = node.store.sets.head(BETA)
    with node.channel("alpha") as channel:
        stub = NumberingServiceStub(channel)
        confirming = numbering_pb2.ConfirmPushRequest(operator_id=ALPHA, confirmation_token=token)
        assert refusal(lambda: stub.ConfirmPush(confirming, timeout=DEADLINE_S)).reason == "UNKNOWN_PUSH"
        own = numbering_pb2.PushHeader(
            operator_id=ALPHA,
            mode=numbering_pb2.PUSH_MODE_DELTA,
            base_version=node.store.sets.head(ALPHA).version,
            data_time=calls.stamp(),
        )
        others = numbering_pb2.PushHeader()
        others.CopyFrom(own)
        others.operator_id = BETA
        requests = [numbering_pb2.PushActiveNumbersRequest(header=one, add=[FIRST]) for one in (own, others)]
        assert refusal(lambda: stub.PushActiveNumbers(iter(requests), timeout=DEADLINE_S)).reason == "BAD_PUSH"
        stolen = numbering_pb2.PushActiveNumbersRequest(header=own, add=[calls.FIRST_OF[BETA] + 1])
        assert refusal(lambda: stub.PushActiveNumbers(iter([stolen]), timeout=DEADLINE_S)).reason == "NOT_SERVED"
    assert node.store.sets.head(BETA) == before


# --- names that would reach a terminal, a log or a file


def test_name_that_a_terminal_would_act_on_is_given_to_nobody(node):
    """Neither as a URI nor as a service; nor is one of another length or case, and nothing is kept of it."""
    bad = ["numcheck://\x1b[2J", "numcheck://a\nb", "numcheck://\u202eb", "numcheck://аdmin", "numcheck://" + "a" * 201]
    bad += ["javascript:alert(1)", "NUMCHECK://a", "numcheck://a b", "numcheck://=cmd|x", "", "numcheck://"]
    with node.channel("administrator") as channel:
        stub = caller_pb2_grpc.CallerServiceStub(channel)
        for uri in bad:
            caller = caller_pb2.Caller(uri=uri, role=caller_pb2.ROLE_AUDITOR)
            request = caller_pb2.AddCallerRequest(caller=caller)
            found = refusal(lambda request=request: stub.AddCaller(request, timeout=DEADLINE_S))
            assert (found.code, found.violations) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                [("caller.uri", "BAD_CALLER")],
            ), uri
            assert uri in ("", "numcheck://") or uri not in found.message
        listed = stub.ListCallers(caller_pb2.ListCallersRequest(), timeout=DEADLINE_S)
    assert not {one.uri for one in listed.callers} & set(bad)
    assert json.dumps(sorted(one.uri for one in listed.callers)).isascii()


# --- guesses at once


def test_of_many_guesses_at_a_token_at_once_none_is_let_in_and_others_go_on(node):
    """Over one connection each; the log keeps them as one row with its count."""
    give_token(node, "administrator", "t" * 43)
    node.forget_denials()
    codes: list[grpc.StatusCode] = []

    def guess(place: int) -> None:
        with node.channel("gateway", listener=LISTENERS[place % 2]) as channel:
            for turn in range(25):
                shown = [("authorization", f"Bearer {'t' * 40}{place}{turn:02}")]
                codes.append(refusal(lambda shown=shown: ask(channel, metadata=shown)).code)

    threads = [threading.Thread(target=guess, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    with node.channel("messenger") as channel:
        assert ask(channel)
    for thread in threads:
        thread.join()
    assert set(codes) == {grpc.StatusCode.UNAUTHENTICATED}
    assert (len(codes), node.denied()) == (200, 200)
    assert len(node.store.last_denials(10)) == 2  # with the address, as a plain door has it, and without


# --- what all callers share


def send_half(peer: Peer, stream: int, size: int) -> bool:
    """Send a request of a size but for its last byte; False if it is refused before."""
    peer.send(headers(stream, block(call_fields("/numcheck.v1.RegistrationService/Register"))))
    left = message(bytes(size))[:-1]
    while left:
        room = min(FRAME_SIZE_MAX_DEFAULT, peer.window(0), peer.window(stream))
        if room <= 0:
            came = peer.until(lambda one: one.kind == WINDOW_UPDATE or one.ends_stream or one.kind == RST_STREAM)[-1]
            if came.kind != WINDOW_UPDATE:
                return False
            continue
        part, left = left[:room], left[room:]
        for which in (0, stream):
            peer.windows[which] = peer.window(which) - len(part)
        peer.send(frame(DATA, 0, stream, part))
    return not any(one.ends_stream for one in peer.settle())


@pytest.mark.parametrize(("listener", "connections"), [("api", 8), ("native", 70)])
def test_caller_whose_requests_do_not_come_whole_leaves_memory_to_others(node, listener, connections):
    """As many as the listener takes; whoever else asks for as much as they may is answered."""
    with ExitStack() as held, node.channel("other", listener=listener) as other:
        for size in (1_040_000, 130_000, 16_000):
            for _ in range(connections):
                peer = held.enter_context(SecurePeer(node, "messenger", listener))
                peer.settle()
                if not all(send_half(peer, stream, size) for stream in range(1, 9, 2)):
                    break
        asked = numbers(*[FIRST] * 65_536)[5:]
        assert other.unary_unary(CHECK_NUMBERS)(asked, timeout=DEADLINE_S)
