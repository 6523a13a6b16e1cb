"""An auditor verifies a node over the API, with a certificate of theirs and none of the installation's keys."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from numcheck.client import AuditClient, Security
from numcheck.errors import EventsAltered, PushRefused
from numcheck.offline.audit import Compared, head_of, verify_export, verify_node
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.access.calls import register_request
from tests.access.node import SecureNode, secure_node
from tests.api.calls import DEADLINE_S
from tests.serving.command import run


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureNode]:
    with secure_node(tmp_path_factory.mktemp("audited")) as one:
        for _ in range(5):
            register(one)
        yield one


def register(node: SecureNode, user_id: str = "") -> str:
    request = register_request("chat")
    request.user_id = user_id or request.user_id
    with node.channel("administrator") as channel:
        RegistrationServiceStub(channel).Register(request, timeout=DEADLINE_S)
    return str(request.user_id)


def delete(node: SecureNode, user_id: str) -> None:
    with node.channel("administrator") as channel:
        request = pb.DeleteRegistrationRequest(service="chat", user_id=user_id)
        RegistrationServiceStub(channel).DeleteRegistration(request, timeout=DEADLINE_S)


def security(node: SecureNode, name: str) -> Security:
    files = (node.directory / "authority.pem", node.directory / f"{name}.pem", node.directory / f"{name}.key")
    return Security(*(file.read_bytes() for file in files))


def auditor(node: SecureNode, name: str = "auditor", listener: str = "api") -> AuditClient:
    return AuditClient(node.addresses[listener], security(node, name))


def database(node: SecureNode) -> Path:
    return node.directory.parent / "data" / "numcheck.db"


@pytest.mark.parametrize("listener", ["api", "native"])
def test_the_auditor_finds_what_the_installation_finds(node: SecureNode, listener: str) -> None:
    if listener not in node.addresses:
        pytest.skip("this build has no native door")
    client = auditor(node, listener=listener)
    head = client.head()
    verified = verify_node(client, None)
    assert (verified.event_count, verified.compared_with) == (head["sequence"], Compared.NOTHING)
    assert verified.hash.hex() == head["hash"]
    assert verify_node(client, None, [verified.public_key]).compared_with is Compared.SIGNING_KEY
    assert verify_node(client, head_of(head)).compared_with is Compared.HEAD
    lines = list(client.lines())
    assert verify_export(lines, head_of(head)).event_count == head["sequence"]
    assert list(client.lines(after=3))[:-1] == lines[3:-1]
    assert [json.loads(line).get("signature") is None for line in client.lines(after=10**6)] == [False]
    with pytest.raises(EventsAltered):
        verify_node(client, None, [bytes(32)])


@pytest.mark.parametrize("name", ["messenger", "alpha", "house"])
def test_nobody_else_may(node: SecureNode, name: str) -> None:
    client = auditor(node, name)
    for call in (client.head, lambda: list(client.lines()), lambda: list(client.row_digests())):
        with pytest.raises(PushRefused) as refused:
            call()
        assert refused.value.refusal == "NOT_PERMITTED"


class Busy:
    """A node where something happens between what an auditor asks for."""

    def __init__(self, client: AuditClient, happen: Callable[[], None]) -> None:
        self._client, self._happen = client, happen
        self.lines = client.lines

    def row_digests(self) -> Iterator[Any]:
        self._happen()
        return self._client.row_digests()


def test_what_changes_meanwhile_is_no_edit(node: SecureNode) -> None:
    gone, stays = register(node), register(node)

    def happen() -> None:
        register(node)
        delete(node, gone)
        with node.channel("administrator") as channel:
            attested = pb.VERIFICATION_METHOD_ATTESTED
            request = pb.StartVerificationRequest(service="chat", user_id=stays, method=attested)
            RegistrationServiceStub(channel).StartVerification(request, timeout=DEADLINE_S)

    verify_node(Busy(auditor(node), happen), None)


EDITS = [
    "UPDATE registrations SET state = 1 - state",
    "UPDATE registrations SET mac = zeroblob(32) WHERE rowid = (SELECT max(rowid) FROM registrations)",
    "DELETE FROM registrations WHERE rowid = (SELECT max(rowid) FROM registrations)",
    "DELETE FROM registrations",
    "UPDATE registrations SET registration_id = zeroblob(16) WHERE rowid = (SELECT max(rowid) FROM registrations)",
    "UPDATE events SET at_us = at_us + 1 WHERE sequence = 3",
    "DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)",
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_behind_the_nodes_back_shows_to_the_auditor(tmp_path: Path, edit: str) -> None:
    with secure_node(tmp_path) as node:
        for _ in range(3):
            register(node)
        verify_node(auditor(node), None)
        with sqlite3.connect(database(node)) as connection:
            connection.execute(edit)
        with pytest.raises(EventsAltered):
            verify_node(auditor(node), None)


def test_a_restored_old_copy_shows_by_a_head_that_was_handed_out(node: SecureNode) -> None:
    """The same as in a data directory: the head's event is missing, whatever else is whole."""
    head = head_of(auditor(node).head())
    later = head._replace(sequence=head.sequence + 1)
    with pytest.raises(EventsAltered):
        verify_node(auditor(node), later)


def test_commands_ask_the_node_that_is_named(node: SecureNode, tmp_path: Path) -> None:
    """A machine without a data directory is enough."""
    config, head, events = tmp_path / "auditor.toml", tmp_path / "head.json", tmp_path / "events.jsonl"
    files = {"server_authority_file": "authority.pem"}
    files |= {"client_certificate_file": "auditor.pem", "client_key_file": "auditor.key"}
    config.write_text("".join(f'{name} = "{node.directory / file}"\n' for name, file in files.items()))
    asked = ("--server", node.addresses["api"], "--config", config, "--data-dir", tmp_path / "none")
    told = run("events", "head", *asked)
    head.write_text(told.out)
    assert run("events", "export", events, *asked).status == 0
    assert verify_export(events.read_text().splitlines(), head_of(json.loads(told.out))).event_count > 5
    assert run("events", "verify", *asked).status == 3
    verified = run("events", "verify", "--head", head, *asked)
    assert (verified.status, "are what was written" in verified.out) == (0, True)
    assert not (tmp_path / "none").exists()
    assert run("events", "verify", events, *asked).status == 2


def test_exports_give_their_places_back(node: SecureNode) -> None:
    """There are two at once, of all auditors together, on each door."""
    for listener in node.addresses:
        client = auditor(node, listener=listener)
        for _ in range(5):
            assert [len(list(one)) > 5 for one in (client.row_digests(), client.lines())] == [True, True]
