"""What a service manager is told: ready when the node serves, alive while it does, and that it stops."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from numcheck.serving.notify import ALIVE, READY, STOPPING, notify, watchdog
from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.serving.command import serving
from tests.serving.small import ACTIVE, fill

PATIENCE_S = 30.0


class Manager:
    """The socket of a service manager."""

    def __init__(self, path: str) -> None:
        self.address = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE_S)
        self._socket.bind("\0" + path[1:] if path.startswith("@") else path)

    def next(self) -> str:
        return self._socket.recv(1024).decode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = f"@numcheck-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    one = Manager(path)
    yield one
    one.close()


def test_manager_is_told_where_its_environment_says(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    notify(READY)
    assert manager.next() == "READY=1"


def test_nothing_is_told_or_fails_where_no_manager_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify(READY)


@pytest.mark.parametrize(
    ("interval", "pid", "is_there"),
    [("", None, False), ("soon", None, False), ("2000000", None, True), ("2000000", 1, False)],
)
def test_watchdog_is_fed_where_this_process_is_watched(
    interval: str, pid: int | None, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", interval)
    monkeypatch.setenv("WATCHDOG_PID", str(pid or os.getpid()))
    assert (watchdog() is not None) == is_there


def test_node_is_ready_alive_and_stopping_and_the_manager_knows(tmp_path: Path) -> None:
    """When it is told READY=1 the node answers."""
    manager = Manager(str(tmp_path / "notify"))
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    told = []
    with serving(fill(tmp_path / "var"), env=env) as node:
        while READY not in told:
            told.append(manager.next())
        with grpc.insecure_channel(node.address) as channel:
            request = check_pb2.CheckNumbersRequest(numbers=[ACTIVE])
            assert check_pb2_grpc.CheckServiceStub(channel).CheckNumbers(request).statuses == [4]
        assert manager.next() == ALIVE
        node.process.end()
    while told[-1] != STOPPING:
        told.append(manager.next())
    assert set(told) <= {READY, ALIVE, STOPPING}
    manager.close()
