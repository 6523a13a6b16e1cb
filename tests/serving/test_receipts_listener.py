"""HTTP gateways report deliveries over plain HTTP on loopback; strangers, and what is broken, change nothing."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from numcheck.config import load_settings
from numcheck.errors import BadConfiguration, BadListenAddress
from numcheck.registrations.registration import CodeToSend
from numcheck.serving.couriers import check_delivery, delivery_of
from numcheck.serving.plain_http import REQUESTS_MAX
from numcheck.serving.receipts_listener import BODY_SIZE_MAX, ReceiptsListener
from tests.delivery.gateway import Gateway, gateway_running
from tests.serving import small
from tests.serving.command import run

SECRET = "a secret that is long enough"
DELIVERED = b'{"message_id": "m1", "status": "delivered"}'


class World:
    """A courier that has been given one message, and the listener for its reports."""

    def __init__(self, gateway: Gateway, directory: Path) -> None:
        (directory / "secret").write_text(f"{SECRET}\n")
        courier = {
            "name": "vendor",
            "url": gateway.url,
            "form": {"to": "{number}"},
            "callback": {"secret_file": str(directory / "secret")},
        }
        settings = load_settings(couriers=[courier], receipts_listen="127.0.0.1:0")
        self.delivery = delivery_of(settings, lambda _line: None, operator_of=lambda _number: "3")
        assert self.delivery.courier is not None
        self.delivery.courier.send(small.ACTIVE, CodeToSend("1", ("sms",)), service="chat", message_id="m1")
        self.listener = ReceiptsListener(settings, self.delivery.desks)
        self.port = int(self.listener.address.rpartition(":")[2])

    @property
    def receipts(self) -> dict[tuple[str, ...], int]:
        return {tuple(key): count for key, count in self.delivery.ledger.receipts.items()}

    def ask(
        self, body: bytes = DELIVERED, path: str = "/receipts/vendor", method: str = "POST", **headers: str
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        own = {"Authorization": f"Bearer {SECRET}", **{name.replace("_", "-"): one for name, one in headers.items()}}
        connection.request(method, path, body, own)
        answer = connection.getresponse()
        told = answer.status, answer.read().decode()
        connection.close()
        return told

    def say(self, request: bytes) -> bytes:
        """Send bytes, and end; what is answered."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as peer:
            peer.sendall(request)
            peer.shutdown(socket.SHUT_WR)
            return peer.makefile("rb").read()

    def close(self) -> None:
        self.listener.stop()
        self.delivery.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with gateway_running() as gateway:
        one = World(gateway, tmp_path)
        yield one
        one.close()


def test_a_report_counts_by_the_operator_of_its_message(world: World) -> None:
    """Repeated it changes nothing; of a message that is not known it is taken as well, or it would come again."""
    assert world.ask() == (204, "")
    assert world.ask() == (204, "")
    assert world.ask(b'{"message_id": "m2", "status": "failed"}')[0] == 204
    assert world.receipts == {("vendor", "3", "delivered"): 1, ("vendor", "", "failed"): 1}


def test_a_gateway_that_can_only_ask_an_address_reports_as_well(world: World) -> None:
    path = f"/receipts/vendor/{SECRET.replace(' ', '%20')}?message_id=m1&status=expired"
    assert world.ask(b"", path, "GET", Authorization="") == (204, "")
    assert world.receipts == {("vendor", "3", "failed"): 1}
    assert world.delivery.ledger.judged == {("vendor", "3", "lost"): 1}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/receipts/vendor", {"Authorization": ""}, 401),
        ("/receipts/vendor", {"Authorization": "Bearer x"}, 401),
        ("/receipts/nobody", {}, 401),
        ("/receipts/vendor/x", {"Authorization": ""}, 401),
        ("/receipts/..", {}, 401),
        ("/receipts/vendor/x/y", {}, 404),
        ("/receipts/", {}, 404),
        ("/", {}, 404),
        ("/metrics", {}, 404),
    ],
)
def test_who_has_no_secret_learns_and_changes_nothing(
    world: World, path: str, headers: dict[str, str], status: int
) -> None:
    """A courier that is not there looks like one whose secret is another. Nothing that was sent is logged."""
    with structlog.testing.capture_logs() as lines:
        told = world.ask(path=path, **headers)
    assert told[0] == status
    assert world.receipts == {}
    assert "m1" not in str(lines) + told[1]
    assert SECRET not in str(lines) + told[1]


HEAD = b"POST /receipts/vendor HTTP/1.1\r\nAuthorization: Bearer " + SECRET.encode() + b"\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"\r\n", 411),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 0x10\r\n\r\n", 400),
        (HEAD + b"Content-Length: 9999999999\r\n\r\n", 400),
        (HEAD + f"Content-Length: {BODY_SIZE_MAX + 1}\r\n\r\n".encode(), 413),
        (HEAD + b"Content-Length: 50\r\n\r\n" + DELIVERED, 400),
        (HEAD + b"Content-Length: 1\r\n\r\n{", 400),
        (HEAD.replace(b"POST", b"DELETE") + b"\r\n", 501),
        (HEAD + b"x: y\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"\x16\x03\x01 a ClientHello\r\n\r\n", 400),
    ],
)
def test_a_request_that_is_broken_is_refused_and_counts_nothing(world: World, request_: bytes, status: int) -> None:
    answer = world.say(request_)
    assert f" {status} ".encode() in answer.split(b"\r\n")[0] or f"Error code: {status}".encode() in answer
    assert world.receipts == {}


def test_peers_that_never_send_all_of_it_keep_no_gateway_waiting(world: World) -> None:
    """As many as have a place: the oldest goes for the one that comes."""
    slow = [socket.create_connection(("127.0.0.1", world.port)) for _ in range(REQUESTS_MAX)]
    for peer in slow:
        peer.sendall(HEAD + b"Content-Length: 50\r\n\r\n{")
    assert world.ask() == (204, "")
    for peer in slow:
        peer.close()


def test_many_reports_at_once_are_each_counted(world: World) -> None:
    bodies = [json.dumps({"message_id": f"x{place}", "status": "failed"}).encode() for place in range(40)]
    threads = [
        threading.Thread(target=lambda some=bodies[first::4]: [world.ask(body) for body in some]) for first in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.receipts == {("vendor", "", "failed"): 40}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"receipts_listen": None}, "receipts_listen: goes together"),
        ({"couriers": [{"name": "a", "url": "console"}]}, "receipts_listen: goes together"),
        ({"couriers": []}, "receipts_listen: goes together"),
        ({"callback": {"secret_file": "short"}}, "couriers.vendor.callback.secret_file: has less than 24 bytes"),
        ({"callback": {"secret_file": "none"}}, "couriers.vendor.callback.secret_file: cannot be read"),
        ({"callback": {"secret_file": "key", "failed": "("}}, "couriers.0.callback.failed: is no regular"),
        ({"callback": {"secret_file": "key", "colour": "red"}}, "couriers.0.callback.colour"),
        ({"callback": {}}, "couriers.0.callback.secret_file"),
        ({"url": "console", "callback": {"secret_file": "key"}}, "couriers.vendor.callback: only an HTTP gateway"),
    ],
)
def test_a_callback_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("x" * 23)
    (tmp_path / "key").write_text("x" * 24)
    courier = {"name": "vendor", "url": "https://x", "form": {}, **changes}
    top = {name: courier.pop(name) for name in ("receipts_listen", "couriers") if name in courier}
    courier.setdefault("callback", {"secret_file": "key"})
    with pytest.raises(BadConfiguration) as refused:
        check_delivery(load_settings(**{"receipts_listen": "127.0.0.1:0", "couriers": [courier], **top}))
    assert problem in str(refused.value)


def test_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    """Plain HTTP, with secrets in it: what is beyond comes by a proxy."""
    with pytest.raises(BadListenAddress, match="loopback"):
        ReceiptsListener(load_settings(receipts_listen="0.0.0.0:0"), {})
    (tmp_path / "key").write_text("x" * 24)
    (tmp_path / "numcheck.toml").write_text(
        "receipts_listen = '192.0.2.1:80'\n[[couriers]]\nname = 'a'\nurl = 'https://x'\nform = { }\n"
        "[couriers.callback]\nsecret_file = 'key'\n"
    )
    checked = run("config", "check", "--config", "numcheck.toml", cwd=tmp_path)
    assert (checked.status, "loopback" in checked.err) == (1, True)
