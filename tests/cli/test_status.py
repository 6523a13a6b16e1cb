"""`numcheck status`: what a data directory holds, and whether its node answers."""

import json
import shutil
import signal

import pytest

from numcheck.door.native_door import LACKING
from tests.access import calls
from tests.access.node import ALPHA, BETA, secure_node
from tests.serving import small
from tests.serving.command import run, serving


@pytest.fixture
def status(small_dir):
    """The status of a directory, by default the small one, as JSON."""

    def told(*options, data_dir=small_dir, env=None):
        ended = run("status", "--data-dir", data_dir, "--json", *options, env=env)
        told = json.loads(ended.out)
        assert (ended.status, ended.err) == (0 if told["listener"]["state"] == "serving" else 3, "")
        return told

    return told


def test_status_tells_versions_and_counts(status, small_dir):
    """The store's revision, the index at it, the plan by series with its source."""
    told = status()
    assert told["revision"] == told["index"]["version"] == 5
    assert (told["lag"], told["index"]["error"]) == (0, None)
    assert (told["data_dir"], told["synthetic"]) == (str(small_dir), True)
    assert told["engine"].startswith("SQLite ")
    assert [(one["series"], one["ranges"], one["numbers"]) for one in told["plan"]] == [
        *(("+7 3xx", 1, 10_000), ("+7 4xx", 1, 10_000), ("+7 9xx", 7, 10_182_100))
    ]
    assert {one["source"] for one in told["plan"]} == {"small.csv"}
    assert told["plan"][0]["imported_at"] == small.DATA_TIME.isoformat()


def test_status_tells_the_freshness_of_each_operators_data(status):
    operators = {one["tax_id"]: one for one in status()["operators"]}
    mts, scartel, t2 = operators[small.MTS], operators[small.SCARTEL], operators[small.T2]
    assert (mts["active"], mts["data_version"], mts["data_time"]) == (12, 1, small.DATA_TIME.isoformat())
    assert (scartel["active"], scartel["data_version"], scartel["data_time"], scartel["age_s"]) == (0, 0, None, None)
    assert [one["tax_id"] for one in operators.values() if one["synthetic"]] == [t2["tax_id"]]
    assert operators[small.VIMPELCOM]["age_s"] > mts["age_s"]


def test_status_says_serving_when_the_node_answers(status, node):
    listener = {"address": node.address, "state": "serving", "door": "native" if LACKING is None else "plain"}
    assert status(env={"NUMCHECK_LISTEN": node.address})["listener"] == listener


def test_commands_find_the_node_of_their_data_directory(data_dir):
    """By no address at all: as long as it runs, and not by a copy of the directory."""
    with serving(data_dir) as node:
        found = json.loads(run("status", "--data-dir", data_dir, "--json").out)
        door = "native" if LACKING is None else "plain"
        assert found["listener"] == {"address": node.address, "state": "serving", "door": door}
        answered = run("check", "--data-dir", data_dir, f"+{small.ACTIVE}")
        assert (answered.status, "ACTIVE" in answered.out) == (0, True)
        elsewhere = run("check", "--data-dir", data_dir, "+79161234567", env={"NUMCHECK_LISTEN": "127.0.0.1:1"})
        assert (elsewhere.status, "127.0.0.1:1" in elsewhere.err) == (1, True)
        copied = shutil.copytree(data_dir, data_dir.with_name("copy"))
        assert json.loads(run("status", "--data-dir", copied, "--json").out)["listener"]["address"] != node.address
        node.process.signal(signal.SIGKILL)
        node.process.wait()
        killed = json.loads(run("status", "--data-dir", data_dir, "--json").out)
        assert killed["listener"]["address"] != node.address
    with serving(data_dir):
        assert (data_dir / "listeners.json").exists()
    assert not (data_dir / "listeners.json").exists()


def test_status_says_not_running_when_no_node_answers(status):
    assert status(env={"NUMCHECK_LISTEN": "127.0.0.1:1"})["listener"]["state"] == "not running"


def test_status_tells_what_is_wrong_with_the_index(status, data_dir):
    """And the rest all the same, with what to do about it."""
    shutil.rmtree(data_dir / "index")
    told = status(data_dir=data_dir)
    assert told["index"]["version"] is told["lag"] is None
    assert "there is no index" in told["index"]["error"]
    assert "numcheck serve" in told["index"]["error"]
    assert told["revision"] == 5


def test_status_tells_how_far_the_index_is_behind(status, data_dir, tmp_path):
    """As after a crash between the store's commit and the index: the index of an older revision."""
    registry = tmp_path / "r.csv"
    registry.write_text("code;from;to;capacity;operator;region\n916;0;9;10;x;y\n")
    old = shutil.copytree(data_dir / "index", tmp_path / "old")
    run("plan", "import", registry, "--data-dir", data_dir, "--force")
    shutil.rmtree(data_dir / "index")
    old.rename(data_dir / "index")
    assert status(data_dir=data_dir)["lag"] == 1


def test_status_reads_well_for_a_person(small_dir):
    """Labels first; ages in days and hours; what is made up says so."""
    ended = run("status", "--data-dir", small_dir)
    lines = ended.out.splitlines()
    assert lines[0] == f"data directory   {small_dir}  SYNTHETIC data: made up, for trying out"
    assert any(line.startswith("index            version 5, 0 behind the store, ") for line in lines)
    assert any(line.split()[0] == "3" and line.rstrip().endswith("(synthetic)") for line in lines if line.strip())
    assert any("no data" in line for line in lines)


def test_status_shows_a_directorys_name_to_the_letter(small_dir, tmp_path):
    """Brackets are no markup, and percent signs are no escapes."""
    directory = shutil.copytree(small_dir, tmp_path / "[red]a :smile: %20b")
    assert run("status", "--data-dir", directory).out.startswith(f"data directory   {directory}  SYNTHETIC")


def test_status_asks_another_node_when_it_is_named(node, small_dir, tmp_path):
    """By --server or by the setting: what that node says, digests as its store has them, with no data directory."""
    told = run("status", "--digests", "--json", "--server", node.address, cwd=tmp_path)
    assert (told.status, told.err) == (0, "")
    answered, stored = json.loads(told.out), json.loads(run("status", "--digests", "--json", cwd=small_dir.parent).out)
    names = ("operator_id", "display_name", "tax_id", "active", "data_version", "data_time", "synthetic", "digest")
    assert answered["server"] == node.address
    assert [[one[name] for name in names] for one in answered["operators"]] == [
        [one[name] for name in names] for one in stored["operators"]
    ]
    assert answered["portings"] == stored["portings"]
    lines = run("status", "--digests", cwd=tmp_path, env={"NUMCHECK_SERVER": node.address}).out
    assert all(one["digest"] in lines for one in stored["operators"] if one["digest"])
    assert list(tmp_path.iterdir()) == []


def test_grpcs_core_writes_nothing_unless_it_is_asked_to(tmp_path):
    """A command has one line for what went wrong; the core's own words are for whoever sets GRPC_VERBOSITY."""
    strange = {"http_proxy": "strange://proxy", "NUMCHECK_USE_PROXY": "1"}
    options = ("check", "+79161234567", "--server", "no-such-host.invalid:1")
    quiet, loud = (run(*options, cwd=tmp_path, env=strange | more) for more in ({}, {"GRPC_VERBOSITY": "ERROR"}))
    assert (quiet.status, quiet.err.count("\n"), "no node answers" in quiet.err) == (1, 1, True)
    assert "'strange' scheme not supported" in loud.err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["line", "json"])
def test_ready_says_by_its_exit_status_whether_a_node_serves(small_dir, node, form):
    """It waits no longer than it was told to, for one that does not."""
    env = {"NUMCHECK_LISTEN": node.address}
    assert run("ready", "--data-dir", small_dir, *form, env=env).status == 0
    nowhere = run("ready", "--server", "127.0.0.1:1", "--wait", "0.3", *form)
    assert nowhere.status == 1
    assert "not running" in nowhere.out + nowhere.err


def test_a_refusal_by_access_is_said_as_that(tmp_path, small_dir):
    """A node that wants a certificate is not one that does not run, whether it is asked in plaintext or over TLS."""
    directory = shutil.copytree(small_dir, tmp_path / "var")
    assert run("callers", "init", "callers", cwd=tmp_path).status == 0
    with serving(directory, "--config", "callers/numcheck.toml", cwd=tmp_path) as node:
        env = {"NUMCHECK_LISTEN": node.address}
        administrator = ["--config", "callers/numcheck.toml"]
        assert run("ready", "--data-dir", "var", *administrator, cwd=tmp_path).status == 0
        for unknown in ({}, {"NUMCHECK_SERVER_AUTHORITY_FILE": "callers/authority.pem"}):
            told = run("status", "--data-dir", "var", "--json", cwd=tmp_path, env={**env, **unknown})
            assert told.status == 3
            assert "refuses the connection" in json.loads(told.out)["listener"]["state"]
            refused = run("ready", "--data-dir", "var", cwd=tmp_path, env={**env, **unknown})
            assert (refused.status, "refuses the connection" in refused.err) == (1, True)


def test_status_ends_with_3_when_it_tells_of_a_node_that_does_not_serve(small_dir):
    assert run("status", "--data-dir", small_dir, env={"NUMCHECK_LISTEN": "127.0.0.1:1"}).status == 3


@pytest.mark.parametrize(("name", "known"), [("alpha", [ALPHA]), ("messenger", []), ("house", [0]), ("auditor", None)])
def test_status_of_a_node_makes_one_denial_at_most(tmp_path, name, known):
    """However many operators there are: each caller is told of what is theirs, an auditor of everything."""
    with secure_node(tmp_path) as node:
        for operator_id in (ALPHA, BETA):
            calls.fill(node, operator_id)
        listener = "native" if LACKING is None else "api"
        config = tmp_path / "numcheck.toml"
        config.write_text(
            f"server = '{node.addresses[listener]}'\n"
            f"server_authority_file = '{node.directory}/authority.pem'\n"
            f"client_certificate_file = '{node.directory}/{name}.pem'\n"
            f"client_key_file = '{node.directory}/{name}.key'\n"
        )
        before = node.denied()
        ended = run("status", "--json", "--config", config, cwd=tmp_path)
        assert (ended.status, node.denied() - before) == (0, 0 if known is None else 1)
        told = json.loads(ended.out)
        found = [one["operator_id"] for one in told["operators"] if one["active"] is not None]
        assert [*found, *([0] if told["portings"] else [])] == ([ALPHA, BETA, 0] if known is None else known)
