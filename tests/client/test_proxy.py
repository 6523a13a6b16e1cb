"""A client and a command reach a node on loopback whatever proxies the environment names."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from numcheck.client import CheckClient, Security
from numcheck.errors import NodeUnreachable
from tests.serving import small
from tests.serving.command import Node, run, serving

PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "GRPC_PROXY", "HTTP_PROXY", "ALL_PROXY")


class Proxy:
    """Takes connections, keeps the first line of each, and closes it."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked: list[bytes] = []
        self.came = threading.Event()
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4_096).split(b"\r\n")[0])
            self.came.set()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    one = Proxy()
    for name in PROXIES:
        monkeypatch.setenv(name, one.url)
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield one
    one.close()


@pytest.fixture(scope="module")
def node_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.fill(tmp_path_factory.mktemp("proxied") / "var")


@pytest.fixture(scope="module")
def node(node_dir: Path) -> Iterator[Node]:
    with serving(node_dir) as one:
        yield one


@pytest.mark.parametrize("use_proxy", [False, True])
def test_a_node_on_loopback_is_asked_itself(node: Node, proxy: Proxy, use_proxy: bool) -> None:
    with CheckClient(node.address, Security(use_proxy=use_proxy)) as client:
        assert client.check_number(f"+{small.ACTIVE}").number == small.ACTIVE
    assert proxy.asked == []


@pytest.mark.usefixtures("proxy")
def test_commands_ask_a_node_on_loopback_itself(node: Node, node_dir: Path) -> None:
    asked = run("check", f"+{small.ACTIVE}", "--server", node.address)
    told = json.loads(run("status", "--data-dir", node_dir, "--json").out)
    assert (asked.status, told["listener"]["state"]) == (0, "serving")


def test_another_machine_is_asked_by_a_proxy_only_if_that_is_said(proxy: Proxy) -> None:
    """The name is one that RFC 6761 reserves for nobody."""
    for use_proxy in (False, True):
        with (
            CheckClient("numcheck.invalid:50051", Security(use_proxy=use_proxy)) as client,
            pytest.raises(NodeUnreachable),
        ):
            client.check_number(f"+{small.ACTIVE}")
        assert bool(proxy.asked) is use_proxy
