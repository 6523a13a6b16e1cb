"""docs/reliability.md: every promise that code, tests or pages cite is defined there, and names tests that exist."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISE = re.compile(r"(?<![\w/])R[1-9]\d?(?!\w)")
ROWS = re.findall(r"^\| (R\d+) \| (.+) \| (.+) \|$", (ROOT / "docs/reliability.md").read_text(encoding="utf-8"), re.M)
READ = ("src", "tests", "docs", "proto")
SUFFIXES = {".py", ".pyx", ".pxi", ".md", ".proto"}


def test_promises_are_numbered_from_one_without_a_gap() -> None:
    assert [name for name, *_ in ROWS] == [f"R{place}" for place in range(1, len(ROWS) + 1)]


def test_every_promise_that_is_cited_is_defined() -> None:
    files = subprocess.run(["git", "ls-files", *READ], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [ROOT / line for line in files.splitlines()] or [one for room in READ for one in (ROOT / room).rglob("*")]
    texts = (path.read_text(encoding="utf-8") for path in paths if path.suffix in SUFFIXES and path.is_file())
    cited = {name for text in texts for name in PROMISE.findall(text)}
    assert "R1" in cited
    assert cited - {name for name, *_ in ROWS} == set()


@pytest.mark.parametrize(("name", "shown_by"), [(name, shown_by) for name, _promise, shown_by in ROWS])
def test_promise_names_tests_that_are_there(name: str, shown_by: str) -> None:
    files = re.findall(r"`(tests/[\w/]+\.py)`", shown_by)
    assert files, name
    assert [file for file in files if not (ROOT / file).is_file()] == []
