"""`numcheck registrations`: the messenger's side from a shell, against a real node."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.registrations.test_service import SETTINGS, register_request
from tests.serving import small
from tests.serving.command import Node, Result, run, serving


@pytest.fixture(scope="module")
def node(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp("commands") / "var")
    with serving(data_dir, env=SETTINGS) as one, grpc.insecure_channel(one.address) as channel:
        stub = RegistrationServiceStub(channel)
        for place, number in enumerate([small.ACTIVE, small.INACTIVE, small.ACTIVE]):
            stub.Register(register_request("messenger", number, user_id=f"u{place}"))
        yield one


@pytest.fixture
def ask(node: Node):
    def asked(command: str, *arguments: str) -> Result:
        return run("registrations", command, "--service", "messenger", "--server", node.address, *arguments)

    return asked


def test_list_prints_the_users_that_the_filters_leave(ask) -> None:
    assert [one["user_id"] for one in json.loads(ask("list", "--json").out)] == ["u0", "u1", "u2"]
    (rejected,) = json.loads(ask("list", "--json", "--state", "rejected").out)
    assert (rejected["user_id"], rejected["state"], rejected["verified_by"]) == ("u1", "REJECTED", "operator")
    of_number = json.loads(ask("list", "--json", "--number", "8 916 123-45-67").out)
    assert [one["number"] for one in of_number] == [f"+{small.ACTIVE}"] * 2
    lines = ask("list").out.splitlines()
    assert lines[0].split() == ["user", "number", "state", "due", "verified", "by"]
    assert len(lines) == 4
    assert ask("list", "--state", "ASLEEP").status == 2


def test_due_lists_those_within_the_days(ask) -> None:
    assert json.loads(ask("due", "--json").out) == []
    assert len(json.loads(ask("due", "--json", "--days", "366").out)) == 3


def test_reverify_tells_its_counts(ask) -> None:
    counts = json.loads(ask("reverify", "--json").out)
    assert counts == {"checked": 2, "confirmed": 2, "revoked": 0, "unanswered": 0}
    assert ask("reverify").out == "2 checked, 2 confirmed, 0 revoked, 0 unanswered\n"


def test_watch_prints_events_and_goes_on_from_a_token(ask) -> None:
    told = [json.loads(line) for line in ask("watch", "--json", "--resume", "0", "--count", "6").out.splitlines()]
    assert [(one["kind"], one["user_id"], one["state"]) for one in told[:4]] == [
        ("REGISTERED", "u0", "PENDING"),
        ("CONFIRMED", "u0", "VERIFIED"),
        ("REGISTERED", "u1", "PENDING"),
        ("DENIED", "u1", "REJECTED"),
    ]
    (after,) = ask("watch", "--json", "--resume", told[0]["resume_token"], "--count", "1").out.splitlines()
    assert json.loads(after) == told[1]


def test_keys_are_rotated_with_the_node_stopped_only(node: Node, small_dir: Path, tmp_path: Path) -> None:
    """And the old ones not dropped before a day has passed."""
    data_dir = shutil.copytree(small_dir, tmp_path / "var")
    with serving(data_dir, env=SETTINGS) as running, grpc.insecure_channel(running.address) as channel:
        RegistrationServiceStub(channel).Register(register_request("messenger"))
        refused = run("registrations", "rotate-keys", "--data-dir", data_dir)
        assert refused.status == 1
        assert "in use by another numcheck process" in refused.err
    rotated = run("registrations", "rotate-keys", "--data-dir", data_dir)
    assert (rotated.status, rotated.err.splitlines()[0]) == (0, "1 registrations lie under key 2 now")
    assert run("registrations", "rotate-keys", "--drop-old", "--data-dir", data_dir).status == 1
    with serving(data_dir, env=SETTINGS) as again:
        listed = run("registrations", "list", "--service", "messenger", "--server", again.address, "--json")
    assert json.loads(listed.out)[0]["number"] == f"+{small.ACTIVE}"
