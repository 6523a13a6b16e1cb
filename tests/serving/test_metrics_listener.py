"""Whoever watches a node asks over plain HTTP, from anywhere: metrics, whether it is alive, whether it is ready."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from numcheck.config import Settings
from numcheck.errors import BadListenAddress
from numcheck.serving import plain_http
from numcheck.serving.metrics_listener import MetricsListener
from numcheck.serving.plain_http import REQUEST_TIMEOUT_S, REQUESTS_MAX
from tests.serving.command import FREE_PORT, running


class Listener:
    """A listener with no node behind it; `missing` is what the node lacks."""

    def __init__(self, tmp_path: Path, address: str = "127.0.0.1:0", collector: Collector | None = None) -> None:
        self.missing: list[str] = []
        settings = Settings(data_dir=tmp_path, metrics_listen=address)
        self.listener = MetricsListener(settings, collector or CollectorRegistry(), lambda: self.missing)
        self.port = int(self.listener.address.rpartition(":")[2])

    def get(self, path: str, host: str = "localhost") -> tuple[int, str]:
        return get(f"http://127.0.0.1:{self.port}{path}", host)

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


def get(url: str, host: str = "localhost") -> tuple[int, str]:
    """The status and the body of an answer."""
    request = urllib.request.Request(url, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    one = Listener(tmp_path)
    yield one
    one.listener.stop()


def test_alive_is_alive_and_ready_says_what_is_missing(listener: Listener) -> None:
    """A kubelet asks for the status alone, a person reads why."""
    assert listener.get("/healthz") == (200, "alive\n")
    assert listener.get("/readyz") == (200, "ready\n")
    listener.missing[:] = ["no index is served from", "the store does not answer"]
    assert listener.get("/readyz") == (503, "no index is served from; the store does not answer\n")
    assert listener.get("/healthz") == (200, "alive\n")
    assert listener.get("/metrics?name[]=x")[0] == 200


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/../etc/passwd"])
def test_there_is_nothing_at_any_other_path(listener: Listener, path: str) -> None:
    status, body = listener.get(path)
    assert status == 404
    assert "etc" not in body


def test_what_it_runs_on_is_not_told(listener: Listener) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{listener.port}/healthz", timeout=10) as answer:
        assert answer.headers["Server"] == "numcheck"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:9100", 200),
        ("127.0.0.1:9100", 200),
        ("127.8.7.6", 200),
        ("[::1]:9100", 200),
        ("attacker.example", 403),
        ("localhost.attacker.example:9100", 403),
        ("192.0.2.1:9100", 403),
        ("", 403),
    ],
)
def test_on_loopback_requests_for_this_machine_alone_are_answered(listener: Listener, host: str, status: int) -> None:
    """A page of a stranger's site whose name leads to loopback reads nothing, at no path."""
    assert {listener.get(path, host)[0] for path in ("/metrics", "/healthz", "/readyz")} == {status}


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_beyond_loopback_it_is_asked_under_any_name(tmp_path: Path, address: str) -> None:
    """As a kubelet does by an address, and Prometheus by the name of a service."""
    try:
        one = Listener(tmp_path, address)
    except BadListenAddress:
        pytest.skip("this machine has no IPv6")
    try:
        if address.startswith("[::]") and not socket.has_dualstack_ipv6():
            pytest.skip("IPv6 alone")
        assert one.get("/healthz", "numcheck.monitoring.svc:9464") == (200, "alive\n")
        assert one.get("/metrics", "192.0.2.7:9464")[0] == 200
    finally:
        one.listener.stop()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:x", "127.0.0.1:65536", "::1:9464"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(BadListenAddress):
        Listener(tmp_path, address)


def test_an_address_that_is_taken_is_refused(listener: Listener, tmp_path: Path) -> None:
    with pytest.raises(BadListenAddress):
        Listener(tmp_path, listener.listener.address)


def test_half_requests_hold_a_few_threads_and_keep_no_probe_from_its_answer(listener: Listener) -> None:
    """Four hundred of them at once: whoever asks meanwhile is answered, as the oldest half request gives its place."""
    before = threading.active_count()
    with ExitStack() as opened:
        for place in range(400):
            half = opened.enter_context(listener.connected())
            with suppress(OSError):  # it was one too many already
                half.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n" if place % 2 else b"G")
        assert threading.active_count() <= before + 2 * REQUESTS_MAX  # one that gave its place back may still end
        assert listener.get("/healthz") == (200, "alive\n")


class Large(Collector):
    """More than the system takes of an answer for a peer that takes nothing."""

    def collect(self) -> Iterator[Metric]:
        yield Metric("large", "x" * 2**24, "gauge")


def test_peers_that_take_no_answer_keep_no_probe_from_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there are places, each with a whole request: the oldest gives its place."""
    monkeypatch.setattr(plain_http, "TAKEN_WITHIN_S", 0)
    listener = Listener(tmp_path, collector=Large())
    try:
        with ExitStack() as opened:
            for _ in range(REQUESTS_MAX):
                peer = opened.enter_context(listener.connected())
                peer.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert peer.recv(1)
            assert listener.get("/healthz") == (200, "alive\n")
    finally:
        listener.listener.stop()


def test_slow_request_is_ended_however_busy_its_peer(listener: Listener) -> None:
    """A byte now and then does not keep its place."""
    with listener.connected() as slow:
        slow.settimeout(0.1)
        for _ in range(int(10 * 4 * REQUEST_TIMEOUT_S)):
            with suppress(OSError):
                slow.sendall(b"x")
            try:
                ended = slow.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
            break
        assert ended


def test_a_node_is_alive_and_ready_while_it_serves(data_dir: Path) -> None:
    """From a command's option; it stops answering with the node."""
    with running("serve", "--data-dir", data_dir, *FREE_PORT, "--metrics-listen", "127.0.0.1:0") as process:
        address = process.line_with("metrics ready on ").split("http://")[1].split("/")[0]
        process.line_with("ready on 127.0.0.1")
        assert get(f"http://{address}/healthz") == (200, "alive\n")
        assert get(f"http://{address}/readyz") == (200, "ready\n")
        status, body = get(f"http://{address}/metrics")
        assert status == 200
        assert "\nnumcheck_index_lag 0.0\n" in body
