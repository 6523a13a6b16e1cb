"""A node that is handed its listening socket: what connects while it is started anew waits, and is answered."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from numcheck.config import Settings
from numcheck.door.native_door import LACKING
from numcheck.errors import BadListenAddress
from numcheck.serving.activation import listening_for
from numcheck.v1.check_pb2 import CheckNumbersRequest
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from tests.serving import small
from tests.serving.command import NUMCHECK, PLAIN, environment
from tests.serving.small import fill

PATIENCE_S = 60.0
# As a manager starts a service: the socket is descriptor 3, and the environment says whose it is.
HANDING_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""
needs_native = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))


@pytest.fixture
def handed() -> Iterator[socket.socket]:
    """A socket that listens, as a manager keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


@contextmanager
def started(handed: socket.socket, data_dir: Path, *command: str) -> Iterator["subprocess.Popen[str]"]:
    """A node that was handed the socket."""
    line = [sys.executable, "-c", HANDING_OVER, str(handed.fileno()), *command, "serve", "--data-dir", str(data_dir)]
    env = environment({"NUMCHECK_THREADS": "2", "NUMCHECK_LISTEN": "127.0.0.1:1"})
    node = subprocess.Popen(line, pass_fds=[handed.fileno()], env=env, stderr=subprocess.PIPE, text=True)
    try:
        yield node
    finally:
        node.send_signal(signal.SIGTERM)
        node.communicate(timeout=PATIENCE_S)


def line_with(node: "subprocess.Popen[str]", text: str) -> str:
    assert node.stderr is not None
    return next(line for line in node.stderr if text in line)


def ask(address: str) -> int:
    """Ask over a connection of its own, made once, until there is an index; the version of the one that answered."""
    request, end = CheckNumbersRequest(numbers=[small.ACTIVE]), time.monotonic() + PATIENCE_S
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = CheckServiceStub(channel)
        while True:
            try:
                return int(stub.CheckNumbers(request, timeout=PATIENCE_S).index_version)
            except grpc.RpcError as error:
                if "this node has no index" not in str(error.details()) or time.monotonic() > end:
                    raise
                time.sleep(0.02)


@needs_native
def test_a_restart_refuses_no_connection(handed: socket.socket, tmp_path: Path) -> None:
    """Of those that come while the old node ends, while there is none, and while the new one begins: none is made twice
    (a client that is refused would connect anew)."""
    data_dir, address = fill(tmp_path / "var"), f"127.0.0.1:{handed.getsockname()[1]}"
    with started(handed, data_dir, *NUMCHECK) as node:
        assert f"ready on {address} " in line_with(node, "ready on ")
        version = ask(address)
        node.send_signal(signal.SIGTERM)
        node.communicate(timeout=PATIENCE_S)
        assert node.returncode == 0
    with ExitStack() as stack, ThreadPoolExecutor(8) as clients:
        waiting = [
            stack.enter_context(socket.create_connection(handed.getsockname(), timeout=PATIENCE_S)) for _ in range(20)
        ]
        answers = [clients.submit(ask, address) for _ in range(8)]
        stack.enter_context(started(handed, data_dir, *NUMCHECK))
        assert [one.result() for one in answers] == [version] * 8
        for one in waiting:
            one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            assert one.recv(9)[3] == 4  # SETTINGS


def test_a_socket_that_grpcios_server_cannot_take_is_refused(handed: socket.socket, tmp_path: Path) -> None:
    with started(handed, fill(tmp_path / "var"), *PLAIN) as node:
        told = line_with(node, "numcheck: ")
    assert "a socket was handed over (LISTEN_FDS), which grpcio's server cannot take" in told


def of_environment(monkeypatch: pytest.MonkeyPatch, *, pid: int | None = None, count: str = "1") -> Settings:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() if pid is None else pid))
    monkeypatch.setenv("LISTEN_FDS", count)
    return Settings(listen="127.0.0.1:0")


@pytest.mark.parametrize(("pid", "count"), [(1, "1"), (None, "0")])
def test_another_processs_socket_is_left_alone(monkeypatch: pytest.MonkeyPatch, pid: int | None, count: str) -> None:
    """The variables are no child's of this process either."""
    assert listening_for(of_environment(monkeypatch, pid=pid, count=count)) is None
    assert not {"LISTEN_PID", "LISTEN_FDS"} & os.environ.keys()


@pytest.mark.parametrize("count", ["2", "x", "-1"])
def test_another_number_of_sockets_is_refused(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    with pytest.raises(BadListenAddress, match="a node takes one socket"):
        listening_for(of_environment(monkeypatch, count=count))


def made(kind: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX if kind == "local" else socket.AF_INET)
    if kind == "beyond loopback":
        one.bind(("0.0.0.0", 0))
        one.listen()
    return one


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("local", "is no TCP socket that listens"),
        ("not listening", "is no TCP socket that listens"),
        ("beyond loopback", "0.0.0.0 is not a loopback address"),
    ],
)
def test_a_socket_that_a_node_may_not_listen_on_is_refused(
    monkeypatch: pytest.MonkeyPatch, kind: str, problem: str
) -> None:
    """By the same rule as `listen`: in plaintext on loopback alone."""
    one = made(kind)
    monkeypatch.setattr("numcheck.serving.activation.FIRST_FD", one.detach())
    with pytest.raises(BadListenAddress, match=problem):
        listening_for(of_environment(monkeypatch))
