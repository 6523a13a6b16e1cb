"""The Go and the Java client of docs/other-languages.md, built by `make go` and `make java`, against a real node."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from numcheck.client import CheckClient, CheckedNumber, Security
from tests.serving import small
from tests.serving.command import ROOT, run, serving

GO, CLASSPATH = ROOT / "build/go/ask", ROOT / "build/java/classpath"
PAGE = (ROOT / "docs/other-languages.md").read_text()
REPEATED = 500
NUMBERS = [small.ACTIVE, small.INACTIVE, 1] * REPEATED


def assert_answered(command: list[str], data_dir: Path, refusal: str) -> None:
    """Ask a node about NUMBERS and once about a text that is none; the Python client says what is right."""
    with serving(small.fill(data_dir)) as node:
        with CheckClient(node.address) as client:
            answers = [client.check(number) for number in NUMBERS[:3]]
        assert_said([*command, node.address], answers, refusal)


def assert_answered_over_tls(command: list[str], options: tuple[str, ...], directory: Path, refusal: str) -> None:
    """The same over TLS, as a caller whom the node knows; the options take the authority's file, and the caller's own
    certificate and key."""
    small.fill(directory / "var")
    assert run("callers", "init", "callers", "--data-dir", directory / "var", cwd=directory).status == 0
    files = [directory / "callers" / name for name in ("authority.pem", "administrator.pem", "administrator.key")]
    given = [part for pair in zip(options, map(str, files), strict=True) for part in pair]
    with serving(directory / "var", "--config", "callers/numcheck.toml", cwd=directory) as node:
        with CheckClient(node.address, Security(*(file.read_bytes() for file in files))) as client:
            answers = [client.check(number) for number in NUMBERS[:3]]
        assert_said([*command, *given, node.address], answers, refusal)


def assert_said(command: list[str], answers: Sequence[CheckedNumber], refusal: str) -> None:
    given = [*command, *map(str, NUMBERS)]
    ended = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    right = [f"NUMBER_STATUS_{one.status.name} {one.operator_id}" for one in answers]
    assert ended.stdout.splitlines() == [*right * REPEATED, refusal]


@pytest.mark.skipif(not GO.exists(), reason="it is not built (make go)")
def test_go_client_gets_each_answer_and_the_reason_of_a_refusal(tmp_path: Path) -> None:
    assert_answered([str(GO)], tmp_path / "plain", "InvalidArgument NOT_A_NUMBER")
    assert_answered_over_tls(
        [str(GO)], ("-authority", "-certificate", "-key"), tmp_path, "InvalidArgument NOT_A_NUMBER"
    )


@pytest.mark.skipif(not CLASSPATH.exists(), reason="it is not built (make java)")
def test_java_client_gets_each_answer_and_the_reason_of_a_refusal(tmp_path: Path) -> None:
    command = ["java", "-cp", CLASSPATH.read_text(), "Ask"]
    assert_answered(command, tmp_path, "INVALID_ARGUMENT NOT_A_NUMBER")


@pytest.mark.parametrize(("language", "folder"), [("go", "clients/go"), ("java", "clients/java")])
def test_page_shows_what_the_client_does(language: str, folder: str) -> None:
    """Each line of the page's example is one of the program that was compiled."""
    files = "\n".join(file.read_text() for file in sorted((ROOT / folder).iterdir()))
    known = {line.strip() for line in files.splitlines()}
    (shown,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert [line for line in shown.splitlines() if line.strip() not in known] == []
