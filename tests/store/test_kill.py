"""R1: what was acknowledged is there after SIGKILL, whole; what was not is there whole or not at all."""

import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from numcheck.store import DataDirLock, Store
from tests.store.registry import plan, row
from tests.store.writer import data_time_of, numbers_of


@pytest.fixture
def engine() -> str:
    """Only SQLite: these go at its file."""
    return "sqlite"


ROOT = Path(__file__).parents[2]
KILLS = 4


def acknowledged_before_kill(data_dir: Path, count: int) -> int:
    """Let a process write, kill it once it has acknowledged so many versions, and return the last one it did."""
    command = [sys.executable, "-m", "tests.store.writer", str(data_dir)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        said = [process.stdout.readline() for _ in range(count)]
        process.kill()
        said += process.stdout.readlines()
    # A number that the kill has cut has lost its line's end.
    return max(int(line) for line in said if line.endswith("\n"))


def test_every_acknowledged_set_is_there_when_the_writer_was_killed(data_dir):
    with Store(data_dir) as store:
        store.import_plan(plan(row(916, 0, 99, "Альфа")), source="a.csv", now=datetime(2026, 11, 23, tzinfo=UTC))
    chance = random.Random(1)
    for _ in range(KILLS):
        acknowledged = acknowledged_before_kill(data_dir, chance.randrange(1, 12))
        with DataDirLock(data_dir), Store(data_dir) as store:
            (head,) = store.operators()
            assert head.data_version in (acknowledged, acknowledged + 1)
            assert store.sets.active_set(1) == numbers_of(head.data_version)
            assert head.data_time == data_time_of(head.data_version)
            assert store.revision == head.data_version + 1
