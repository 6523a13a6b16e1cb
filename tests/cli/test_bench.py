"""`numcheck bench`: measures a machine, here for a moment only, plans from its report, and makes bodies."""

import json

import pytest

from numcheck.bench.generator import LACKING, framed
from numcheck.bench.plan import NEEDED_CURVES
from numcheck.bench.study import CURVES
from numcheck.bench.workloads import WORKLOADS
from numcheck.v1 import check_pb2
from tests.bench.test_plan import REPORT
from tests.serving.command import run, serving

SHORT = ("--numbers", "200000", "--seconds", "0.05", "--registrations", "300")
WANTED = ("--users", "1M", "--registrations", "100/s", "--checks", "10k/s")


OWN = sorted(CURVES.keys() - {"population", "threads", "connections", "in-flight"})  # of one node, each kind once


@pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
def test_bench_measures_every_method_and_writes_the_report(tmp_path):
    """No call fails where one is made after the other; nothing is left beside the report."""
    ended = run("bench", *SHORT, "--curves", ",".join(OWN), "--json", cwd=tmp_path)
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert {one["curve"] for one in told["figures"]} == {*OWN, "capacity"}
    assert {one["method"] for one in told["figures"] if one["curve"] == "methods"} == set(WORKLOADS)
    for one in told["figures"]:
        assert one["failures"].keys() <= {"status 8", "never_begun"}, one  # a node that is flooded may refuse
        assert one["client"] == "native"
    alone = [one for one in told["figures"] if one["curve"] == "methods" and one["at"] == 1]
    assert [one["method"] for one in alone if one["failures"]] == []
    assert {path.name for path in tmp_path.iterdir()} == {"capacity.html", "capacity.json"}
    assert json.loads((tmp_path / "capacity.json").read_text()) == told
    assert "SYNTHETIC" in (tmp_path / "capacity.html").read_text()


def test_plan_is_told_with_its_curves_and_warnings(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    wanted = ("--users", "100M", "--registrations", "50k/s", "--checks", "1M/s", "--report", "report.json")
    told = json.loads(run("bench", "plan", *wanted, "--json", cwd=tmp_path).out)
    needs = {one["what"]: one for one in told["needs"]}
    assert needs["PostgreSQL"]["warning"]
    assert needs["cores for checks"]["source"].startswith("curve batch")
    shown = run("bench", "plan", *wanted, cwd=tmp_path)
    assert shown.status == 0
    assert [what for what in needs if what not in shown.out] == []
    assert "warning: disk of the store: extrapolated: measured up to 11,000, wanted 100,000,000" in shown.err


def test_bench_measures_in_no_directory_that_holds_something(data_dir, tmp_path):
    ended = run("bench", *SHORT, "--data-dir", data_dir, cwd=tmp_path)
    assert ended.status == 1
    assert "holds something already" in ended.err
    assert [path for path in tmp_path.iterdir() if path != data_dir] == []


def test_node_of_others_is_asked_and_not_changed(data_dir, tmp_path):
    """Of the curves those that need no node of their own; of the methods those that read."""
    with serving(data_dir) as node:
        options = ("--seconds", "0.05", "--curves", "methods,threads", "--data-dir", data_dir, "--json")
        before = sequence_of(data_dir)
        ended = run("bench", "--server", node.address, *options, cwd=tmp_path)
        assert ended.status == 0, ended.err
        assert sequence_of(data_dir) == before
    told = json.loads(ended.out)
    assert {one["curve"] for one in told["figures"]} == {"methods"}
    assert {one["method"] for one in told["figures"]} == {path for path, one in WORKLOADS.items() if not one.writes}
    assert all(one["node_cores"] is None for one in told["figures"])


def sequence_of(data_dir) -> int:
    """The place of the newest event of a store."""
    sequence: int = json.loads(run("events", "head", "--data-dir", data_dir).out)["sequence"]
    return sequence


def test_curve_that_is_none_is_wrong_usage(tmp_path):
    ended = run("bench", "--curves", "batch,nothing", cwd=tmp_path)
    assert ended.status == 2
    assert "nothing" in ended.err


@pytest.mark.parametrize(("option", "value"), [("--users", "many"), ("--checks", "1M/h"), ("--registrations", "-1")])
def test_quantity_that_is_none_is_wrong_usage(tmp_path, option, value):
    ended = run("bench", "plan", *WANTED, option, value, cwd=tmp_path)
    assert ended.status == 2
    assert option in ended.err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', "\0"])
def test_report_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    ended = run("bench", "plan", *WANTED, "--report", "report.json", cwd=tmp_path)
    assert ended.status == 1
    assert "numcheck bench" in ended.err


def test_body_is_a_request_as_grpc_frames_it(tmp_path):
    assert run("bench", "body", "CheckNumbers", "--numbers", "5", "--out", "b", cwd=tmp_path).status == 0
    body = (tmp_path / "b").read_bytes()
    request = check_pb2.CheckNumbersRequest.FromString(body[5:])
    assert body == framed(request.SerializeToString())
    assert len(request.numbers) == 5
    shown = json.loads(run("bench", "body", "CheckNumber", "--json", cwd=tmp_path).out)
    assert shown["number"].startswith("+79")


def test_plan_measures_only_what_it_needs():
    assert CURVES.keys() > NEEDED_CURVES
