"""`numcheck push` against a real node: what an operator and the clearing house see."""

import gzip
import hashlib
import json
import os
import shlex
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from numcheck.cli.options import moment
from numcheck.v1 import numbering_pb2
from tests.active.test_clearing_house import row, written
from tests.numbering.node import FIRST, PLAN, Node
from tests.numbering.test_portings import facts, operators, push_active, wait_for
from tests.serving.command import NUMCHECK, run

ALPHA, BETA = "7740000076", "7743895280"


@pytest.fixture
def push(node: Node):
    """Runs `numcheck push` against the node; returns its exit status, its output and what it told."""

    def call(*arguments: str | Path, stdin: bytes = b""):
        return run("push", *map(str, arguments), "--server", node.address, stdin=stdin)

    return call


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{one}\n" for one in rows), encoding="utf-8")
    return path


def state(node: Node, operator_id: int):
    return node.numbering.GetOperatorState(numbering_pb2.GetOperatorStateRequest(operator_id=operator_id))


def test_snapshot_and_delta_are_pushed(push, node, tmp_path):
    """Numbers however one writes them, ranges, and with --delta removals by a minus in front."""
    whole = lines(tmp_path / "all.txt", FIRST, f"+{FIRST + 1}", "8 (916) 000-00-02", f"{FIRST + 10}-{FIRST + 19}", "")
    done = push("active", whole, "--operator", ALPHA, "--json")
    assert done.status == 0
    assert json.loads(done.out) == {
        "operator_id": operators(node)[ALPHA],
        "state": "APPLIED",
        "version": 1,
        "index_version": 2,
        "added": 13,
        "already_added": 0,
        "removed": 0,
        "already_removed": 0,
        "numbers": 13,
        "refused": 0,
        "pushed_before_at": None,
        "head_version": 1,
    }
    change = lines(tmp_path / "changes.txt", f"-{FIRST}", FIRST + 3, FIRST + 1)
    done = push("active", change, "--operator", ALPHA, "--delta", "--json")
    found = json.loads(done.out)
    assert (found["version"], found["added"], found["already_added"], found["removed"]) == (2, 1, 1, 1)
    wait_for(node, found["index_version"])
    assert [facts(node, FIRST + place).status for place in (0, 3)] == [3, 4]


def of_day(path: Path, day: int) -> Path:
    """The file, last written on that day of November 2026."""
    moment = datetime(2026, 11, day, 3, tzinfo=UTC).timestamp()
    os.utime(path, (moment, moment))
    return path


def test_same_file_pushed_again_does_nothing_and_says_so(push, node, tmp_path):
    """And whether the head is another by now: a file that others were pushed over is not what the node answers from."""
    whole = of_day(lines(tmp_path / "all.txt", FIRST), 10)
    first = json.loads(push("active", whole, "--operator", ALPHA, "--json").out)
    done = push("active", whole, "--operator", ALPHA)
    told = done.err.splitlines()[-1]
    assert (done.status, told.startswith("pushed before at 20")) == (0, True)
    assert told.endswith("nothing done; head is version 1")
    change = of_day(lines(tmp_path / "changes.txt", FIRST + 1), 11)
    push("active", change, "--operator", ALPHA, "--delta")
    again = json.loads(push("active", whole, "--operator", ALPHA, "--json").out)
    assert datetime.fromisoformat(again.pop("pushed_before_at"))
    assert (first.pop("pushed_before_at"), first.pop("head_version"), again.pop("head_version")) == (None, 1, 2)
    assert again == first
    told = push("active", whole, "--operator", ALPHA).err.splitlines()[-1]
    assert told.endswith("nothing done; head is version 2, as others were applied since")
    assert state(node, operators(node)[ALPHA]).version == 2


def test_data_is_renewed_by_the_command_for_it_and_by_an_empty_delta_of_a_later_time(push, node, tmp_path):
    """An empty delta that nobody has touched is the same push: a job that writes nothing any more renews nothing."""
    refused = push("renew", "--operator", ALPHA)
    assert (refused.status, "nothing can be renewed" in refused.err) == (1, True)
    push("active", of_day(lines(tmp_path / "all.txt", FIRST), 10), "--operator", ALPHA)
    empty = of_day(lines(tmp_path / "none.txt"), 11)
    for version in (2, 2):
        assert push("active", empty, "--operator", ALPHA, "--delta", "--count", 0).status == 0
        found = state(node, operators(node)[ALPHA])
        assert (found.version, found.data_time.ToDatetime(UTC).day) == (version, 11)
    push("active", of_day(empty, 12), "--operator", ALPHA, "--delta", "--count", 0)
    assert state(node, operators(node)[ALPHA]).data_time.ToDatetime(UTC).day == 12
    begun = datetime.now(UTC)
    assert json.loads(push("renew", "--operator", ALPHA, "--json").out)["version"] == 4
    found = state(node, operators(node)[ALPHA])
    assert (found.data_time.ToDatetime(UTC) >= begun, found.number_count) == (True, 1)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"phone\n", gzip.compress(b"", mtime=0)])
def test_delta_without_a_row_is_refused_unless_it_is_meant(push, node, tmp_path, content):
    """A pipe whose other end has failed gives just that: data that nobody has sent would count as of now."""
    push("active", of_day(lines(tmp_path / "all.txt", FIRST), 10), "--operator", ALPHA)
    refused = push("active", "-", "--operator", ALPHA, "--delta", stdin=content)
    assert (refused.status, "it holds no number" in refused.err) == (1, True)
    found = state(node, operators(node)[ALPHA])
    assert (found.version, found.data_time.ToDatetime(UTC).day, found.number_count) == (1, 10, 1)
    assert push("active", "-", "--operator", ALPHA, "--delta", "--count", 0, stdin=content).status == 0
    assert state(node, operators(node)[ALPHA]).version == 2


def test_file_that_comes_late_is_refused_unless_it_is_meant(push, node, tmp_path):
    """The delta of a day after that of the next; meant, it is a push of its own, even of a file that was pushed."""
    first = of_day(lines(tmp_path / "all.txt", FIRST), 10)
    push("active", first, "--operator", ALPHA)
    push("active", of_day(lines(tmp_path / "12.txt", FIRST + 1), 12), "--operator", ALPHA, "--delta")
    late = of_day(lines(tmp_path / "11.txt", f"-{FIRST + 1}"), 11)
    done = push("active", late, "--operator", ALPHA, "--delta")
    assert (done.status, "OLDER_DATA" in done.err) == (1, True)
    assert state(node, operators(node)[ALPHA]).number_count == 2
    done = push("active", first, "--operator", ALPHA, "--allow-older", "--confirm", "--json")
    assert (done.status, json.loads(done.out)["version"]) == (0, 3)
    assert state(node, operators(node)[ALPHA]).number_count == 1


def test_held_pushes_are_listed_with_what_confirms_them(push, node, tmp_path):
    assert push("held").out == "no push waits to be confirmed\n"
    push("active", lines(tmp_path / "all.txt", f"{FIRST}-{FIRST + 99}"), "--operator", ALPHA)
    push("active", lines(tmp_path / "few.txt", f"{FIRST}-{FIRST + 9}"), "--operator", ALPHA)
    (found,) = json.loads(push("held", "--operator", ALPHA, "--json").out)
    assert (found["operator_id"], found["mode"], found["removed"]) == (operators(node)[ALPHA], "SNAPSHOT", 90)
    assert json.loads(push("held", "--operator", BETA, "--json").out) == []
    told = push("held").out
    assert "would add 0 and remove 90" in told
    assert push(*told.split("numcheck push ")[1].split()).status == 0
    assert push("held").out == "no push waits to be confirmed\n"


def test_push_that_removes_much_is_held_until_confirmed(push, node, tmp_path):
    """Status 1 and one line that says how; the line works as it stands, and --confirm does both at once."""
    push("active", lines(tmp_path / "all.txt", f"{FIRST}-{FIRST + 99}"), "--operator", ALPHA)
    held = push("active", lines(tmp_path / "few.txt", f"{FIRST}-{FIRST + 9}"), "--operator", ALPHA)
    assert held.status == 1
    assert "100 numbers" not in held.err
    command = held.err.splitlines()[-1].partition("numcheck push ")[2].split()
    confirmed = push(*command)
    assert (confirmed.status, confirmed.err.splitlines()[-1].startswith("version 2: ")) == (0, True)
    assert state(node, operators(node)[ALPHA]).number_count == 10
    again = push("active", lines(tmp_path / "one.txt", FIRST), "--operator", ALPHA, "--confirm")
    assert again.status == 0
    assert state(node, operators(node)[ALPHA]).number_count == 1


def test_numbers_of_another_operator_are_refused_into_a_file(push, node, tmp_path):
    """Never into the log; with --skip-not-served the others are pushed."""
    stranger, refused = FIRST + 1_000_000, tmp_path / "refused.csv"
    mixed = lines(tmp_path / "all.txt", FIRST, stranger)
    done = push("active", mixed, "--operator", ALPHA, "--refused", refused)
    assert (done.status, str(stranger) in done.err, "NOT_SERVED" in done.err) == (1, False, True)
    assert "note: --refused FILE tells" in done.err
    assert refused.read_text() == f"number\n{stranger}\n"
    assert stat.S_IMODE(refused.stat().st_mode) == 0o600
    refused.unlink()
    done = push("active", mixed, "--operator", ALPHA, "--refused", refused, "--skip-not-served")
    assert (done.status, "1 refused" in done.err) == (0, True)
    assert refused.read_text() == f"number\n{stranger}\n"
    wrong_file = lines(tmp_path / "wrong.txt", stranger)
    done = push("active", wrong_file, "--operator", ALPHA, "--skip-not-served")
    assert (done.status, "the operator serves none of the numbers" in done.err) == (1, True)
    earlier = ("--data-time", "2020-01-01")
    done = push("active", lines(tmp_path / "old.txt", FIRST), "--operator", ALPHA, *earlier)
    assert (done.status, "note: --allow-older pushes it all the same" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (["79160000000", "no number"], ":2: neither a number nor a range"),
        (["-79160000000"], ":1: the line removes"),
        (["79160000009-79160000000"], ":1: the range ends before it starts"),
    ],
)
def test_file_with_a_bad_line_is_refused_by_it(push, node, tmp_path, content, words):
    done = push("active", lines(tmp_path / "all.txt", *content), "--operator", ALPHA)
    assert (done.status, words in done.err) == (1, True)
    assert state(node, operators(node)[ALPHA]).version == 0


def test_unknown_operator_is_refused(push, tmp_path):
    done = push("active", lines(tmp_path / "all.txt", FIRST), "--operator", "123")
    assert (done.status, "no operator of this installation" in done.err) == (1, True)


def test_delta_on_another_version_is_refused(push, tmp_path):
    done = push("active", lines(tmp_path / "all.txt", FIRST), "--operator", ALPHA, "--delta", "--base-version", "7")
    assert (done.status, "STALE_BASE" in done.err) == (1, True)


def test_nobody_answers(tmp_path):
    done = run("push", "active", str(lines(tmp_path / "a.txt", FIRST)), "--operator", ALPHA, "--server", "127.0.0.1:1")
    assert (done.status, "no node answers at 127.0.0.1:1" in done.err) == (1, True)


# --- portings


def number_cell(place: int) -> str:
    return str(FIRST + place)[1:]


@pytest.fixture
def book(tmp_path) -> Path:
    return written(tmp_path, "Operators", [f"mONE,01,{ALPHA},Первый,3", f"mTWO,02,{BETA},Второй,", "mWHO,03,,Никто,"])


def test_increments_are_pushed_in_their_order_each_once(push, node, tmp_path, book):
    by_tax_id = operators(node)
    away = written(
        tmp_path, "Port_Increment", [row("Port_Increment", number_cell(5), "mTWO", "mONE", "1")], packed=True
    )
    home = tmp_path / "Return_Increment_202608190500_18.csv"
    written(tmp_path, "Return_Increment", [row("Return_Increment", number_cell(5), "mONE", "mONE", "1")]).rename(home)
    done = push("portings", book, home, away, "--force", "--json")
    found = json.loads(done.out)
    assert [(one["file"], one["added"], one["removed"]) for one in found] == [(away.name, 1, 0), (home.name, 0, 1)]
    (again,) = json.loads(push("portings", away, "--operators", book, "--json").out)
    assert again == {**found[0], "pushed_before_at": again["pushed_before_at"], "head_version": 2}
    assert again["pushed_before_at"] is not None
    wait_for(node, found[-1]["index_version"])
    assert facts(node, FIRST + 5).serving_operator.operator_id == by_tax_id[ALPHA]


def test_increment_that_was_cut_to_its_header_does_not_stand_in_the_way_of_the_whole_one(push, tmp_path, book):
    cut = push("portings", written(tmp_path, "Port_Increment", []), book)
    assert (cut.status, "no row, so nothing is pushed" in cut.err) == (0, True)
    path = written(tmp_path, "Port_Increment", [row("Port_Increment", number_cell(5), "mTWO", "mONE", "1")])
    assert json.loads(push("portings", path, book, "--force", "--json").out)[0]["added"] == 1
    again = written(tmp_path, "Port_Increment", [row("Port_Increment", number_cell(6), "mTWO", "mONE", "1")])
    assert json.loads(push("portings", again, book, "--force", "--json").out)[0]["added"] == 1


def test_portings_that_come_late_are_refused_unless_they_are_meant(push, node, tmp_path, book):
    """An increment after the one of two hours later, and all portings of the day before."""

    def increment(name: str, place: int, to: str) -> Path:
        rows = [row("Port_Increment", number_cell(place), to, "mONE", "1")]
        return written(tmp_path, "Port_Increment", rows).rename(tmp_path / f"{name}.csv")

    later, late = (
        increment("Port_Increment_202608191200_18", 5, "mTWO"),
        increment("Port_Increment_202608191000_17", 6, "mTWO"),
    )
    rows = [row("Port_All", number_cell(place), "mTWO", "", "9" if place == 0 else "") for place in range(9)]
    whole = written(tmp_path, "Port_All", rows).rename(tmp_path / "Port_All_202608180300_1.csv")
    assert push("portings", book, later).status == 0
    for one in (late, whole):
        done = push("portings", book, one)
        assert (done.status, "OLDER_DATA" in done.err) == (1, True)
    found = json.loads(push("portings", book, late, "--allow-older", "--json").out)
    assert [(one["version"], one["numbers"]) for one in found] == [(2, 2)]


def test_missing_increment_is_told_over_runs(push, tmp_path, book):
    """17, then 19 by another command; 20, empty, has its place; then 21, of which nothing is missing."""

    def increment(number: int, rows: list[str]) -> Path:
        name = f"Port_Increment_2026081910{number:02}_{number}.csv"
        return written(tmp_path, "Port_Increment", rows).rename(tmp_path / name)

    told = []
    for number in (17, 19, 20, 21):
        rows = [row("Port_Increment", number_cell(number), "mTWO", "mONE", "1")] if number != 20 else []
        done = push("portings", book, increment(number, rows))
        assert done.status == 0
        told.append([line for line in done.err.splitlines() if line.startswith("warning: ")])
    (gap,) = told[1]
    assert gap.startswith("warning: Port_Increment_202608191019_19.csv: Port_Increment 18 is missing")
    assert [told[0], *told[2:]] == [[], [], []]


def test_all_portings_without_a_row_are_refused(push, tmp_path, book):
    done = push("portings", written(tmp_path, "Port_All", []), book)
    assert (done.status, "all portings would end" in done.err) == (1, True)


def test_all_portings_replace_those_before(push, node, tmp_path, book):
    rows = [row("Port_All", number_cell(place), "mTWO", "", "3" if place == 0 else "") for place in range(3)]
    done = push("portings", written(tmp_path, "Port_All", rows), book)
    assert (done.status, "3 added" in done.err) == (0, True)


def test_codes_of_nobody_are_named(push, tmp_path, book):
    rows = [row("Port_All", number_cell(0), "mWHO", "", "2"), row("Port_All", number_cell(1), "mNEW", "", "")]
    done = push("portings", written(tmp_path, "Port_All", rows), book)
    assert done.status == 1
    assert "mNEW (not listed), mWHO (Никто, no tax id)" in done.err


def test_operators_file_is_asked_for(push, tmp_path):
    done = push("portings", written(tmp_path, "Port_All", []))
    assert (done.status, "give its Operators file" in done.err) == (1, True)


# --- the plan, over a running node


def test_plan_is_imported_over_the_node_that_has_the_directory(node, tmp_path):
    """The same command as without a node; what an operator lost is told."""
    by_tax_id = operators(node)
    push_active(node, by_tax_id[ALPHA], range(FIRST + 900_000, FIRST + 900_010))
    other = lines(tmp_path / "other.csv", *PLAN.replace("0999999;1000000", "0899999;900000").strip().splitlines())
    done = run("plan", "import", other, "--data-dir", node.data_dir, "--server", node.address)
    assert done.status == 0
    assert "100,000 removed" in done.err
    assert f"operator {by_tax_id[ALPHA]} lost the ranges of 10 active numbers" in done.err
    found = json.loads(
        run("plan", "import", other, "--data-dir", node.data_dir, "--server", node.address, "--json").out
    )
    assert (found["added"], found["removed"], found["moved"], found["lost"]) == (0, 0, 0, [])
    wait_for(node, found["revision"])
    assert facts(node, FIRST + 900_000).status == 2


def test_plan_that_would_end_much_is_forced_over_the_node_too(node, tmp_path):
    """A node refuses it as the command itself does, with the same way out."""
    few = lines(tmp_path / "few.csv", *PLAN.strip().splitlines()[:2])
    command = ("plan", "import", few, "--data-dir", node.data_dir, "--server", node.address)
    refused = run(*command)
    assert refused.status == 1
    *_, note, last = refused.err.splitlines()
    assert "--force imports it all the same" in note
    assert last.startswith("numcheck: PLAN_SHRINKS: series 9xx of the plan would lose 9,000,000 of its 10,000,000")
    assert run(*command, "--force").status == 0


def test_status_tells_what_is_held_and_what_the_node_answers_from(push, node, tmp_path):
    push("active", lines(tmp_path / "all.txt", *range(FIRST, FIRST + 10)), "--operator", ALPHA)
    held = push("active", lines(tmp_path / "one.txt", FIRST, FIRST + 10), "--operator", ALPHA)
    assert held.status == 1
    wait_for(node, 2)
    environment = {"NUMCHECK_LISTEN": node.address}
    found = json.loads(run("status", "--data-dir", node.data_dir, "--json", env=environment).out)
    assert [(one["operator_id"], one["added"], one["removed"]) for one in found["held_pushes"]] == [
        (operators(node)[ALPHA], 1, 9)
    ]
    assert (found["served_version"], found["lag"]) == (2, 0)
    assert "which adds 1 and removes 9" in run("status", "--data-dir", node.data_dir, env=environment).out
    assert (
        json.loads(run("status", "--data-dir", node.data_dir, "--json", env={"NUMCHECK_LISTEN": "127.0.0.1:1"}).out)[
            "served_version"
        ]
        is None
    )


def test_status_tells_portings_and_digests(push, node, tmp_path, book):
    """As GetOperatorState tells the digest."""
    push("active", lines(tmp_path / "all.txt", FIRST), "--operator", ALPHA)
    rows = [row("Port_All", number_cell(0), "mTWO", "", "1")]
    push("portings", written(tmp_path, "Port_All", rows), book)
    found = json.loads(run("status", "--data-dir", node.data_dir, "--digests", "--json").out)
    assert (found["portings"]["version"], found["portings"]["numbers"]) == (1, 1)
    (digest,) = [one["digest"] for one in found["operators"] if one["tax_id"] == ALPHA]
    assert digest == state(node, operators(node)[ALPHA]).digest.hex()
    text = run("status", "--data-dir", node.data_dir, "--digests").out
    assert "portings: 1 numbers, version 1" in text
    assert digest in text


# --- what operators have: pipes, columns, signs, moments


def test_push_from_a_pipe_is_read_once_and_whole(push, node, tmp_path):
    """From the shell's <(...), a FIFO and standard input, plain or compressed."""
    packed = tmp_path / "numbers.gz"
    packed.write_bytes(gzip.compress("".join(f"{FIRST + place}\n" for place in range(3)).encode()))
    command = " ".join(
        map(shlex.quote, [*NUMCHECK, "push", "active", "--confirm", "--operator", ALPHA, "--server", node.address])
    )
    for place, line in enumerate(
        [
            f"{command} <(zcat {packed}; echo {FIRST + 10})",
            f"zcat {packed} | {command} -",
            f"cat {packed} | {command} -",
        ]
    ):
        ended = run(line, command=("bash", "-c"))
        assert ended.status == 0
        assert f"{[4, 3, 3][place]} numbers" in ended.err
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"-{FIRST}\n",))
    writer.start()
    done = push("active", pipe, "--operator", ALPHA, "--delta", "--confirm", "--json")
    writer.join()
    assert (done.status, json.loads(done.out)["removed"]) == (0, 1)
    assert state(node, operators(node)[ALPHA]).number_count == 2


def test_removals_remove_however_they_are_written_or_refuse_the_file(push, node, tmp_path):
    push("active", lines(tmp_path / "all.txt", f"{FIRST}-{FIRST + 99}"), "--operator", ALPHA)
    signed = ['"-{}"', "\u2212{}", "\u2013{}", "'-{}", "\u200e-{}", "- {}"]
    out = lines(tmp_path / "out.txt", *(form.format(FIRST + place) for place, form in enumerate(signed)))
    done = push("active", out, "--operator", ALPHA, "--delta", "--json")
    assert (done.status, json.loads(done.out)["removed"], json.loads(done.out)["added"]) == (0, len(signed), 0)
    for form in ("({})", "{}-", "del {}", "{} (off)", "{},0", "{};20260819", "\u00ad{}"):
        refused = push(
            "active", lines(tmp_path / "bad.txt", FIRST + 50, form.format(FIRST + 51)), "--operator", ALPHA, "--delta"
        )
        assert (refused.status, "bad.txt" in refused.err, str(FIRST + 51) in refused.err) == (1, True, False), form
    assert state(node, operators(node)[ALPHA]).number_count == 100 - len(signed)


def test_billing_file_is_pushed_by_its_columns(push, node, tmp_path):
    """As a billing system writes it: cp1251, a header, ten digits, a status; what is read is told."""
    rows = [f"100;{number_cell(place)};{'Активен' if place else 'Отключён'}" for place in range(3)]
    billing = tmp_path / "billing.csv"
    billing.write_bytes("\r\n".join(["Договор;Номер телефона;Статус", *rows, ""]).encode("cp1251"))
    done = push("active", billing, "--operator", ALPHA, "--json")
    assert (done.status, json.loads(done.out)["numbers"]) == (0, 2)
    assert done.err.splitlines()[0] == (
        'billing.csv: cp1251, delimiter ";", numbers in column 2 (Номер телефона), status in column 3 (Статус), '
        "not read: 1 (Договор)"
    )
    done = push("active", billing, "--operator", ALPHA, "--column", "2", "--every-row", "--json")
    assert (done.status, json.loads(done.out)["numbers"]) == (0, 3)
    refused = push("active", billing, "--operator", ALPHA, "--active-values", "x", "--inactive-values", "X")
    assert refused.status == 2


def test_file_that_is_cut_changes_nothing(push, node, tmp_path):
    """The count is known beforehand, or stands in the file's last line."""
    whole = lines(tmp_path / "all.txt", *range(FIRST, FIRST + 100), "# count 100")
    assert push("active", whole, "--operator", ALPHA).status == 0
    cut = lines(tmp_path / "cut.txt", *range(FIRST, FIRST + 99), "# count 100")
    for file, options in ((cut, ()), (lines(tmp_path / "few.txt", FIRST), ("--count", "100"))):
        done = push("active", file, "--operator", ALPHA, "--confirm", *options)
        assert (done.status, "the file is cut or altered" in done.err) == (1, True)
    done = push("active", whole, "--operator", ALPHA, "--count", "99")  # pushed before, when nobody counted it
    assert (done.status, "the file is cut or altered" in done.err) == (1, True)
    done = push("active", whole, "--operator", ALPHA, "--sha256", "0" * 64)
    assert (done.status, "another one was given" in done.err) == (1, True)
    done = push("active", whole, "--operator", ALPHA, "--sha256", hashlib.sha256(whole.read_bytes()).hexdigest())
    assert done.status == 0
    assert state(node, operators(node)[ALPHA]).number_count == 100


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-08-21T03:00:00+03:00", datetime(2026, 8, 21, 0, tzinfo=UTC)),
        ("2026-08-21T03:00:00Z", datetime(2026, 8, 21, 3, tzinfo=UTC)),
        ("2026-08-21T03:00:00", datetime(2026, 8, 21, 3, tzinfo=UTC)),
        ("2026-08-21 00:30:00-03:30", datetime(2026, 8, 21, 4, tzinfo=UTC)),
        ("2026-08-21", datetime(2026, 8, 21, tzinfo=UTC)),
    ],
)
def test_offset_of_a_moment_is_converted(said, meant):
    assert moment(said) == meant
    assert moment(said).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "said", ["yesterday", "1712051212345", "1764345600", "0001-01-01T00:00:00+03:00", "9999-12-31T23:00:00-03:00", ""]
)
def test_what_is_no_moment_is_refused(said):
    """Milliseconds are not a day of 1712."""
    with pytest.raises(typer.BadParameter, match="no moment such as"):
        moment(said)


def test_data_time_is_the_moment_that_was_said(push, node, tmp_path):
    numbers = lines(tmp_path / "all.txt", FIRST)
    done = push("active", numbers, "--operator", ALPHA, "--data-time", "2026-08-21T03:00:00+03:00")
    assert done.status == 0
    assert state(node, operators(node)[ALPHA]).data_time.ToDatetime(tzinfo=UTC) == datetime(2026, 8, 21, tzinfo=UTC)
    done = push("active", numbers, "--operator", ALPHA, "--data-time", "yesterday")
    assert (done.status, "is no moment such as" in done.err) == (2, True)
