"""SQLite's file and its log are of one history: every file of one moment beside every log of another."""

import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from numcheck.errors import HistoryLost, StoreDamaged
from numcheck.store import Store
from numcheck.store.marks import OpenedFile
from numcheck.store.store import FILE_NAME
from tests.active.sets import active_set_of
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FIRST = 79_160_000_000
LOG_NAME = f"{FILE_NAME}-wal"
MOMENTS, NUMBERS = 9, 150_000  # enough that the log begins anew some times


@pytest.fixture
def engine() -> str:
    return "sqlite"


def copied(data_dir: Path, target: Path) -> Path:
    target.mkdir()
    for name in (FILE_NAME, LOG_NAME):
        shutil.copy(data_dir / name, target / name)
    return target


def fill(store: Store, chance: random.Random) -> None:
    numbers = chance.sample(range(FIRST, FIRST + 9_999_999), NUMBERS)
    store.sets.replace_active_set(1, active_set_of(numbers), data_time=NOW, now=NOW)


@pytest.fixture
def moments(tmp_path) -> list[tuple[Path, int]]:
    """Copies of a store of two histories, made between its transactions, and the revision of each."""
    found = []
    for name in ("one", "other"):
        chance = random.Random(name)
        if found:
            shutil.copytree(found[MOMENTS // 2][0], tmp_path / name)  # an older copy, which goes on by itself
        with Store(tmp_path / name) as store:
            if not found:
                store.import_plan(plan(row(916, 0, 9_999_999, "А", "7740000076")), source="a", now=NOW)
            for moment in range(MOMENTS if not found else MOMENTS // 2):
                for _ in range(3):
                    fill(store, chance)
                found.append((copied(tmp_path / name, tmp_path / f"{name}-{moment}"), store.revision))
    return found


def opens(data_dir: Path, revision: int) -> bool:
    """Whether there is a store, which has to be sound and of the revision; if not, the files have to be refused."""
    try:
        store = Store(data_dir)
    except StoreDamaged as refused:
        if "do not belong together" in str(refused):
            return False
        raise
    with store:
        store.checks().sets()
        with store._database.reading() as connection:
            sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        assert (sound, store.revision, len(store.sets.active_set(1))) == (True, revision, NUMBERS)
    return True


def test_file_beside_another_log_is_read_rightly_or_refused(moments, tmp_path):
    """All pairs. What opens is sound, and of the log's revision; a pair of one moment opens."""
    opened = 0
    for file, _ in moments:
        for log, revision in moments:
            mixed = tmp_path / "mixed"
            shutil.rmtree(mixed, ignore_errors=True)
            mixed.mkdir()
            shutil.copy(file / FILE_NAME, mixed)
            shutil.copy(log / LOG_NAME, mixed)
            if opens(mixed, revision):
                opened += 1
            else:
                assert file != log
                with pytest.raises(StoreDamaged, match="do not belong together"):
                    Store(mixed, read_only=True)
    assert len(moments) <= opened < len(moments) ** 2 / 2


def test_log_that_says_nothing_is_let_be(tmp_path):
    """An empty log, or one of which nothing was committed, is none to SQLite."""
    with Store(tmp_path / "var") as store:
        store.import_plan(plan(row(916, 0, 9, "А", "7740000076")), source="a", now=NOW)
        log = (tmp_path / "var" / LOG_NAME).read_bytes()
    for content in (b"", log[:20], log[:32], log[:4_000], b"no log at all" * 999):
        (tmp_path / "var" / LOG_NAME).write_bytes(content)
        with Store(tmp_path / "var") as store:
            assert store.revision == 1


def test_transaction_that_changes_nothing_writes_nothing(tmp_path):
    with Store(tmp_path) as store:
        before = (tmp_path / LOG_NAME).stat().st_size
        for _ in range(3):
            with store._database.writing() as connection:
                connection.exec_driver_sql("SELECT 1")
        assert (tmp_path / LOG_NAME).stat().st_size == before


def test_file_that_was_opened_is_missed_when_it_is_gone_or_another(tmp_path):
    with Store(tmp_path) as store:
        opened = OpenedFile(tmp_path / FILE_NAME, writes=True)
        opened.check(thoroughly=True)
        (tmp_path / FILE_NAME).rename(tmp_path / "kept")
        with pytest.raises(HistoryLost):
            opened.check()
        with pytest.raises(HistoryLost):
            _ = store.revision
        (tmp_path / "kept").rename(tmp_path / FILE_NAME)
        with pytest.raises(HistoryLost):
            opened.check()
