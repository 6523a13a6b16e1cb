"""The guides' examples run as they stand, against a real node: a messenger's, its webhook's, an operator's."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from numcheck.store import Store
from tests.serving import small
from tests.serving.command import PATIENCE_S, Node, environment, run, serving

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "a webhook's key of enough bytes"
KNOWN, NEW, OTHER = 79160000000, 79160000001, 79160000002


@contextmanager
def example(name: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Run an example until the block ends."""
    with subprocess.Popen(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def lines_until(running: "subprocess.Popen[str]", end: str) -> list[str]:
    """Return what an example prints, up to the line that has the end in it."""
    lines: list[str] = []
    assert running.stdout is not None
    while not lines or end not in lines[-1]:
        lines.append(running.stdout.readline().rstrip())
        assert lines[-1], lines
    return lines


def messengers_story(node: Node) -> list[str]:
    """Return what the messenger's example tells: a wrong code and the right ones are typed in."""
    numbers = ("--number", f"+{small.ACTIVE}", "--known-number", f"+{KNOWN}", "--new-number", f"+{NEW}")
    with example("messenger.py", "--server", node.address, *numbers) as running:
        assert running.stdin is not None
        first = code_to(node, small.ACTIVE)
        running.stdin.write(f"{(int(first) + 1) % 10**6:06}\n{first}\n")
        running.stdin.flush()
        told, _ = running.communicate(f"{code_to(node, NEW)}\n", timeout=PATIENCE_S)
        assert running.returncode == 0, told
    return [line.rstrip() for line in told.splitlines()]


def messengers_end(node: Node) -> str:
    """Return the last line of the messenger's example when nobody types a code: no traceback."""
    numbers = ("--number", f"+{OTHER}", "--known-number", f"+{KNOWN}", "--new-number", f"+{NEW}")
    with example("messenger.py", "--server", node.address, *numbers) as running:
        told, _ = running.communicate("", timeout=PATIENCE_S)
        assert running.returncode == 1
    assert "Traceback" not in told
    return told.splitlines()[-1]


def code_to(node: Node, number: int) -> str:
    """Return the code that the node shows for a number, once it does."""
    line = node.process.line_with(f"code for the number that ends in {number % 10_000:04}")
    return line[-6:]


def test_the_examples_tell_the_whole_story(data_dir: Path, tmp_path: Path) -> None:
    """A user who was there before; both proofs of another, a refresh and an erasure, watched and posted; and what the
    operator of both is told, over two runs of its example."""
    (tmp_path / "webhook.key").write_text(f"{SECRET}\n")
    with Store(data_dir, read_only=True) as store:
        (operator,) = [one.operator_id for one in store.operators() if one.tax_id == small.MTS]
    with example("webhook.py", "--listen", "127.0.0.1:0", "--secret-file", tmp_path / "webhook.key") as receiver:
        (listening,) = lines_until(receiver, "listening on ")
        file = tmp_path / "numcheck.toml"
        file.write_text(f"""
            code_delivery = "console"
            evidence_age_max_s = 0
            [[webhooks]]
            name = "backend"
            service = "example"
            url = "http://{listening.split()[-1]}/numcheck"
            secret_file = "{tmp_path}/webhook.key"
        """)
        with serving(data_dir, "--config", file) as node:
            agree = ("callers", "agree", "example", operator, "--identifications", "--data-dir", data_dir)
            assert run(*agree).status == 0
            told = messengers_story(node)
            assert messengers_end(node) == "ended before the story was"
            posted = [line.split() for _ in range(2) for line in lines_until(receiver, "DELETED")]
            command = ("operator_identifications.py", "--server", node.address, "--operator", operator)
            records = tmp_path / "identified.db"
            runs = []
            for count in (1, 5):
                with example(*command, "--records", records, "--count", count) as running:
                    runs += running.communicate(timeout=PATIENCE_S)[0].splitlines()
                    assert running.returncode == 0, runs
    check_messengers_story(told)
    check_events(told, posted)
    check_identifications(runs, records)


def check_messengers_story(told: list[str]) -> None:
    assert told[:2] == ["imported: 1 refused: 0", "known before: REGISTRATION_STATE_VERIFIED CODE OPERATOR"]
    in_order = [line for line in told if not line.startswith(("watch:", "the code", "due:"))][2:]
    assert in_order == [
        "registered: REGISTRATION_STATE_PENDING",
        "not accepted: PROOF_NOT_ACCEPTED",
        "verified: REGISTRATION_STATE_VERIFIED CODE OPERATOR",
        "changes the number: REGISTRATION_STATE_VERIFIED",
        "verified: REGISTRATION_STATE_VERIFIED CODE OPERATOR",
        "has the new number: yes",
        "refreshed: REGISTRATION_STATE_VERIFIED TOO_MANY_CODES",
        "erased",
    ]


def check_events(told: list[str], posted: list[list[str]]) -> None:
    """Both ways tell the same of the user; the webhook tells the one who was there before as well."""
    watched = [line.split() for line in told if line.startswith("watch:")]
    words = [" ".join(words[1:3] + words[4:]) for words in watched]
    assert words[0] == "keeps out REGISTRATION_STATE_PENDING"
    assert "lets in" in words
    assert words[-1] == "keeps out REGISTRATION_STATE_DELETED"
    ((user),) = {line[3] for line in watched}
    assert [(line[1:3], line[3]) for line in posted if line[3] == user] == [(line[1:3], user) for line in watched]
    others = [line[-2:] for line in posted if line[3] != user]
    assert others == [["confirmed", "VERIFIED"], ["deleted", "DELETED"]]


def check_identifications(lines: list[str], records: Path) -> None:
    """Each is told once that it began and once that it ended, and nobody is left."""
    words = [line.split() for line in lines]
    assert [(line[0], line[1], line[2]) for line in words] == [
        ("identified:", str(KNOWN), "example"),
        ("ended:", str(KNOWN), "example"),
        ("identified:", str(small.ACTIVE), "example"),
        ("ended:", str(small.ACTIVE), "example"),
        ("identified:", str(NEW), "example"),
        ("ended:", str(NEW), "example"),
    ]
    with closing(sqlite3.connect(records)) as database:
        assert database.execute("SELECT count(*) FROM identified").fetchone() == (0,)
