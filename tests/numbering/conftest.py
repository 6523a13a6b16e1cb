"""A node over a plan of two operators, to push to."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.numbering.node import PLAN, Node, start


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    plan, data_dir = tmp_path / "plan.csv", tmp_path / "var"
    plan.write_text(PLAN, encoding="utf-8")
    command = [sys.executable, "-m", "numcheck", "plan", "import", str(plan), "--data-dir", str(data_dir)]
    subprocess.run(command, check=True, capture_output=True)
    return data_dir


@pytest.fixture
def node(data_dir: Path) -> Iterator[Node]:
    node = start(data_dir)
    yield node
    node.kill()
