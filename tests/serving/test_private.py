"""What a data directory holds is its owner's alone; and what a start fails of is told in a line."""

import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.serving.command import NUMCHECK, environment, run, serving
from tests.serving.small import fill
from tests.store.registry import row, written

PLAN = row(916, 0, 9_999_999, "МТС", "7740000076")
BOUND_S = 60


def modes(data_dir: Path) -> dict[str, str]:
    """The mode of the directory and of everything in it. What a node takes away meanwhile has none."""
    found = {}
    for path in (data_dir, *data_dir.rglob("*")):
        with suppress(FileNotFoundError):
            found[str(path.relative_to(data_dir))] = oct(stat.S_IMODE(path.lstat().st_mode))
    return found


def of_others(data_dir: Path) -> dict[str, str]:
    """What others than the owner may do anything with."""
    return {name: mode for name, mode in modes(data_dir).items() if int(mode, 8) & 0o077}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_everything_is_the_owners_alone_whatever_the_umask(tmp_path, umask):
    """Of a plan's import, a demo and a running node, while it runs and after it was killed."""
    plan = written(tmp_path, "plan.csv", PLAN)
    line = f"umask {umask:04o}; exec {NUMCHECK[0]}"
    imported = run("-c", f"{line} plan import {plan} --data-dir {tmp_path}/var", command=("bash",))
    assert imported.status == 0
    assert of_others(tmp_path / "var") == {}
    shell = ("bash", "-c", f'{line} serve "$@"', "serve")
    with serving(tmp_path / "var", command=shell) as node:
        found = modes(tmp_path / "var")
        assert {"index", "lock", "listeners.json", "numcheck.db", "numcheck.db-wal", "token.key", "keys.json"} <= {
            *found
        }
        assert of_others(tmp_path / "var") == {}
        assert (found["."], found["index"]) == ("0o700", "0o700")
        assert {mode for name, mode in found.items() if name.startswith("numcheck.db")} == {"0o600"}
        os.kill(node.process.pid, 9)
        node.process.wait()
    assert of_others(tmp_path / "var") == {}


def test_what_others_can_read_is_taken_from_them_and_told(tmp_path):
    data_dir = fill(tmp_path / "var")
    for path in (data_dir, *data_dir.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (data_dir / "notes.txt").write_text("of whoever keeps them")
    (data_dir / "notes.txt").chmod(0o644)
    with serving(data_dir) as node:
        assert node.process.line_with(f"WARNING: others could read {data_dir}; ")
        assert node.process.line_with(f"WARNING: others could read {data_dir / 'numcheck.db'}; ")
        assert of_others(data_dir) == {"notes.txt": "0o644"}
    with serving(data_dir) as node:
        assert not any("WARNING: others" in line for line in node.process.lines)


@pytest.mark.parametrize("kilobytes", [60_000, 120_000, 400_000, 1_500_000])
def test_too_little_address_space_is_told_in_a_line(tmp_path, kilobytes):
    fill(tmp_path / "var")
    line = f"ulimit -v {kilobytes}; exec {NUMCHECK[0]} serve --listen 127.0.0.1:0 --data-dir {tmp_path}/var"
    ended = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=environment(), timeout=BOUND_S, check=False
    )
    assert ended.returncode == 1
    (told,) = ended.stderr.splitlines()
    assert told.startswith("numcheck: ")
    assert "ulimit -v" in told


def test_second_node_of_a_database_is_told_of_both_keys_and_starts_with_no_others(tmp_path, server):
    url, plan = server.new_database(), written(tmp_path, "plan.csv", PLAN)
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("plan", "import", plan, "--data-dir", first, env={"NUMCHECK_DATABASE_URL": url}).status == 0
    with serving(first, env={"NUMCHECK_DATABASE_URL": url}):
        pass
    lacking = run("serve", "--data-dir", second, env={"NUMCHECK_DATABASE_URL": url})
    assert lacking.status == 1
    assert "copy both from another node" in lacking.err
    assert "keys.json and token.key" in lacking.err
    keys = {name: (first / name).read_bytes() for name in ("keys.json", "token.key")}
    for name, content in keys.items():
        (second / name).write_bytes(content)
        (second / name).chmod(0o400)
    (second / "token.key").chmod(0o600)
    (second / "token.key").write_bytes(os.urandom(32))
    refused = run("serve", "--data-dir", second, env={"NUMCHECK_DATABASE_URL": url})
    assert refused.status == 1
    assert "token.key is not the key that the store is used with" in refused.err.splitlines()[-1]
    (second / "token.key").write_bytes(keys["token.key"])
    with serving(second, env={"NUMCHECK_DATABASE_URL": url}):
        pass
