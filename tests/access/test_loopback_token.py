"""Who may call in plaintext where the system does not say whose a connection is: who can read the token's file."""

import os
import sys
from pathlib import Path

import grpc
import pytest

from numcheck import nearby
from numcheck.api.access import LoopbackAccess, Shown
from numcheck.client import CheckClient, PushClient, Security
from numcheck.config import Settings
from numcheck.errors import CheckRefused
from numcheck.serving.access import loopback_access
from numcheck.store.acts import Act
from tests.api.calls import DEADLINE_S, refusal
from tests.serving.command import WITHOUT_EDGE, run, serving
from tests.serving.small import ACTIVE, fill

UNKNOWABLE = "from numcheck.door import loopback; loopback.IS_LINUX = False; "
"""Nobody says whose a socket is, as on macOS."""
COMMANDS = {"native": "from numcheck.cli import main; main()", "plain": WITHOUT_EDGE}
LIST = "/numcheck.v1.CheckService/ListOperators"


@pytest.fixture(scope="module", params=COMMANDS)
def node(request, tmp_path_factory):
    """A node of such a system, with either door, and its data directory."""
    data_dir = fill(tmp_path_factory.mktemp("token") / "var")
    command = (sys.executable, "-c", UNKNOWABLE + COMMANDS[request.param], "serve")
    with serving(data_dir, command=command) as one:
        yield data_dir, one


def call(address: str, *authorizations: str) -> None:
    with grpc.insecure_channel(address) as channel:
        shown = [("authorization", one) for one in authorizations]
        channel.unary_unary(LIST)(b"", timeout=DEADLINE_S, metadata=shown)


def token_of(data_dir: Path) -> str:
    return (data_dir / nearby.TOKEN_NAME).read_text()


def test_file_is_its_owners_alone_and_the_start_says_so(node):
    data_dir, one = node
    status = (data_dir / nearby.TOKEN_NAME).stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o400, os.geteuid())
    assert len(token_of(data_dir)) >= 32
    assert sum("who can read loopback.token" in line for line in one.process.lines) == 1
    assert not any("WARNING: every user" in line for line in one.process.lines)


def test_who_does_not_show_the_token_is_refused_and_told_why(node):
    data_dir, one = node
    token = token_of(data_dir)
    wrong = [(), ("Bearer",), ("Bearer x",), (f"Bearer {token}x",), (f"Basic {token}",), (f"Bearer {token.lower()}",)]
    for shown in [*wrong, (f"Bearer {token}", "Bearer x"), (token,)]:
        found = refusal(lambda shown=shown: call(one.address, *shown))
        assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED"), shown
        assert "loopback.token" in found.message
    call(one.address, f"bearer {token}")


def test_each_call_shows_the_token_itself(node):
    """Over one connection, as a proxy has it: another's call before it lets in nobody."""
    data_dir, one = node
    with grpc.insecure_channel(one.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        ask, shown = channel.unary_unary(LIST), [("authorization", f"Bearer {token_of(data_dir)}")]
        for times in (1, 3):
            assert ask(b"", timeout=DEADLINE_S, metadata=shown)
            for _ in range(times):
                assert refusal(lambda: ask(b"", timeout=DEADLINE_S)).reason == "NOT_PERMITTED"


def test_commands_and_the_python_client_find_the_token_by_themselves(node, monkeypatch, tmp_path):
    """With the directory; a client that does not know it, and one that asks another address, show nothing."""
    data_dir, one = node
    listed = run("callers", "list", "--data-dir", data_dir)
    assert listed.status == 0, listed.err
    assert "serving" in (shown := run("status", "--data-dir", data_dir)).out
    assert "not running" not in shown.out
    assert run("check", f"+{ACTIVE}", "--data-dir", data_dir).status == 0
    monkeypatch.delenv("NUMCHECK_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    with CheckClient(one.address, Security(data_dir=data_dir)) as client:
        assert client.check_number(f"+{ACTIVE}").number == ACTIVE
        assert [list(checked.statuses) for checked in client.check_batches([[ACTIVE]])] == [[4]]
    with (
        CheckClient(one.address) as stranger,
        pytest.raises(CheckRefused, match=r"^NOT_PERMITTED: .*loopback\.token"),
    ):
        stranger.check_number(f"+{ACTIVE}")
    monkeypatch.setenv("NUMCHECK_DATA_DIR", str(data_dir))
    with PushClient(one.address) as client:
        assert client.list_operators()


def test_what_such_a_caller_does_is_told_by_name(node):
    data_dir, _ = node
    added = run("callers", "add", "numcheck://auditor", "--role", "auditor", "--data-dir", data_dir)
    assert added.status == 0, added.err
    exported = run("events", "export", "--data-dir", data_dir)
    assert [line for line in exported.out.splitlines() if Act.CALLER_ADDED in line and "loopback token" in line]


def test_token_is_shown_to_the_addresses_of_its_node_alone(tmp_path):
    (tmp_path / nearby.TOKEN_NAME).write_text("secret")
    assert nearby.token_for("127.0.0.1:1", tmp_path) is None
    (tmp_path / nearby.LISTENERS_NAME).write_text('{"addresses": {"native": "127.0.0.1:1"}}')
    assert nearby.token_for("127.0.0.1:1", tmp_path) == "secret"
    for other in ("127.0.0.1:2", "127.0.0.2:1", "localhost:1", "[::1]:1", "dns:///127.0.0.1:1", ""):
        assert nearby.token_for(other, tmp_path) is None


@pytest.mark.parametrize("name", [nearby.TOKEN_NAME, nearby.LISTENERS_NAME])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("other"), Path.touch])
def test_what_is_no_file_of_a_node_is_no_token(tmp_path, name, make):
    """Nor is it waited for, nor is a link followed."""
    (tmp_path / "other").write_text('{"addresses": {"native": "127.0.0.1:1"}}')
    for file in {nearby.TOKEN_NAME, nearby.LISTENERS_NAME} - {name}:
        (tmp_path / file).write_text('{"addresses": {"native": "127.0.0.1:1"}}')
    make(tmp_path / name)
    assert not nearby.token_for("127.0.0.1:1", tmp_path)


def test_each_start_makes_another_token(tmp_path, monkeypatch):
    monkeypatch.setattr("numcheck.door.loopback.IS_LINUX", False)
    settings = Settings(data_dir=tmp_path)
    first = loopback_access(settings, LoopbackAccess().deny), token_of(tmp_path)
    second = loopback_access(settings, LoopbackAccess().deny), token_of(tmp_path)
    assert first[1] != second[1]
    assert second[0].admit(Shown(authorizations=(f"Bearer {second[1]}",)), LIST).uri == "loopback token"


def test_client_knows_the_default_data_directory(monkeypatch):
    monkeypatch.delenv("NUMCHECK_DATA_DIR", raising=False)
    assert nearby.default_data_dir() == Settings().data_dir
    monkeypatch.setenv("NUMCHECK_DATA_DIR", "elsewhere")
    assert nearby.default_data_dir() == Settings().data_dir
