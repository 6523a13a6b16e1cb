"""`numcheck registrations`: the messenger's side from a shell, against a real node."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from numcheck.v1 import registration_pb2 as pb
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


def listed(result: Result) -> list[dict[str, Any]]:
    """The registrations that a command printed, a line each."""
    assert result.status == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


def test_list_prints_the_users_that_the_filters_leave(ask) -> None:
    assert [one["user_id"] for one in listed(ask("list", "--json"))] == ["u0", "u1", "u2"]
    (rejected,) = listed(ask("list", "--json", "--state", "rejected"))
    assert (rejected["user_id"], rejected["state"], rejected["evidence"][0]["method"]) == ("u1", "REJECTED", "OPERATOR")
    assert rejected["evidence"][0]["answer"] == "INACTIVE"
    of_number = listed(ask("list", "--json", "--number", "8 916 123-45-67"))
    assert [one["number"] for one in of_number] == [small.ACTIVE] * 2
    lines = [line.split() for line in ask("list").out.splitlines()]
    assert lines[0] == ["user", "number", "state", "registered", "refreshed", "due", "verified", "by", "at"]
    assert [line[:3] for line in lines[2:]] == [
        ["u1", f"+{small.INACTIVE}", "REJECTED"],
        ["u2", f"+{small.ACTIVE}", "VERIFIED"],
    ]
    assert ask("list", "--state", "ASLEEP").status == 2


def test_list_tells_every_field_that_the_api_has(ask, node: Node) -> None:
    """Of a registration and of its evidence, as GetRegistration answers them."""
    first = listed(ask("list", "--json"))[0]
    with grpc.insecure_channel(node.address) as channel:
        request = pb.GetRegistrationRequest(service="messenger", user_id="u0")
        asked = RegistrationServiceStub(channel).GetRegistration(request).registration
    for message, told in ((asked, first), (asked.evidence[0], first["evidence"][0])):
        assert list(told) == [field.name for field in message.DESCRIPTOR.fields]
    assert first["registration_data"] == dict(asked.registration_data)
    assert first["network_address"] == {
        "address": asked.network_address.address,
        "port": asked.network_address.port,
    }
    assert datetime.fromisoformat(first["due_at"]) == asked.due_at.ToDatetime(tzinfo=UTC)
    assert first["evidence"][0]["act_time"] is None


def test_list_goes_through_every_page(ask, node: Node) -> None:
    """More than a page holds: each once, in the order in which they were made, for a person and for a program."""
    users = [f"v{place}" for place in range(1_100)]
    with grpc.insecure_channel(node.address) as channel:
        stub = RegistrationServiceStub(channel)
        for user_id in users:
            stub.Register(register_request("shop", small.ACTIVE, user_id=user_id))
    options = ("list", "--service", "shop", "--server", node.address)
    assert [one["user_id"] for one in listed(run("registrations", *options, "--json"))] == users
    assert [line.split()[0] for line in run("registrations", *options).out.splitlines()] == ["user", *users]


def test_due_lists_those_within_the_days(ask) -> None:
    assert listed(ask("due", "--json")) == []
    assert len(listed(ask("due", "--json", "--days", "366"))) == 3


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
        found = run("registrations", "list", "--service", "messenger", "--server", again.address, "--json")
    assert listed(found)[0]["number"] == small.ACTIVE
