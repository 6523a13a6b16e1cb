"""docs/callers.md as it stands: its commands, on free ports, with what each then may and may not."""

import json
import re
from pathlib import Path

import grpc
import pytest

from numcheck.access import ANYBODY, METHODS, Role
from numcheck.config import load_settings
from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.api.calls import DEADLINE_S, refusal
from tests.serving.command import NUMCHECK, run, running
from tests.serving.small import ACTIVE, fill

PAGE = Path(__file__).parents[2] / "docs/callers.md"
READY = re.compile(r".*ready on (\S+) \(TLS, client certificates required\)")
CHECK = re.compile(r"numcheck check (\S+)")


def commands() -> list[list[str]]:
    """The page's commands, in order."""
    return [line[2:].split()[1:] for line in PAGE.read_text().splitlines() if line.startswith("$ numcheck ")]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The page's directory with a node that serves it; what its commands need to reach it."""
    directory = tmp_path_factory.mktemp("session")
    fill(directory / "var")
    made = run("callers", "init", "callers", "--data-dir", "var", cwd=directory)
    assert made.status == 0, made.err
    command = (*NUMCHECK, "serve", "--config", "callers/numcheck.toml")
    with running("--listen", "127.0.0.1:0", command=command, cwd=directory) as process:
        match = READY.match(process.line_with('"ready on '))
        assert match is not None
        yield directory, match[1]


def channel(directory: Path, address: str, name: str) -> grpc.Channel:
    files = [directory / "callers" / file for file in ("authority.pem", f"{name}.key", f"{name}.pem")]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(*(file.read_bytes() for file in files)))


def settings_file(directory: Path, address: str, **files: str) -> Path:
    """Return a client's settings: the node, and files of the page's authority by the settings that name them."""
    written = directory / "client.toml"
    named = "".join(f'{setting} = "{directory / "callers" / file}"\n' for setting, file in files.items())
    written.write_text(f'server = "{address}"\n{named}')
    return written


AUTHORITY = {"server_authority_file": "authority.pem"}
ADMINISTRATOR = {"client_certificate_file": "administrator.pem", "client_key_file": "administrator.key"}
UNREACHED = {
    "no authority": ({}, "if it asks for TLS, name its authority (server_authority_file)"),
    "another authority": ({"server_authority_file": "administrator.pem"}, "did not issue its certificate"),
    "no certificate": (AUTHORITY, "or asks for one (client_certificate_file)"),
    "another's key": (AUTHORITY | ADMINISTRATOR | {"client_key_file": "server.key"}, "do not belong together"),
}


@pytest.mark.parametrize(("files", "cause"), UNREACHED.values(), ids=UNREACHED)
def test_command_tells_why_a_node_that_is_there_is_not_reached(session, tmp_path, files, cause):
    """No node needs to be started for any of these."""
    directory, address = session
    done = run("check", str(ACTIVE), "--config", settings_file(directory, address, **files), cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    assert f"no connection to {address}: " in done.err
    assert cause in done.err
    assert "numcheck serve" not in done.err


def test_auditor_asks_the_node_that_their_settings_name(session, tmp_path):
    """Not a store that happens to lie where they are, unless they name that."""
    directory, address = session
    client = settings_file(directory, address, **AUTHORITY, **ADMINISTRATOR)
    fill(tmp_path / "var")
    head = run("events", "head", "--config", client, cwd=tmp_path)
    assert (head.status, head.err) == (0, f"this is about the node at {address}\n")
    (tmp_path / "head.json").write_text(head.out)
    exported = run("events", "export", "events.jsonl", "--config", client, cwd=tmp_path)
    assert exported.status == 0, exported.err
    assert '"caller_added"' in (tmp_path / "events.jsonl").read_text()
    verified = run("events", "verify", "--config", client, "--head", "head.json", cwd=tmp_path)
    assert (verified.status, "compared with the head that was handed out" in verified.out) == (0, True)
    of_store = run("events", "head", "--config", client, "--data-dir", "var", cwd=tmp_path)
    assert json.loads(of_store.out or "{}").get("public_key") != json.loads(head.out)["public_key"]


def test_agreement_of_a_service_that_no_caller_acts_for_is_noted(session, tmp_path):
    """It is recorded: whoever acts for the service may be added later."""
    directory, address = session
    client = settings_file(directory, address, **AUTHORITY, **ADMINISTRATOR)
    note = "note: no caller acts for nobodys;"
    agreed = run("callers", "agree", "nobodys", "1", "--config", client, cwd=tmp_path)
    assert (agreed.status, note in agreed.err) == (0, True)
    uri = "numcheck://service/nobodys"
    added = run("callers", "add", uri, "--role", "messenger", "--service", "nobodys", "--config", client, cwd=tmp_path)
    assert added.status == 0, added.err
    again = run("callers", "agree", "nobodys", "1", "--config", client, cwd=tmp_path)
    assert (again.status, note in again.err) == (0, False)


def test_tax_id_is_no_operators_id(session, tmp_path):
    """It would not even fit into the message that goes to the node."""
    directory, address = session
    client = settings_file(directory, address, **AUTHORITY, **ADMINISTRATOR)
    for command in (
        ("callers", "agree", "chat", "7740000076"),
        ("callers", "end-agreement", "chat", "mts"),
        ("callers", "add", "numcheck://operator/x", "--role", "operator", "--operator-id", "0"),
    ):
        done = run(*command, "--config", client, cwd=tmp_path)
        assert (done.status, "is no operator's id" in done.err) == (2, True), done.err


def test_page_runs_as_it_stands(session):
    """Each command after the node has begun ends well; the API's address is the only thing that differs."""
    directory, address = session
    for command in commands()[3:]:
        line = [str(ACTIVE) if re.fullmatch(r"\+\d+", word) else word for word in command]
        done = run(*line, "--server", address, cwd=directory)
        assert done.status == 0, (line, done.err)
    listed = run("callers", "list", "--config", "callers/numcheck.toml", "--server", address, cwd=directory)
    assert "agreement: chat with operator 1" in listed.out
    request = check_pb2.CheckNumbersRequest(numbers=[ACTIVE])
    with channel(directory, address, "service-chat") as chat:
        answer = check_pb2_grpc.CheckServiceStub(chat).CheckNumbers(request, timeout=DEADLINE_S)
        assert list(answer.statuses) == [4]
    with channel(directory, address, "operator-mts") as operator:
        stub = check_pb2_grpc.CheckServiceStub(operator)
        refused = refusal(lambda: stub.CheckNumbers(request, timeout=DEADLINE_S))
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED")


def test_init_refuses_a_directory_that_holds_something(tmp_path):
    (tmp_path / "callers").mkdir()
    (tmp_path / "callers" / "x").touch()
    done = run("callers", "init", "callers", cwd=tmp_path)
    assert (done.status, "holds something already" in done.err) == (1, True)


def test_callers_are_kept_while_no_node_runs(tmp_path):
    """The same commands on the data directory; a URI is never given twice."""
    fill(tmp_path / "var")
    uri = "numcheck://clearing-house"
    assert run("callers", "add", uri, "--role", "clearing-house", cwd=tmp_path).status == 0
    assert run("callers", "token", uri, cwd=tmp_path).out.strip()
    assert run("callers", "revoke", uri, cwd=tmp_path).status == 0
    again = run("callers", "add", uri, "--role", "clearing-house", cwd=tmp_path)
    assert (again.status, "URIs are not given twice" in again.err) == (1, True)
    assert "revoked" in run("callers", "list", cwd=tmp_path).out
    assert run("callers", "add", uri, "--role", "king", cwd=tmp_path).status == 2
    wrong = run("callers", "add", "mts", "--role", "operator", cwd=tmp_path)
    assert (wrong.status, "known by a URI" in wrong.err) == (1, True)


def test_init_keeps_the_settings_that_it_was_given(tmp_path, server):
    """The node that it leads to has the same store: in PostgreSQL, with the administrator in it, and a file of names
    that need escapes. Only its owner reads the file: it has the database's password."""
    url, directory = server.new_database(), tmp_path / 'a "quoted" \\ place'
    (tmp_path / "base.toml").write_text(
        f'database_url = "{url}"\ndata_dir = {json.dumps(str(directory))}\nrefresh_after_days = 300\n'
    )
    done = run("callers", "init", "callers", "--config", "base.toml", cwd=tmp_path)
    assert done.status == 0, done.err
    made = tmp_path / "callers" / "numcheck.toml"
    assert made.stat().st_mode & 0o777 == 0o600
    settings = load_settings(made)
    assert (settings.database, settings.data_dir, settings.refresh_after_days) == (url, directory, 300)
    assert settings.tls_key_file == tmp_path / "callers" / "server.key"
    listed = run("callers", "list", "--config", "callers/numcheck.toml", cwd=tmp_path)
    assert "numcheck://administrator" in listed.out
    assert not list(directory.glob("numcheck.db*"))


def test_page_tells_each_role_of_every_service_that_it_may_call():
    """docs/callers.md has, of each role, every service of which the table lets it call a method."""
    rows = {row[0]: row[2] for row in (line.strip("|").split("|") for line in PAGE.read_text().splitlines()) if row[2:]}
    told = {name.strip(): words for name, words in rows.items()}
    for role in Role:
        if role is not Role.ADMINISTRATOR:
            missing = [
                method
                for method, (roles, _about, _runs) in METHODS.items()
                if role in roles and roles != ANYBODY
                if method.split(".")[2].split("/")[0] not in told[role] and method.split("/")[2] not in told[role]
            ]
            assert missing == []
