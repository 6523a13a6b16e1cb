"""A command that is given a data directory notices when what answers, where that directory's node would listen, is of
another installation."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from numcheck.cli import load_commands, status
from numcheck.errors import OtherInstallation
from tests.cli.test_stores import URI
from tests.serving.command import run
from tests.serving.small import fill


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The data directory of another installation, whose node does not run; nobody may change it."""
    return fill(tmp_path_factory.mktemp("other") / "var")


@pytest.fixture
def there(node):
    """Settings by which the node of `small_dir` answers where the other one would."""
    return {"NUMCHECK_LISTEN": node.address}


@pytest.mark.parametrize(
    "command",
    [
        ("check", "+79161234567"),
        ("push", "held", "--operator", "1"),
        ("push", "renew", "--operator", "1"),
        ("registrations", "list", "--service", "chat"),
        ("callers", "list"),
        ("callers", "add", URI, "--role", "administrator"),
        ("callers", "revoke", URI),
        ("plan", "import", "plan.csv"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_node_of_another_installation_is_not_asked(command, other, there, node, tmp_path):
    """Neither the node nor the store is changed, and the text says how to go on."""
    (tmp_path / "plan.csv").write_text("code;from;to;capacity;operator;region\n916;0;9;10;x;y\n")
    before = {path.name: path.read_bytes() for path in other.iterdir() if path.is_file()}
    ended = run(*command, "--data-dir", other, env=there, cwd=tmp_path)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == (
        f"numcheck: the node at {node.address} is of another installation than {other}; "
        "start that one's node, or name the node that is meant with --server"
    )
    assert {path.name: path.read_bytes() for path in other.iterdir() if path.is_file()} == before
    assert run("check", "+79161234567", "--data-dir", other, "--server", node.address).status == 0


def test_status_counts_by_its_own_store_and_says_who_else_listens_there(other, there, node):
    """The lag is that of the index on disk: revisions of two installations are not compared."""
    told = json.loads(run("status", "--json", "--data-dir", other, env=there).out)
    assert told["listener"] == {
        "address": node.address,
        "state": "not running: a node of another installation listens there",
        "door": None,
    }
    assert (told["served_version"], told["lag"]) == (None, told["revision"] - told["index"]["version"])


def test_a_store_that_no_index_was_built_of_is_told_apart_too(other, there, tmp_path):
    data_dir = shutil.copytree(other, tmp_path / "var")
    shutil.rmtree(data_dir / "index")
    ended = run("check", "+79161234567", "--data-dir", data_dir, env=there)
    assert (ended.status, "is of another installation than" in ended.err) == (1, True)


def test_a_data_directory_that_is_not_there_says_nothing_of_whose_node_is_asked(there, tmp_path):
    assert run("check", "+79161234567", "--data-dir", tmp_path / "none", env=there).status == 0


def test_a_node_that_starts_is_waited_for_though_another_installations_listens_where_it_would(node, monkeypatch):
    """It says where it listens when it serves; until then the default address is asked."""
    told = [OtherInstallation("the node there is of another installation"), node.address]

    def target_of(*_: object) -> str:
        found = told.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(status, "target_of", target_of)
    ended = CliRunner().invoke(load_commands(), ["ready", "--wait", "60"])
    assert (ended.exit_code, ended.stdout) == (0, f"the node at {node.address} is ready\n")
    told.append(OtherInstallation("the node there is of another installation"))
    assert isinstance(CliRunner().invoke(load_commands(), ["ready"]).exception, OtherInstallation)
