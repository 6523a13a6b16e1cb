"""`numcheck check NUMBER...`: single numbers, from a node or straight from the data directory."""

import json
import shutil

import pytest

from tests.serving import small
from tests.serving.command import run

SPELLED = ["+7 916 123-45-67", "8 (916) 123-45-68", "79301000000", "+74951234567", "+14155550100", "79990000000"]
STATUSES = ["ACTIVE", "INACTIVE", "UNALLOCATED", "NOT_MOBILE", "INVALID", "UNKNOWN"]
UNREADABLE = "no number"


@pytest.fixture(params=["node", "local"])
def where(request):
    """The options that make `check` ask the node, or read the directory: both must say the same."""
    if request.param == "node":
        return ["--server", request.getfixturevalue("node").address]
    return ["--local", "--data-dir", request.getfixturevalue("small_dir")]


def test_every_number_gets_a_row_in_the_order_given(where):
    """Number, status, operator and region; what rests on made-up data says so."""
    ended = run("check", *where, *SPELLED, "+79000000000")
    assert (ended.status, ended.err) == (0, "")
    header, *rows = ended.out.splitlines()
    assert header.split() == ["number", "status", "operator", "region"]
    assert [row.split()[1] for row in rows] == [*STATUSES, "ACTIVE"]
    assert rows[0].split(maxsplit=2)[0] == "+79161234567"
    assert 'ПАО "МТС"' in rows[0]
    assert "г. Москва и Московская область" in rows[0]
    assert [row.endswith("SYNTHETIC data") for row in map(str.rstrip, rows)] == [False] * 6 + [True]


def test_answers_are_the_same_as_json_from_the_node_and_from_the_directory(node, small_dir):
    """Every field of every number, data times included."""
    numbers = [*SPELLED, UNREADABLE, "+79000000000", "+79030000001"]
    remote = run("check", "--json", "--server", node.address, *numbers)
    local = run("check", "--json", "--local", "--data-dir", small_dir, *numbers)
    assert json.loads(remote.out) == json.loads(local.out)
    assert (remote.status, local.status) == (1, 1)


def test_json_holds_all_that_is_known_of_a_number(where):
    (told,) = json.loads(run("check", "--json", *where, "+7 916 123-45-67").out)
    operator = {
        "operator_id": 1,
        "display_name": 'ПАО "МТС"',
        "tax_id": small.MTS,
        "data_version": 1,
        "data_time": small.DATA_TIME.isoformat(),
        "synthetic": False,
    }
    assert told.pop("index_version") > 0
    assert told == {
        "text": "+7 916 123-45-67",
        "number": small.ACTIVE,
        "status": "ACTIVE",
        "serving_operator": operator,
        "range_holder": operator,
        "ported": False,
        "region": "г. Москва и Московская область",
    }


def test_json_has_nulls_where_nobody_serves_the_number(where):
    (told,) = json.loads(run("check", "--json", *where, "+14155550100").out)
    assert (told["serving_operator"], told["range_holder"], told["region"]) == (None, None, "")


def test_text_that_is_no_number_is_marked_in_its_place(where):
    """The others get their answers, and the exit status is 1; what a terminal takes for markup is shown as it is."""
    texts = [UNREADABLE, "", "[/]", "[bold]x", ":smile:", "😀"]
    ended = run("check", *where, "+79161234567", *texts, "+79161234568")
    assert (ended.status, ended.err) == (1, "")
    first, *refused, last = ended.out.splitlines()[1:]
    assert ("ACTIVE" in first, "INACTIVE" in last) == (True, True)
    assert [row.split("NOT_A_NUMBER")[0].strip() for row in refused] == texts


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_answers_are_printed_whatever_the_terminal_can_show(small_dir, encoding):
    """What it has no character for is escaped; a command does not end for it."""
    numbers = ("+79161234567", b"\xff".decode("utf-8", "surrogateescape"), "😀")
    for options in ([], ["--json"]):
        env = {"PYTHONIOENCODING": encoding}
        ended = run("check", "--local", "--data-dir", small_dir, *options, *numbers, env=env)
        assert "Traceback" not in ended.err
        assert "ACTIVE" in ended.out
        assert r"\udcff" in ended.out


def test_old_data_is_unknown_when_the_configuration_bounds_its_age(small_dir, tmp_path):
    """Also without a node: a year is too old for what the small plan has, however it is asked."""
    config = tmp_path / "numcheck.toml"
    config.write_text("data_age_max_s = 1")
    (told,) = json.loads(
        run("check", "--local", "--json", "--data-dir", small_dir, "--config", config, "+79161234567").out
    )
    assert told["status"] == "UNKNOWN"


def test_default_region_reads_national_numbers(small_dir):
    """A number of the United States when the configuration says so; a Russian trunk prefix means nothing there."""
    told = json.loads(
        run(
            "check",
            "--local",
            "--json",
            "--data-dir",
            small_dir,
            "(415) 555-0100",
            env={"NUMCHECK_DEFAULT_REGION": "us"},
        ).out
    )
    assert told[0]["number"] == 14155550100


def test_check_is_refused_in_one_line_when_no_node_answers(small_dir):
    """With what to do about it."""
    ended = run("check", "--server", "127.0.0.1:1", "+79161234567")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "numcheck: no node answers at 127.0.0.1:1; `numcheck serve` starts one\n"


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_check_is_refused_in_one_line_when_the_index_cannot_be_used(data_dir, damage):
    """It reads only; building is the node's."""
    shutil.rmtree(data_dir / "index")
    if damage == "damaged":
        (data_dir / "index").mkdir()
        (data_dir / "index" / "manifest.json").write_text("{}")
    ended = run("check", "--local", "--data-dir", data_dir, "+79161234567")
    assert (ended.status, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    assert line.endswith("; `numcheck serve` builds it anew")
