"""CheckRecycled at the public boundary: a real node that is pushed to, killed and started again; and the commands."""

import csv
import time
from datetime import UTC, datetime

import grpc
import pytest

from numcheck.cli.reading.since import try_moment
from numcheck.v1 import check_pb2
from tests.api.calls import refusal
from tests.numbering.node import FIRST, Node, start
from tests.numbering.test_pushes import DELTA, SNAPSHOT, Request, numbers, push, statuses
from tests.serving.command import run

NO, YES, UNKNOWN = 1, 2, 3
DAY_S = 86_400


def recycled(node: Node, asked: list[int], *since: int) -> list[int]:
    request = check_pb2.CheckRecycledRequest(numbers=asked, since_unix_s=since)
    return list(node.check.CheckRecycled(request, timeout=10).statuses)


def test_numbers_are_recycled_since_their_withdrawal_whatever_becomes_of_the_node(node: Node) -> None:
    """Acknowledged is recorded: a killed node answers the same; a withdrawal of later is added to it."""
    began = int(time.time())
    push(node, SNAPSHOT, Request(add=numbers(200)))
    supplied = int(time.time())
    pushed = push(node, DELTA, Request(add=[FIRST + 2], remove=[FIRST, FIRST + 1, FIRST + 2]), base_version=1)
    statuses(node, [FIRST], pushed.index_version)
    asked = [FIRST, FIRST + 1, FIRST + 2, FIRST + 3, FIRST + 500, 74_950_000_000, 0]
    soon, long_ago = int(time.time()) + 10, began - DAY_S
    assert recycled(node, asked, supplied) == [YES, YES, YES, NO, NO, UNKNOWN, UNKNOWN]
    assert recycled(node, asked, long_ago) == [YES, YES, YES, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert recycled(node, asked, soon) == [NO] * 5 + [UNKNOWN] * 2
    assert recycled(node, asked[:4], supplied, soon, long_ago, long_ago) == [YES, NO, YES, UNKNOWN]
    second = FIRST + 1_000_000  # of the operator that has supplied nothing
    assert recycled(node, [second], soon) == [UNKNOWN]
    node.kill()
    again = start(node.data_dir)
    try:
        assert recycled(again, asked, supplied) == [YES, YES, YES, NO, NO, UNKNOWN, UNKNOWN]
        pushed = push(again, DELTA, Request(remove=[FIRST + 3]), base_version=2)
        statuses(again, [FIRST], pushed.index_version)
        assert recycled(again, asked, supplied) == [YES, YES, YES, YES, NO, UNKNOWN, UNKNOWN]
        answer = again.check.CheckRecycled(check_pb2.CheckRecycledRequest())
        assert long_ago < answer.record_since_unix_s <= supplied
        assert answer.index_version == pushed.index_version
        refused = refusal(lambda: recycled(again, asked, 1, 2))
        assert (refused.code, refused.violations) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            [("since_unix_s", "BAD_MOMENTS")],
        )
    finally:
        again.kill()


def test_commands_tell_what_was_withdrawn(node: Node, tmp_path) -> None:
    push(node, SNAPSHOT, Request(add=numbers(200)))
    pushed = push(node, DELTA, Request(add=[FIRST + 1], remove=[FIRST, FIRST + 1]), base_version=1)
    statuses(node, [FIRST], pushed.index_version)
    today, out = datetime.now(UTC), tmp_path / "out.csv"
    source = tmp_path / "in.csv"
    source.write_text(
        f"phone,seen\n+{FIRST},2020-01-01\n{FIRST + 1},31.12.2020\n{FIRST + 2},2100-01-01\nx,\n{FIRST},?\n"
    )
    where = ("--data-dir", node.data_dir)
    for local in ((), ("--local",)):
        line = ("check", "--file", source, "--out", out, "--recycled-since", "seen", *where, *local)
        assert run(*line).status == 0
        rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
        assert [row["recycled"] for row in rows] == ["YES", "YES", "NO", "NOT_A_NUMBER", "NOT_A_MOMENT"]
        assert [row["status"] for row in rows] == ["INACTIVE", "ACTIVE", "ACTIVE", "NOT_A_NUMBER", "INACTIVE"]
    plain = tmp_path / "plain.txt"
    plain.write_text(f"{FIRST}\n{FIRST + 2}\n")
    assert run("check", "--file", plain, "--out", out, "--recycled-since", "2100-01-01", *where).status == 0
    assert [line.rsplit(",", 1)[1] for line in out.read_text(encoding="utf-8").splitlines()] == ["NO", "NO"]
    for said in ("nothing", "20251201", "2025-12-01T25:00"):
        ended = run("check", "--file", source, "--out", out, "--recycled-since", said, *where)
        last = ended.err.splitlines()[-1]
        assert (ended.status, "Traceback" in ended.err) == (1, False)
        assert last.startswith("numcheck: in.csv: neither a moment nor a column: --recycled-since")
    days = {f"{moment:%Y-%m-%d}" for moment in (today, datetime.now(UTC))}  # it may be midnight
    exported = [run("withdrawn", "export", day, *where) for day in sorted(days)]
    lines = [line for one in exported for line in one.out.splitlines()[1:]]
    assert sorted(lines) == [f"{FIRST},removed", f"{FIRST + 1},recycled"]
    assert {one.out.splitlines()[0] for one in exported} == {"number,cause"}
    early = run("withdrawn", "export", "2020-01-01", *where)
    assert (early.status, early.out) == (1, "")
    assert "the record of withdrawals goes back to" in early.err


@pytest.mark.parametrize("text", ["20251201", "1", "", "yesterday", "2025-13-01", "01/02/2025"])
def test_text_is_no_moment_when_it_could_be_something_else(text: str) -> None:
    assert try_moment(text) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-12-01", "2025-12-01T00:00:00+00:00"),
        ("01.12.2025", "2025-12-01T00:00:00+00:00"),
        (" 01.12.2025 09:30 ", "2025-12-01T09:30:00+00:00"),
        ("2025-12-01T09:00:00+03:00", "2025-12-01T06:00:00+00:00"),
        ("2025-12-01 09:00:00.9Z", "2025-12-01T09:00:00+00:00"),
    ],
)
def test_moment_is_read_as_people_and_programs_write_it(text: str, moment: str) -> None:
    assert try_moment(text) == datetime.fromisoformat(moment).timestamp()
