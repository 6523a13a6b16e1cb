"""Runs what a page of the documentation shows: its commands in a shell, its Python as a program."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.serving.command import NUMCHECK, PATIENCE_S, ROOT, Result, environment

ADDRESS = "127.0.0.1:50051"  # of the node on every page


class Shown(NamedTuple):
    """A command of a page, and the lines that the page shows below it."""

    command: str
    answer: list[str]


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a page that are in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[Shown]:
    """Return the commands of a page's console blocks, in their order."""
    return [shown for block in blocks(page, "console") for shown in commands_of(block)]


def commands_of(block: str) -> list[Shown]:
    """Return the commands of a console block, in their order."""
    shown: list[Shown] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            shown.append(Shown(line[2:], []))
        else:
            shown[-1].answer.append(line)
    return shown


def run_shell(command: str, cwd: Path, env: Mapping[str, str] | None = None) -> Result:
    """Run a command as a reader would who has the project's programs on PATH."""
    own = environment({"PATH": f"{Path(NUMCHECK[0]).parent}:/usr/local/bin:/usr/bin:/bin", **(env or {})})
    ended = subprocess.run(
        ["bash", "-c", command.replace(".venv/bin/", "")],
        cwd=cwd,
        env=own,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Result(ended.returncode, ended.stdout, ended.stderr)


def start_python(program: str, address: str) -> "subprocess.Popen[str]":
    """Start a program of a page against the node at `address`."""
    return subprocess.Popen(
        [sys.executable, "-c", program.replace(ADDRESS, address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def words(text: str) -> list[list[str]]:
    """Return the words of each line, however they are aligned."""
    return [line.split() for line in text.splitlines()]


def without_figures(text: str) -> str:
    """Return a text in which every figure is the same: a page's counts, versions, moments and ids are examples."""
    text = re.sub(r"\b[0-9a-f]{16,}\b", "N", text)
    return re.sub(r"[0-9][0-9,.:T+-]*", "N", text).strip()


def rows_of(page: str, column_count: int) -> list[list[str]]:
    """Return the rows of all tables of a page that have so many columns, headings too."""
    rows = [line.strip("|").split("|") for line in (ROOT / page).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if len(row) == column_count]
