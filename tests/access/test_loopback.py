"""Who may call in plaintext, on loopback: whoever could read the data directory, on either door."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from numcheck.access import Caller, Role
from numcheck.api.access import LoopbackAccess, Shown
from numcheck.config import Settings
from numcheck.door import loopback
from numcheck.door.loopback import user_of, user_of_grpc_peer, user_of_socket
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.errors import NotPermitted
from numcheck.serving.access import loopback_access
from numcheck.store import Store
from tests.serving.command import run, serving
from tests.serving.small import fill

NOBODY = 65_534
CALLS = """
import json, os, sys, grpc
from grpc_status import rpc_status
from google.rpc import error_details_pb2
os.setgid({gid}); os.setuid({uid})
for address, path in json.loads(sys.argv[1]):
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(path)(b"", timeout=20)
            print("OK")
        except grpc.RpcError as error:
            info = error_details_pb2.ErrorInfo()
            details = rpc_status.from_call(error)
            details and details.details[0].Unpack(info)
            print(error.code().name, info.reason, error.details())
"""
"""What a process of another user is answered; it becomes that user when it has read its modules."""
METHODS = ["/numcheck.v1.CheckService/ListOperators", "/grpc.health.v1.Health/Check"]
API_METHODS = [*METHODS, "/numcheck.v1.CallerService/ListCallers", "/numcheck.v1.RegistrationService/Register"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's process is started by root alone")
needs_linux = pytest.mark.skipif(not loopback.knows_users(), reason="Linux alone says whose a socket is")
pytestmark = needs_linux


def answers(uid: int, calls: list[tuple[str, str]]) -> list[str]:
    command = [sys.executable, "-c", CALLS.format(uid=uid, gid=uid), json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return done.stdout.splitlines()


@contextmanager
def node(directory: Path, *arguments: str) -> Iterator[tuple[list[tuple[str, str]], list[str]]]:
    """Calls of each kind to a node, and the lines that it has written."""
    with serving(fill(directory), *arguments) as one:
        yield [(one.address, method) for method in API_METHODS], one.process.lines


@needs_root
def test_other_users_of_this_machine_are_refused_and_told_why(tmp_path):
    """At each method; root goes on calling. What was denied is kept, by the user's id."""
    with node(tmp_path / "var") as (calls, lines):
        for answer in answers(NOBODY, calls):
            assert answer.startswith(
                "PERMISSION_DENIED NOT_PERMITTED in plaintext this node lets in root and the owner"
            )
        assert answers(0, calls[:2]) == ["OK", "OK"]
        assert any("root and the owner of the data directory" in line for line in lines)
    with Store(tmp_path / "var", read_only=True) as store:
        denials = store.last_denials(100)
    assert {(one.uri, one.reason) for one in denials} == {(f"loopback uid {NOBODY}", "NOT_PERMITTED")}
    assert {one.method for one in denials} == set(API_METHODS)


@needs_root
def test_setting_lets_in_every_user_and_is_warned_of(tmp_path):
    with node(tmp_path / "var", "--config", str(config(tmp_path, "everyone"))) as (calls, lines):
        assert answers(NOBODY, calls[:2]) == ["OK", "OK"]
        assert any("WARNING: every user" in line for line in lines)
        shown = run("status", "--config", tmp_path / "node.toml", "--data-dir", tmp_path / "var")
        assert "every user of this machine is the administrator" in " ".join(shown.out.split())


def config(directory: Path, who: str) -> Path:
    path = directory / "node.toml"
    path.write_text(f'plaintext_callers = "{who}"\n')
    return path


def test_owner_of_the_data_directory_root_and_the_node_are_let_in(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    denied = []
    access = loopback_access(Settings(data_dir=tmp_path), lambda *one: denied.append(one))
    for uid in (0, 7, tmp_path.stat().st_uid):
        assert access.admit(Shown(uid=uid), "/x") == Caller(f"loopback uid {uid}", Role.ADMINISTRATOR)
    for uid in (8, NOBODY, None):
        with pytest.raises(NotPermitted, match="root and the owner"):
            access.admit(Shown(uid=uid), "/79161234567")
    assert {one[1:] for one in denied} == {("(no such method)", "NOT_PERMITTED")}


# --- whose socket it is


@pytest.fixture(params=["127.0.0.1", "::1", "mapped"])
def pair(request):
    """A connection over loopback, from a socket of each family."""
    family = socket.AF_INET6 if request.param == "::1" else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind(("127.0.0.1" if request.param == "mapped" else request.param, 0))
        listening.listen()
        mapped = request.param == "mapped"
        with socket.socket(socket.AF_INET6 if mapped else family) as client:
            host, port = listening.getsockname()[:2]
            client.connect((f"::ffff:{host}" if mapped else host, port))
            server, _ = listening.accept()
            with server:
                yield server


@pytest.mark.parametrize("ask", [user_of, loopback._by_table])
def test_user_of_the_other_end_is_known(pair, ask):
    """By sock_diag, and by the table where a kernel has no sock_diag; a port that nobody has is nobody's."""
    peer, own = pair.getpeername()[:2], pair.getsockname()[:2]
    assert ask(peer, own) == os.geteuid()
    assert user_of_socket(pair.fileno()) == os.geteuid()
    assert ask((peer[0], 1), own) is None


def test_table_is_read_where_the_kernel_has_no_sock_diag(pair, monkeypatch):
    monkeypatch.setattr(loopback, "_tells", lambda ask: ask is not loopback._by_sock_diag)
    assert user_of_socket(pair.fileno()) == os.geteuid()
    monkeypatch.setattr(loopback, "TABLES", dict.fromkeys(loopback.TABLES, ("/proc/net/none",)))
    assert user_of_socket(pair.fileno()) is None


@pytest.mark.parametrize("ask", [user_of, loopback._by_table])
def test_socket_that_nobody_holds_any_more_is_nobodys(ask):
    """The kernel calls it root's, though another user's it was: it would be let in for root's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
        peer, own = server.getpeername(), server.getsockname()
        with client:
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
            assert ask(peer, own) == os.geteuid()
            server.close()
            assert client.recv(1) == b""  # both ends are closed: the client's waits for stray segments
            assert ask(peer, own) is None


def test_socket_that_listens_at_the_peers_port_is_not_taken_for_the_peer():
    """Where the one is gone that was asked about, the kernel tells of the other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert user_of(listening.getsockname(), ("127.0.0.1", 1)) is None


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:127.0.0.1:5", (("127.0.0.1", 5), ("127.0.0.1", 9))),
        ("ipv6:%5B::1%5D:5", (("::1", 5), ("::1", 9))),
        ("ipv6:[::1]:5", (("::1", 5), ("::1", 9))),
        ("unix:/tmp/socket", None),
        ("", None),
    ],
)
def test_peer_is_read_as_grpcio_names_it(monkeypatch, peer, expected):
    monkeypatch.setattr(loopback, "user_of", lambda *pair: pair)
    assert user_of_grpc_peer(peer, "localhost:9") == expected


def test_call_tells_whose_it_is(tmp_path):
    """What a caller of a plaintext listener does is noted under its user."""
    seen: list[Shown] = []

    class Noting(LoopbackAccess):
        def admit(self, shown, method):
            seen.append(shown)
            return super().admit(shown, method)

    listener = PlainDoor(Settings(data_dir=tmp_path, listen="127.0.0.1:0"), [], Watches(), Noting())
    with grpc.insecure_channel(listener.address) as channel:
        channel.unary_unary(METHODS[1])(b"", timeout=20)
    listener.stop(0)
    assert set(seen) == {Shown(uid=os.geteuid())}
