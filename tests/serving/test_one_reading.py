"""A text names the same number wherever it comes in: both doors, registrations, a pushed line, a checked file."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from numcheck.v1 import check_pb2, registration_pb2
from numcheck.v1.check_pb2_grpc import CheckServiceStub
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import refusal
from tests.conformance.conftest import serving_by
from tests.serving import small
from tests.serving.command import Node, run, serving
from tests.spellings import REFUSED, SPELLINGS, is_encodable

SERVICE = "messenger"
MEANT = [text for text, number in SPELLINGS.items() if number == small.ACTIVE]
NOT_MEANT = [text for text in REFUSED if is_encodable(text)]
PUSHED_FOR_ANOTHER = [
    "7.91600003E10",
    "8916ABCDEFG",
    "+7916 000 xx xx",
    "916123456.0",
    "7916123456O",
    "+7 8 9161234567",
]


def is_cell(text: str) -> bool:
    """Whether the text is one cell of a file as it stands."""
    return not re.search(r"[\n\r\t,;\"\0]", text)


@pytest.fixture(scope="module")
def node(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp("node") / "var")
    with serving(data_dir, env={"NUMCHECK_CODE_DELIVERY": "console"}) as one:
        yield one


@pytest.fixture(scope="module")
def api(node: Node) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(node.address) as one:
        yield one


@pytest.fixture(params=["native", "plain"])
def check(
    request: pytest.FixtureRequest, small_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], int]]:
    data_dir = shutil.copytree(small_dir, tmp_path_factory.mktemp(request.param) / "var")
    with serving_by(request.param, data_dir) as one, grpc.insecure_channel(one.address) as channel:
        stub = CheckServiceStub(channel)
        yield lambda text: stub.CheckNumber(check_pb2.CheckNumberRequest(number=text)).number


def register_request(text: str, user_id: str) -> registration_pb2.RegisterRequest:
    return registration_pb2.RegisterRequest(
        service=SERVICE,
        user_id=user_id,
        number=text,
        identifier={"login": "ivan"},
        network_address=registration_pb2.NetworkAddress(address="203.0.113.7", port=50812),
        registration_data={"name": "Иванов"},
    )


def lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def test_number_is_the_same_on_both_listeners(check: Callable[[str], int]) -> None:
    assert {text: check(text) for text in SPELLINGS} == SPELLINGS
    assert {refusal(lambda text=text: check(text)).reason for text in NOT_MEANT} == {"NOT_A_NUMBER"}


def test_number_is_the_same_in_registrations(api: grpc.Channel) -> None:
    """A user who is registered by one spelling is found by each other."""
    stub = RegistrationServiceStub(api)
    stub.Register(register_request("8 (916) 123-45-67", "u1"))
    for text in MEANT:
        asked = registration_pb2.ListRegistrationsRequest(service=SERVICE, number=text)
        assert [one.number for one in stub.ListRegistrations(asked).registrations] == [small.ACTIVE], text
    for text in NOT_MEANT:
        refused = refusal(lambda text=text: stub.Register(register_request(text, "u2")))
        assert (refused.reason, refused.violations) == ("NOT_A_NUMBER", [("number", "NOT_A_NUMBER")]), text


def test_number_is_the_same_in_a_pushed_line(node: Node, tmp_path: Path) -> None:
    """All spellings push one number, that is there already; and a line that is another number's pushes nothing."""
    push = ("push", "active", "--operator", small.MTS, "--delta", "--server", node.address, "--json")
    done = run(*push, lines(tmp_path / "meant.txt", list(filter(is_cell, MEANT))))
    assert done.status == 0, done.err
    pushed = json.loads(done.out)
    assert (pushed["added"], pushed["already_added"], pushed["removed"]) == (0, 1, 0)
    for text in PUSHED_FOR_ANOTHER:
        done = run(*push, lines(tmp_path / "not_meant.txt", [f"+{small.INACTIVE}", text]))
        assert (done.status, "not_meant.txt:2" in done.err) == (1, True), (text, done.err)


def test_number_is_the_same_in_a_checked_file(node: Node, tmp_path: Path) -> None:
    """The lines of people are active, and no other is a number."""
    meant, not_meant = ([text for text in texts if text.strip() and is_cell(text)] for texts in (MEANT, NOT_MEANT))
    source, target = lines(tmp_path / "in.csv", ["number", *meant, *not_meant]), tmp_path / "out.csv"
    done = run("check", "--file", source, "--out", target, "--server", node.address)
    assert done.status == 0, done.err
    with target.open(encoding="utf-8", newline="") as file:
        rows = [(row["number"], row["status"]) for row in csv.DictReader(file)]
    # What a spreadsheet would run has an apostrophe in front.
    given = {*meant, *not_meant}
    found = {text if text in given else text.removeprefix("'"): status for text, status in rows}
    assert found == dict.fromkeys(meant, "ACTIVE") | dict.fromkeys(not_meant, "NOT_A_NUMBER")
