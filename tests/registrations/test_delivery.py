"""Codes over an HTTP gateway, against a gateway that checks the signature by itself."""

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import math
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from numcheck.config import Settings
from numcheck.delivery.http import HttpCourier
from numcheck.delivery.requests import signed_requests
from numcheck.errors import BadConfiguration, DeliveryFailed
from numcheck.serving.couriers import delivery_of
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.delivery.gateway import Gateway, gateway_running
from tests.delivery.messages import BY_SMS, message_of
from tests.registrations.test_service import register_request
from tests.serving import small
from tests.serving.command import serving

KEY = b"a gateway's key of enough bytes"
NOW = datetime(2026, 9, 1, tzinfo=UTC)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with gateway_running() as one:
        yield one


@pytest.fixture
def courier(gateway: Gateway) -> Iterator[HttpCourier]:
    one = courier_to(gateway.url, sends_at_once_max=2)
    yield one
    one.close()


def courier_to(url: str, **options: Any) -> HttpCourier:
    return HttpCourier(signed_requests(url, KEY, lambda: NOW), now=lambda: NOW, **options)


def send(courier: HttpCourier) -> None:
    courier.send(message_of())


def test_a_code_is_handed_over_whole_and_signed(gateway: Gateway, courier: HttpCourier) -> None:
    """As Standard Webhooks says, computed here by hand."""
    send(courier)
    (asked,) = gateway.got
    headers, body = asked.headers, asked.body
    assert json.loads(body) == {
        "number": f"+{small.ACTIVE}",
        "code": "042917",
        "channel": "sms",
        "service": "messenger",
        "language": "",
        "text": "042917",
    }
    stamp = str(int(NOW.timestamp()))
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("m1", stamp)
    digest = hmac.new(KEY, b"m1." + stamp.encode() + b"." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


@pytest.mark.parametrize("failure", [500, 503, 429])
def test_a_failure_is_repeated_once_with_the_same_id(gateway: Gateway, courier: HttpCourier, failure: int) -> None:
    gateway.answers = [failure, 200]
    send(courier)
    assert [one.headers["webhook-id"] for one in gateway.got] == ["m1", "m1"]
    gateway.answers = [failure]
    with pytest.raises(DeliveryFailed):
        send(courier)
    assert len(gateway.got) == 4


@pytest.mark.parametrize("refusal", [302, 400, 401, 404])
def test_a_refusal_is_not_repeated_and_no_redirect_is_followed(
    gateway: Gateway, courier: HttpCourier, refusal: int
) -> None:
    gateway.answers = [refusal]
    with pytest.raises(DeliveryFailed) as caught:
        send(courier)
    assert len(gateway.got) == 1
    assert not {str(small.ACTIVE), "042917"} & set(str(caught.value).split())


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("asked", ["1", "Tue, 01 Sep 2026 00:00:01 GMT"])
def test_a_gateway_is_asked_again_when_it_wants_to_be(
    gateway: Gateway, courier: HttpCourier, status: int, asked: str
) -> None:
    """RFC 9110, 10.2.3: in seconds, or as a date, which is a second from the courier's now."""
    gateway.answers, gateway.retry_after = [status, 204], asked
    send(courier)
    first_s, second_s = (one.at_s for one in gateway.got)
    assert second_s - first_s >= 1


def test_a_date_that_has_passed_or_is_none_is_no_wait(gateway: Gateway, courier: HttpCourier) -> None:
    for asked in ("Mon, 31 Aug 2026 23:59:59 GMT", "soon", "-1", "1e9", "1.5"):
        gateway.answers, gateway.retry_after = [503, 204], asked
        send(courier)


@pytest.mark.parametrize(("asked", "patience_s"), [("11", math.inf), ("2", 1.5), ("999999999", 60.0)])
def test_nobody_is_kept_waiting_for_a_gateway_that_wants_too_long(
    gateway: Gateway, asked: str, patience_s: float
) -> None:
    """Longer than its caller waits, or than anybody is kept: told at once, with how long, and not repeated."""
    courier = courier_to(
        gateway.url,
        sends_at_once_max=1,
        patience_s=lambda: patience_s,
    )
    gateway.answers, gateway.retry_after = [429], asked
    with pytest.raises(DeliveryFailed) as refused:
        send(courier)
    courier.close()
    assert len(gateway.got) == 1
    assert refused.value.retry_delay_s == float(asked)


@pytest.mark.parametrize("status", [500, 503, 429, 400, 302, 0])
def test_what_a_gateway_does_not_take_is_logged_and_counted_without_number_or_code(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """0: it is silent."""
    monkeypatch.setattr("numcheck.delivery.posting.TIMEOUT_S", 0.2)
    secret = tmp_path / "gateway.key"
    secret.write_bytes(KEY)
    gateway.answers = [status or 204]
    silent = Raw(itertools.repeat(b"")) if status == 0 else None
    url = silent.url if silent else gateway.url
    delivery = delivery_of(Settings(code_delivery=url, code_delivery_secret_file=secret), lambda _line: None)
    assert delivery.courier is not None
    with structlog.testing.capture_logs() as lines, pytest.raises(DeliveryFailed):
        delivery.courier.send(small.ACTIVE, BY_SMS, service="messenger", message_id="m1")
    delivery.close()
    if silent:
        silent.close()
    (last,) = [line for line in lines if line["event"] == "a code was not handed over"]
    assert (str(status) if status else "does not answer") in last["problem"]
    assert delivery.counts == {("default", "sms", "failed"): 1}
    assert not any(secret in str(lines) for secret in (str(small.ACTIVE), "042917"))


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("use_proxy", [False, True])
def test_a_code_never_goes_by_a_proxy_to_a_gateway_on_loopback(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, use_proxy: bool
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "gateway.key").write_bytes(KEY)
    settings = Settings(
        code_delivery=gateway.url, code_delivery_secret_file=tmp_path / "gateway.key", use_proxy=use_proxy
    )
    delivery = delivery_of(settings, lambda _line: None)
    assert delivery.courier is not None
    delivery.courier.send(small.ACTIVE, BY_SMS, service="messenger", message_id="m1")
    delivery.close()
    assert len(gateway.got) == 1


@pytest.mark.parametrize("use_proxy", [False, True])
def test_a_code_goes_by_a_proxy_to_another_host_only_if_the_setting_says_so(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, use_proxy: bool
) -> None:
    """The gateway stands in for the proxy; the other host is a name that RFC 6761 reserves for nobody."""
    monkeypatch.setenv("http_proxy", gateway.url)
    monkeypatch.delenv("no_proxy", raising=False)
    courier = courier_to(
        "http://gateway.invalid/codes",
        sends_at_once_max=1,
        use_proxy=use_proxy,
    )
    with contextlib.nullcontext() if use_proxy else pytest.raises(DeliveryFailed):
        send(courier)
    courier.close()
    assert len(gateway.got) == use_proxy


def test_a_gateway_that_is_gone_fails_the_delivery() -> None:
    courier = courier_to("http://127.0.0.1:1/", sends_at_once_max=1)
    with pytest.raises(DeliveryFailed):
        send(courier)
    courier.close()


class Raw:
    """A gateway that answers each request with what a test gives it, byte by byte, until its client goes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self.gone = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            connection.recv(65_536)
            connection.settimeout(0.001)
            for piece in self._pieces:
                try:
                    connection.sendall(piece)
                    if connection.recv(1) == b"":
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        self.gone.set()

    def close(self) -> None:
        self._thread.join()
        self._server.close()


def test_a_body_without_end_is_not_read() -> None:
    """The status is the answer; the connection is closed on whatever follows it."""
    endless = itertools.chain(
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\nx\r\n")
    )
    gateway = Raw(endless)
    courier = courier_to(gateway.url, sends_at_once_max=1)
    send(courier)
    assert gateway.gone.wait(60)
    courier.close()
    gateway.close()


def test_a_gateway_that_answers_a_byte_at_a_time_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is free again: headers without end, each byte of them in time, hold nobody for longer than all may."""
    monkeypatch.setattr("numcheck.delivery.posting.TIMEOUT_S", 0.2)
    monkeypatch.setattr("numcheck.delivery.http.ATTEMPTS_MAX", 1)
    gateway = Raw(itertools.chain([b"HTTP/1.1 200 OK\r\nx: "], itertools.repeat(b"x")))
    courier = courier_to(gateway.url, sends_at_once_max=1)
    with pytest.raises(DeliveryFailed):
        send(courier)
    assert gateway.gone.wait(60)
    with courier._places.taken("another") as has_place:
        assert has_place
    courier.close()
    gateway.close()


def test_a_node_sends_through_its_gateway_and_the_code_verifies(
    gateway: Gateway, data_dir: Path, tmp_path: Path
) -> None:
    """II.2 over HTTP: what the gateway got is what the user types."""
    secret = tmp_path / "gateway.key"
    secret.write_bytes(KEY + b"\n")
    env = {"NUMCHECK_CODE_DELIVERY": gateway.url, "NUMCHECK_CODE_DELIVERY_SECRET_FILE": str(secret)}
    with serving(data_dir, env=env) as node, grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        made = stub.Register(register_request("messenger", small.UNKNOWN))
        (asked,) = gateway.got
        headers, body = asked.headers, asked.body
        assert headers["webhook-id"] == made.verification.verification_id
        complete = pb.CompleteVerificationRequest(
            service="messenger", verification_id=made.verification.verification_id, code=json.loads(body)["code"]
        )
        assert stub.CompleteVerification(complete).registration.state == pb.REGISTRATION_STATE_VERIFIED
        gateway.answers = [500]
        other = stub.Register(register_request("messenger", small.UNKNOWN + 1, user_id="u2"))
        assert other.verification_problem == "DELIVERY_FAILED"
        lines = " ".join(node.process.lines)
    assert json.loads(body)["code"] not in lines
    assert str(small.UNKNOWN) not in lines


@pytest.mark.parametrize(
    "fields",
    [
        {"code_delivery": "pigeon"},
        {"code_delivery": "http://127.0.0.1:1/"},
        {"code_delivery": "https://gateway/", "code_delivery_secret_file": "short"},
    ],
)
def test_settings_that_cannot_deliver_are_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    (tmp_path / "short").write_bytes(b"x" * 23)
    named = {name: tmp_path / value if name.endswith("file") else value for name, value in fields.items()}
    with pytest.raises(BadConfiguration):
        delivery_of(Settings(**named), lambda _line: None)  # type: ignore[arg-type]
