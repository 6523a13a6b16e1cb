"""The native door over TLS: who gets in, what it sees, and what a hostile handshake does to others."""

import contextlib
import shutil
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from authority import Authority, KeyPair
from google.rpc import code_pb2
from peer import CHECK_NUMBERS, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, call_headers, frame, message

from numcheck.access import Caller, Role
from numcheck.api.access import Shown
from numcheck.api.errors import CODES
from numcheck.config import Settings
from numcheck.door import certificates, native_door
from numcheck.door.native_door import NativeDoor
from numcheck.errors import BadConfiguration, NumcheckError
from numcheck.index import Index, PublishedIndex
from numcheck.status import NumberStatus
from numcheck.v1 import check_pb2

METHOD = CHECK_NUMBERS.decode()
MESSENGER = "numcheck://service/messenger"


class Denied(NumcheckError):
    """What a rule refuses with."""

    reason = "DENIED"


class Rule:
    """An admission that a test changes while it is asked: of messengers, whose service is their URI."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.decide: Callable[[str], frozenset[int] | None] = lambda _uri: None

    def admit(self, shown: Shown, _method: str) -> Caller:
        self.asked.append(shown.uri)
        self.found = self.decide(shown.uri)
        role = Role.ADMINISTRATOR if self.found is None else Role.MESSENGER
        return Caller(shown.uri, role, service=shown.uri)

    def agreed(self, _service: str) -> frozenset[int]:
        assert self.found is not None
        return self.found

    def deny(self, _uri: str, _method: str, _reason: str) -> None:
        raise AssertionError("nobody asks for this")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def client(authority: Authority) -> KeyPair:
    return authority.issue("client", MESSENGER)


@pytest.fixture
def rule() -> Rule:
    return Rule()


@pytest.fixture
def published(index: Index) -> PublishedIndex:
    one = PublishedIndex()
    one.publish(index)
    return one


@pytest.fixture
def tls_settings(settings: Settings, authority: Authority) -> Settings:
    server = authority.issue("server")
    return settings.model_copy(
        update={
            "tls_certificate_file": server.certificate,
            "tls_key_file": server.key,
            "tls_client_authority_file": authority.file,
        }
    )


@pytest.fixture
def listener(tls_settings: Settings, index: Index, rule: Rule) -> Iterator[NativeDoor]:
    published = PublishedIndex()
    one = NativeDoor(tls_settings, published, rule)
    published.publish(index)
    one.set_serving(serving=True)
    yield one
    one.stop(2)


@contextlib.contextmanager
def channel(listener: NativeDoor, authority: Authority, pair: KeyPair | None) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes(),
        pair and pair.key.read_bytes(),
        pair and pair.certificate.read_bytes(),
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(listener.address, credentials, options=options) as one:
        yield one


def request(*numbers: int) -> bytes:
    return check_pb2.CheckNumbersRequest(numbers=numbers).SerializeToString()


def refused(call: Callable[[], Any]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def context(authority: Authority, pair: KeyPair | None, *protocols: str) -> ssl.SSLContext:
    one = ssl.create_default_context(cafile=str(authority.file))
    if pair is not None:
        one.load_cert_chain(pair.certificate, pair.key)
    if protocols:
        one.set_alpn_protocols(list(protocols))
    return one


def connect(listener: NativeDoor, how: ssl.SSLContext) -> ssl.SSLSocket:
    host, port = listener.address.split(":")
    return how.wrap_socket(socket.create_connection((host, int(port)), timeout=5), server_hostname="localhost")


def is_let_in(listener: NativeDoor, how: ssl.SSLContext) -> bool:
    """Whether the server speaks HTTP/2 to such a peer. In TLS 1.3 a client hears of a refusal only when it reads."""
    try:
        with connect(listener, how) as peer:
            peer.sendall(PREFACE + frame(SETTINGS, 0, 0))
            return peer.recv(100)[3] == SETTINGS
    except (OSError, IndexError):
        return False


# --- who gets in


@pytest.mark.parametrize("count", [0, 1, 1_000, 65_536])
def test_a_client_with_a_certificate_gets_the_answers(listener, authority, client, index, count):
    numbers = request(*range(79_000_000_000, 79_000_000_000 + count * 9_999, 9_999))
    with channel(listener, authority, client) as one:
        answer = one.unary_unary(METHOD)(numbers, timeout=10)
    assert answer == index.table.check_numbers(numbers, numbers_per_call_max=65_536)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_are_spoken(listener, authority, client, version):
    how = context(authority, client, "http/1.1", "h2")
    how.minimum_version = how.maximum_version = version
    assert is_let_in(listener, how)


def test_an_older_version_of_tls_is_refused(listener, authority, client):
    how = context(authority, client, "h2")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        how.minimum_version = how.maximum_version = ssl.TLSVersion.TLSv1_1
    how.set_ciphers("ALL:@SECLEVEL=0")
    assert not is_let_in(listener, how)


@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["http/1.0", "http/1.1"]])
def test_a_peer_that_does_not_name_h2_is_told_so_in_http_1(listener, authority, client, protocols):
    with connect(listener, context(authority, client, *protocols)) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        said = b"".join(iter(lambda: peer.recv(4_096), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-length: %d\r\n" % len(body) in head
    assert b"gRPC" in body


def test_a_peer_that_names_other_protocols_alone_is_refused(listener, authority, client):
    assert not is_let_in(listener, context(authority, client, "spdy/3", "h3"))


def test_a_peer_without_a_certificate_of_the_authority_is_refused(listener, authority, tmp_path):
    stranger = Authority(tmp_path / "strangers").issue("client", MESSENGER)
    for pair in (None, stranger, authority.issue("late", MESSENGER, expired=True)):
        assert not is_let_in(listener, context(authority, pair, "h2"))
    assert is_let_in(listener, context(authority, authority.issue("good"), "h2"))


def test_plaintext_is_refused(listener):
    host, port = listener.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as peer:
        peer.sendall(PREFACE + frame(SETTINGS, 0, 0))
        assert peer.recv(100)[:1] in (b"", b"\x15")  # nothing, or a TLS alert


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_records_are_put_together_however_their_bytes_are_split(listener, authority, client, index, piece):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context(authority, client, "h2").wrap_bio(incoming, outgoing, server_hostname="localhost")
    host, port = listener.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def drive(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    pass
                finally:
                    data = outgoing.read()
                    for i in range(0, len(data), piece):
                        peer.send(data[i : i + piece])
                incoming.write(peer.recv(65_536))

        drive(tls.do_handshake)
        call = frame(HEADERS, END_HEADERS, 1, call_headers()) + frame(
            DATA, END_STREAM, 1, message(request(79_161_234_567))
        )
        drive(lambda: tls.write(PREFACE + frame(SETTINGS, 0, 0) + call))
        data, wanted = b"", message(index.table.check_numbers(request(79_161_234_567), numbers_per_call_max=1))
        while wanted not in data:
            data += drive(lambda: tls.read(65_536))


def test_a_listener_off_this_machine_needs_tls(settings, tls_settings, published):
    for given in (settings, tls_settings):
        anywhere = given.model_copy(update={"listen": "0.0.0.0:0"})
        if given.tls:
            NativeDoor(anywhere, published).stop(1)
        else:
            with pytest.raises(NumcheckError, match="loopback"):
                NativeDoor(anywhere, published)


# --- what a caller may do and see


def test_the_name_in_a_certificate_is_asked_about_once_a_connection(listener, authority, client, rule):
    with channel(listener, authority, client) as one:
        for _ in range(5):
            one.unary_unary(METHOD)(request(1), timeout=5)
    assert rule.asked == [MESSENGER]


def test_who_may_not_call_is_refused_with_the_rules_own_error(listener, authority, rule, monkeypatch):
    monkeypatch.setitem(CODES, Denied, code_pb2.PERMISSION_DENIED)

    def decide(_uri: str) -> None:
        raise Denied("not you")

    rule.decide = decide
    with channel(listener, authority, authority.issue("nameless")) as one:
        for method in ("CheckNumbers", "CheckNumber", "ListOperators"):
            error = refused(
                lambda method=method: one.unary_unary(f"/numcheck.v1.CheckService/{method}")(b"", timeout=5)
            )
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you")
            assert b"DENIED" in details
        stream = one.stream_stream("/numcheck.v1.CheckService/StreamCheckNumbers")(iter([b""]), timeout=5)
        assert refused(lambda: list(stream)).code() is grpc.StatusCode.PERMISSION_DENIED
        for method in ("/grpc.health.v1.Health/Check", "/numcheck.v1.CheckService/None"):
            error = refused(lambda method=method: one.unary_unary(method)(b"", timeout=5))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        rule.decide = lambda _uri: None
        assert one.unary_unary(METHOD)(request(1), timeout=5)
    assert set(rule.asked) == {""}


def test_a_rule_that_fails_lets_nobody_in(listener, authority, client, rule):
    rule.decide = lambda _uri: frozenset(1 // 0 for _ in "x")
    with channel(listener, authority, client) as one:
        assert refused(lambda: one.unary_unary(METHOD)(b"", timeout=5)).code() is grpc.StatusCode.INTERNAL


def test_what_is_revoked_ends_on_a_connection_that_is_open(
    tls_settings, published, authority, client, rule, monkeypatch
):
    monkeypatch.setattr(native_door, "ADMITTED_FOR_S", 0.05)
    monkeypatch.setitem(CODES, Denied, code_pb2.PERMISSION_DENIED)
    listener = NativeDoor(tls_settings, published, rule)
    published.publish(published.get())

    def decide(_uri: str) -> None:
        raise Denied("no longer")

    def requests() -> Iterator[bytes]:
        yield request(1)
        rule.decide = decide
        while True:
            time.sleep(0.02)
            yield request(1)

    with channel(listener, authority, client) as one:
        stream = one.stream_stream("/numcheck.v1.CheckService/StreamCheckNumbers")(requests(), timeout=10)
        assert refused(lambda: list(stream)).code() is grpc.StatusCode.PERMISSION_DENIED
        assert refused(lambda: one.unary_unary(METHOD)(b"", timeout=5)).code() is grpc.StatusCode.PERMISSION_DENIED
    listener.stop(1)


def test_a_caller_sees_the_operators_that_it_has_agreements_with(listener, authority, rule, index):
    numbers = list(range(79_000_000_000, 79_999_999_999, 999_983))
    everything = [index.table.check(number) for number in numbers]
    operators = sorted({operator for status, operator in everything if status == NumberStatus.ACTIVE})
    agreed = {
        "ab://1": frozenset(operators[:2]),
        "ab://2": frozenset(operators[2:5]),
        "ab://0": frozenset(),
        "ab://all": None,
    }
    rule.decide = lambda uri: agreed[uri]
    for uri, operator_ids in agreed.items():
        with channel(listener, authority, authority.issue(uri[5:], uri)) as one:
            answer = check_pb2.CheckNumbersResponse.FromString(one.unary_unary(METHOD)(request(*numbers), timeout=5))
            single = one.unary_unary("/numcheck.v1.CheckService/CheckNumber")
            text = check_pb2.CheckNumberRequest(number=f"+{numbers[0]}").SerializeToString()
            assert check_pb2.CheckNumberResponse.FromString(single(text, timeout=5)).status == answer.statuses[0]
        for number, (status, operator), given in zip(numbers, everything, answer.statuses, strict=True):
            hidden = operator_ids is not None and operator not in operator_ids
            mobile_data = status in (NumberStatus.ACTIVE, NumberStatus.INACTIVE)
            assert given == (NumberStatus.UNKNOWN if hidden and mobile_data else status), number
        assert list(answer.operator_ids) == [operator for _, operator in everything]


# --- certificates change


def shown_serial(listener: NativeDoor, how: ssl.SSLContext) -> str:
    with connect(listener, how) as peer:
        found = peer.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_new_files_are_shown_without_a_restart_and_broken_ones_are_not(
    tls_settings, published, authority, client, monkeypatch
):
    monkeypatch.setattr(certificates, "RECHECK_INTERVAL_S", 0.02)
    listener, how = NativeDoor(tls_settings, published), context(authority, client, "h2")
    first = shown_serial(listener, how)
    with channel(listener, authority, client) as open_before:
        newer = authority.issue("newer")
        shutil.copy(newer.certificate, tls_settings.tls_certificate_file)  # with the old key, it is no pair
        time.sleep(0.1)
        assert shown_serial(listener, how) == first
        shutil.copy(newer.key, tls_settings.tls_key_file)
        wait_for(lambda: shown_serial(listener, how) != first)
        tls_settings.tls_certificate_file.write_text("nonsense")
        time.sleep(0.1)
        assert shown_serial(listener, how) != first
        published.publish(published.get())
        assert open_before.unary_unary(METHOD)(request(1), timeout=5)
    listener.stop(1)


def test_a_new_authority_is_asked_for_without_a_restart(
    tls_settings, published, authority, client, tmp_path, monkeypatch
):
    monkeypatch.setattr(certificates, "RECHECK_INTERVAL_S", 0.02)
    listener, other = NativeDoor(tls_settings, published), Authority(tmp_path / "other")
    successor = context(authority, other.issue("client"), "h2")
    assert not is_let_in(listener, successor)
    shutil.copy(other.file, tls_settings.tls_client_authority_file)
    wait_for(lambda: is_let_in(listener, successor))
    assert not is_let_in(listener, context(authority, client, "h2"))
    listener.stop(1)


@pytest.mark.parametrize("broken", ["tls_certificate_file", "tls_key_file", "tls_client_authority_file"])
@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_a_node_does_not_start_with_a_file_that_is_no_good(tls_settings, published, tmp_path, broken, content):
    file = tmp_path / "broken"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BadConfiguration, match=broken):
        NativeDoor(tls_settings.model_copy(update={broken: file}), published)


# --- hostile handshakes


def address_of(listener: NativeDoor) -> tuple[str, int]:
    host, port = listener.address.split(":")
    return host, int(port)


def is_ended(peer: socket.socket) -> bool:
    try:
        return not peer.recv(100)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_handshakes_that_do_not_come_to_an_end_harm_nobody_and_are_ended(listener, authority, client):
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
    silent = [socket.create_connection(address_of(listener), timeout=5) for _ in range(700)]
    for peer in silent[::2]:
        peer.send(hello)
    with channel(listener, authority, client) as one:
        assert one.unary_unary(METHOD)(request(1), timeout=60)
    # A crowd gets a second: all but 256 of each of the two loops are ended.
    for peer in silent:
        peer.setblocking(False)
    wait_for(lambda: sum(map(is_ended, silent)) >= 700 - 2 * 256 - 50)
    for peer in silent:
        peer.close()


def test_noise_instead_of_tls_ends_its_own_connection_alone(listener, authority, client):
    for noise in (
        b"\x16\x03\x01" + b"\xff" * 70_000,
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(100_000),
        struct.pack(">5B", 21, 3, 3, 0, 2),
    ):
        with socket.create_connection(address_of(listener), timeout=15) as peer, contextlib.suppress(OSError):
            peer.sendall(noise)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65_536):
                pass
    with channel(listener, authority, client) as one:
        assert one.unary_unary(METHOD)(request(1), timeout=5)
