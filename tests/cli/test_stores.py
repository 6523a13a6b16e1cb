"""No command acts on a store that it was not meant to: it asks the node that its settings name, or says that there is
neither node nor store; and none but those that are meant to make a store makes anything."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import commands
from tests.serving.command import run, serving
from tests.serving.small import fill

MAKERS = {"restore", "serve", "follow", "demo", "plan import", "callers init", "bench", "bench plan"}
"""Commands that make a store, a follower's copy of an index, or what they measure."""

NO_STORE = {"bench body", "plan diff", "config check", "config sample", "config schema", "config show"}
"""Commands that read files alone, or nothing."""

URI = "numcheck://operator/mts"
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "check": ("79161234567",),
    "backup": ("copy",),
    "events evidence": ("u-1007", "--service", "chat"),
    "events export": (),
    "events head": (),
    "events verify": (),
    "callers add": (URI, "--role", "administrator"),
    "callers agree": ("chat", "1"),
    "callers confirm-restore": ("--yes",),
    "callers end-agreement": ("chat", "1"),
    "callers list": (),
    "callers revoke": (URI,),
    "callers token": (URI,),
    "plan show": (),
    "push active": ("--operator", "1", "numbers.txt"),
    "push confirm": ("--operator", "1", "token"),
    "push reject": ("--operator", "1", "token"),
    "push held": ("--operator", "1"),
    "push portings": ("Port_Increment_202611281000_1.csv",),
    "push renew": ("--operator", "1"),
    "registrations delete": ("--service", "chat", "u-1007"),
    "registrations due": ("--service", "chat"),
    "registrations export": ("--service", "chat"),
    "registrations identifications": ("--operator", "1"),
    "withdrawn export": ("2026-11-20",),
    "registrations get": ("--service", "chat", "u-1007"),
    "registrations import": ("--service", "chat", "numbers.txt"),
    "registrations summary": ("--service", "chat"),
    "registrations list": ("--service", "chat"),
    "registrations reverify": ("--service", "chat"),
    "registrations rotate-keys": (),
    "registrations watch": ("--service", "chat"),
    "registrations webhooks": (),
    "ready": (),
    "status": (),
}
LOCAL = {"check": ("--local",)}
"""What makes a command read the data directory that asks a node otherwise."""


def test_every_command_is_tried():
    assert set(commands()) == {*ARGUMENTS, *MAKERS, *NO_STORE}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a file of settings, which name a node that is not there and a data directory that is not either."""
    (tmp_path / "node.toml").write_text('data_dir = "var"\nlisten = "127.0.0.1:1"\n')
    for name in ("numbers.txt", "Port_Increment_202611281000_1.csv"):
        (tmp_path / name).write_text("79161234567\n")
    return tmp_path


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_command_without_node_and_store_fails_in_one_line_and_makes_nothing(folder, command):
    before = left(folder)
    for more in {(), LOCAL.get(command, ())}:
        ended = run(*command.split(), *ARGUMENTS[command], *more, "--config", "node.toml", cwd=folder)
        assert (ended.status, ended.out) == (1, "")
        *read, line = ended.err.splitlines()
        assert line.startswith("numcheck: ")
        assert [one for one in read if not one.startswith("numbers.txt: ")] == []  # how the file was read
    assert left(folder) == before


SQLITES = {"numcheck.db-shm", "numcheck.db-wal"}
"""SQLite's own files, which it makes for whoever reads, too."""
READERS = [
    "check --local",
    "events export",
    "events head",
    "events verify",
    "callers list",
    "callers confirm-restore",
    "plan show",
    "registrations webhooks",
    "status",
]


@pytest.mark.parametrize("command", READERS)
def test_command_that_reads_a_store_without_keys_makes_none(tmp_path, small_dir, command):
    """Nor anything else, and changes nothing."""
    data_dir = shutil.copytree(small_dir, tmp_path / "var", ignore=shutil.ignore_patterns("*.key", "keys.json", "lock"))

    def content() -> dict[str, bytes]:
        files = (path for path in data_dir.rglob("*") if path.is_file() and path.name not in SQLITES)
        return {str(path): path.read_bytes() for path in files}

    before = content()
    name = command.removesuffix(" --local")
    ended = run(*command.split(), *ARGUMENTS[name], "--data-dir", data_dir)
    assert ended.status in (0, 1, 3)
    assert content() == before


@pytest.mark.parametrize("command", ["callers revoke", "callers token", "registrations rotate-keys"])
def test_command_makes_no_tables_in_an_empty_database(folder, server, command):
    """Nor the data directory."""
    env = {"NUMCHECK_DATABASE_URL": server.new_database(), "NUMCHECK_LISTEN": "127.0.0.1:1"}
    ended = run(*command.split(), *ARGUMENTS[command], cwd=folder, env=env)
    assert (ended.status, len(ended.err.splitlines())) == (1, 1)
    assert not (folder / "var").exists()
    (folder / "var").mkdir()
    ended = run(*command.split(), *ARGUMENTS[command], cwd=folder, env=env)
    assert (ended.status, len(ended.err.splitlines())) == (1, 1)
    assert "the store is empty" in ended.err


def known(folder: Path, *arguments: object) -> dict[str, bool]:
    """Who may call, and whether they still may."""
    listed = json.loads(run("callers", "list", "--json", *arguments, cwd=folder).out)["callers"]
    return {one["uri"]: one["revoked_at"] is None for one in listed}


def test_revocation_reaches_the_node_that_the_settings_name(tmp_path):
    """From another folder, which has no data directory, and from one with a stale copy of it: the node lets the revoked
    operator call no more, the copy stays as it is, and each command says what it was about."""
    home, empty, stale = (tmp_path / name for name in ("home", "empty", "stale"))
    for folder in (home, empty, stale):
        folder.mkdir()
    fill(home / "var")
    added = run("callers", "add", URI, "--role", "operator", "--operator-id", "1", cwd=home)
    assert added.status == 0
    assert f"this is about the store in {home / 'var'}" in added.err
    shutil.copytree(home / "var", stale / "var")
    with serving(home / "var") as node:
        settings = tmp_path / "node.toml"
        settings.write_text(f'data_dir = "var"\nlisten = "{node.address}"\n')
        for folder in (empty, stale):
            assert known(folder, "--config", settings) == {URI: True}
        revoked = run("callers", "revoke", URI, "--config", settings, cwd=stale)
        assert revoked.status == 0
        assert f"this is about the node at {node.address}" in revoked.err
        assert known(empty, "--config", settings) == {URI: False}
        assert run("callers", "revoke", URI, "--config", settings, cwd=empty).status == 1  # it is revoked
    assert known(home) == {URI: False}
    assert known(stale) == {URI: True}
    assert list(empty.iterdir()) == []


def test_demo_fills_the_database_that_the_settings_name(tmp_path, server):
    """And no store in the directory; a database that holds anything is refused, and stays as it is."""
    url = server.new_database()
    settings = tmp_path / "node.toml"
    settings.write_text(f'database_url = "{url}"\n')
    line = ("demo", "--numbers", "1000", "--config", settings)
    filled = run(*line, "--data-dir", tmp_path / "first")
    assert filled.status == 0
    assert "the store of database_url holds 17,059 ranges" in filled.err
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["index", "lock"]
    told = json.loads(run("status", "--json", "--config", settings, "--data-dir", tmp_path / "first").out)
    assert (told["engine"].split()[0], told["lag"]) == ("PostgreSQL", 0)
    again = run(*line, "--data-dir", tmp_path / "second")
    assert again.status == 1
    assert again.err.splitlines()[-1] == (
        "numcheck: the database of database_url holds something already; the demo fills an empty one"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "node.toml"]
