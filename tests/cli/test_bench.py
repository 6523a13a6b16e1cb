"""`numcheck bench`: measures a machine, here for a moment only, and writes the report."""

import json

from numcheck.door.native_door import LACKING
from tests.serving.command import run

DOOR = "native" if LACKING is None else "plain"
SHORT = ("--numbers", "200000", "--seconds", "0.1")


def test_bench_measures_each_part_and_writes_the_report(tmp_path):
    """The kernel, each door, a push and registrations; nothing is left beside the report."""
    ended = run("bench", *SHORT, "--json", cwd=tmp_path)
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    measured = {one["what"]: one for one in told["measured"]}
    assert all(one["value"] > 0 for one in measured.values())
    assert measured[f"{DOOR}, one number a call, one client"]["unit"] == "calls/s"
    assert measured[f"{DOOR}, 10,000 numbers a message, one client"]["unit"] == "numbers/s"
    for what in ("kernel, one core, at random", "the index", "durable registrations, 32 callers"):
        assert what in measured
    assert [path.name for path in tmp_path.iterdir()] == ["capacity.md"]
    report = (tmp_path / "capacity.md").read_text()
    assert "SYNTHETIC" in report
    assert [what for what in measured if f"| {what} |" not in report] == []
    assert f"| cores | {told['machine']['cores']} |" in report


def test_bench_measures_in_no_directory_that_holds_something(data_dir, tmp_path):
    ended = run("bench", *SHORT, "--data-dir", data_dir, cwd=tmp_path)
    assert ended.status == 1
    assert "holds something already" in ended.err
    assert not (tmp_path / "capacity.md").exists()
