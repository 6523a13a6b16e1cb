"""A back-up of a running node is restored whole, or refused before anything is in place."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from numcheck.config import Settings
from numcheck.errors import NumcheckError
from numcheck.offline.backup import restore
from numcheck.v1 import check_pb2, check_pb2_grpc
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.serving.command import run, serving
from tests.serving.small import ACTIVE, fill

SERVICE = "chat"


class Installation(NamedTuple):
    """A data directory that was backed up while its node ran, with a user registered before and one after."""

    data_dir: Path
    backup: Path
    keys: Path


def register(address: str, user_id: str) -> None:
    with grpc.insecure_channel(address) as channel:
        request = pb.RegisterRequest(service=SERVICE, request_id=user_id, user_id=user_id, number=f"+{ACTIVE}")
        request.network_address.address, request.network_address.port = "203.0.113.7", 50_000
        request.identifier["login"], request.registration_data["name"] = user_id, "x"
        RegistrationServiceStub(channel).Register(request, timeout=20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    directory = tmp_path_factory.mktemp("backup")
    one = Installation(fill(directory / "var"), directory / "copy", directory / "safe")
    env = {"NUMCHECK_VERIFICATION_METHODS": "operator", "NUMCHECK_THREADS": "1"}
    with serving(one.data_dir, env=env) as node:
        register(node.address, "before")
        done = run("backup", one.backup, "--keys", one.keys, "--data-dir", one.data_dir)
        assert (done.status, done.out.count("\n")) == (0, 2), done.err
        register(node.address, "after")
    return one


def users(data_dir: Path) -> int:
    with sqlite3.connect(data_dir / "numcheck.db") as database:
        count: int = database.execute("SELECT count(*) FROM registrations").fetchone()[0]
        return count


def test_what_was_backed_up_is_restored_and_serves(made: Installation, tmp_path: Path) -> None:
    """One user, as the other came later; the index of another store that lay there is not answered from."""
    shutil.copytree(made.data_dir / "index", tmp_path / "var" / "index")
    restored = run("restore", made.backup, "--keys", made.keys, "--data-dir", tmp_path / "var", "--json")
    assert restored.status == 0, restored.err
    told = json.loads(restored.out)
    assert told["sha256"] == json.loads((made.backup / "backup.json").read_text())["sha256"]
    assert (users(tmp_path / "var"), users(made.data_dir)) == (1, 2)
    assert not (tmp_path / "var" / "index").exists()
    assert run("events", "verify", "--data-dir", tmp_path / "var").status == 0
    with (
        serving(tmp_path / "var", env={"NUMCHECK_THREADS": "1"}) as node,
        grpc.insecure_channel(node.address) as channel,
    ):
        answer = check_pb2_grpc.CheckServiceStub(channel).CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[ACTIVE]))
        assert answer.index_version == told["revision"]


def test_a_back_up_holds_no_key_and_is_its_owners_alone(made: Installation) -> None:
    """Nor the secret of any, in any encoding; the keys lie in a directory of their own."""
    assert sorted(file.name for file in made.backup.iterdir()) == ["backup.json", "numcheck.db"]
    assert {file.name for file in made.keys.iterdir()} == {"keys.json", "token.key"}
    secret = json.loads((made.keys / "keys.json").read_text())["keys"][0]["secret"]
    content = (made.backup / "numcheck.db").read_bytes()
    assert bytes.fromhex(secret) not in content
    assert secret.encode() not in content
    modes = {path.stat().st_mode & 0o077 for path in (made.backup, made.keys, *made.backup.iterdir())}
    assert modes == {0}


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rewrite(backup: Path, statement: str) -> None:
    """Change the copy, and its checksum with it, as somebody would who means to."""
    from hashlib import sha256  # noqa: PLC0415

    with sqlite3.connect(backup / "numcheck.db") as database:
        database.execute(statement)
    description = json.loads((backup / "backup.json").read_text())
    description["sha256"] = sha256((backup / "numcheck.db").read_bytes()).hexdigest()
    (backup / "backup.json").write_text(json.dumps(description))


def other_keys(keys: Path) -> None:
    content = json.loads((keys / "keys.json").read_text())
    content["keys"][0]["secret"] = "00" * (len(content["keys"][0]["secret"]) // 2)
    (keys / "keys.json").chmod(0o600)
    (keys / "keys.json").write_text(json.dumps(content))


def replace(file: Path, make: Callable[[Path], object]) -> None:
    """Put something else in a file's place."""
    file.unlink()
    make(file)


BROKEN: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a flipped bit": (lambda backup, _: flip(backup / "numcheck.db"), "its checksum is another"),
    "no description": (lambda backup, _: (backup / "backup.json").unlink(), "which is written last"),
    "a description that is none": (
        lambda backup, _: (backup / "backup.json").write_text("{}"),
        "not as it was written",
    ),
    "a description that has no end": (
        lambda backup, _: replace(backup / "backup.json", lambda path: path.symlink_to("/dev/zero")),
        "",
    ),
    "a description that nests": (
        lambda backup, _: (backup / "backup.json").write_text("[" * 60_000),
        "not as it was written",
    ),
    "a pipe in the description's place": (
        lambda backup, _: replace(backup / "backup.json", os.mkfifo),
        "no plain file",
    ),
    "a pipe in the database's place": (lambda backup, _: replace(backup / "numcheck.db", os.mkfifo), "no plain file"),
    "a database that has no end": (
        lambda backup, _: replace(backup / "numcheck.db", lambda path: path.symlink_to("/dev/zero")),
        "",
    ),
    "a database of a hole": (lambda backup, _: os.truncate(backup / "numcheck.db", 2**42), "its size is another"),
    "no database": (lambda backup, _: (backup / "numcheck.db").unlink(), "is missing"),
    "an event that is gone": (
        lambda backup, _: rewrite(backup, "DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)"),
        "event",
    ),
    "a block that was changed": (
        lambda backup, _: rewrite(backup, "UPDATE blocks SET number_count = number_count + 1"),
        "block",
    ),
    "a registration that was changed": (
        lambda backup, _: rewrite(backup, "UPDATE registrations SET due_at_us = 1"),
        "",
    ),
    "lost keys": (lambda _, keys: (keys / "keys.json").unlink(), "keys.json is missing"),
    "other keys": (lambda _, keys: other_keys(keys), ""),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_not_as_it_was_written_is_refused_and_nothing_is_in_place(
    made: Installation, tmp_path: Path, case: str
) -> None:
    backup, keys = shutil.copytree(made.backup, tmp_path / "copy"), shutil.copytree(made.keys, tmp_path / "safe")
    spoil, reason = BROKEN[case]
    spoil(backup, keys)
    with pytest.raises((NumcheckError, OSError)) as refused:
        restore(Settings(data_dir=tmp_path / "var"), backup, keys)
    assert reason in str(refused.value)
    assert [file.name for file in (tmp_path / "var").glob("*") if file.name != "lock"] == []


def test_a_store_that_is_there_is_not_replaced(made: Installation) -> None:
    """Nor is a back-up written over anything, through a link, nor its keys beside it."""
    link = made.backup.with_name("link")
    link.symlink_to(made.backup.with_name("elsewhere"))
    for command, reason in (
        (("backup", link, "--data-dir", made.data_dir), "a symbolic link"),
        (("restore", made.backup, "--data-dir", made.data_dir), "has a store"),
        (("backup", made.backup, "--data-dir", made.data_dir), "is there already"),
        (("backup", made.backup, "--keys", made.backup, "--data-dir", made.data_dir), "keys lie apart"),
        (("backup", made.backup / "x", "--data-dir", made.backup / "y"), "there is no store"),
    ):
        refused = run(*command)
        assert (refused.status, reason in refused.err) == (1, True), refused


def test_a_store_in_postgresql_is_left_to_its_own_tools(tmp_path: Path) -> None:
    refused = run("backup", tmp_path / "copy", env={"NUMCHECK_DATABASE_URL": "postgresql://nobody@localhost:1/none"})
    assert refused.status == 1
    assert "pg_basebackup" in refused.err
    assert not (tmp_path / "copy").exists()
