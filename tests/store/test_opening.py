"""Which stores open, and that one process at a time writes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from numcheck.errors import DataDirInUse, StoreDamaged, StoreMissing, StoreUnavailable
from numcheck.store import DataDirLock, Store
from numcheck.store.store import FILE_NAME
from tests.store.registry import plan, row


@pytest.fixture
def engine() -> str:
    """Only SQLite: these go at its file."""
    return "sqlite"


NOW = datetime(2026, 11, 23, tzinfo=UTC)
HOLD = """
import sys
from pathlib import Path
from numcheck.store import DataDirLock
lock = DataDirLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process_with(data_dir: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds the data directory's lock until it is told to end."""
    command = [sys.executable, "-c", HOLD, str(data_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_store_is_missing_when_it_is_only_to_be_read(data_dir):
    with pytest.raises(StoreMissing):
        Store(data_dir, read_only=True)
    assert not data_dir.exists()


def test_store_is_made_when_it_is_to_be_written(data_dir):
    assert not Store.exists(data_dir)
    with Store(data_dir) as store:
        assert (store.revision, store.ranges(), store.operators(), store.series()) == (0, [], [], [])
    assert Store.exists(data_dir)


@pytest.mark.parametrize("content", [b"not a database, though it is long enough for a header" * 99, b"\0" * 4096])
@pytest.mark.parametrize("read_only", [True, False])
def test_store_is_refused_when_its_file_is_none(data_dir, content, read_only):
    data_dir.mkdir()
    (data_dir / FILE_NAME).write_bytes(content)
    with pytest.raises(StoreDamaged):
        Store(data_dir, read_only=read_only)


def test_store_is_made_when_its_maker_was_killed_before_the_first_commit(data_dir):
    data_dir.mkdir()
    (data_dir / FILE_NAME).touch()
    with Store(data_dir) as store:
        assert store.revision == 0


def test_nothing_can_be_written_when_the_store_is_open_for_reading(data_dir):
    Store(data_dir).close()
    with Store(data_dir, read_only=True) as store:
        with pytest.raises(StoreUnavailable):
            store.import_plan(plan(row(916, 0, 9, "Альфа")), source="a.csv", now=NOW)
        assert (store.revision, store.ranges()) == (0, [])


@pytest.mark.parametrize("name", ["with space", "a#b", "a?mode=ro", "50%25", "мой каталог"])
def test_store_is_where_it_was_asked_for_whatever_the_name(tmp_path, name):
    Store(tmp_path / name).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_lock_is_refused_to_a_second_process(data_dir):
    with another_process_with(data_dir) as process, pytest.raises(DataDirInUse, match=rf"pid {process.pid}\b"):
        DataDirLock(data_dir)


def test_lock_is_free_when_its_holder_was_killed(data_dir):
    with another_process_with(data_dir) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        with DataDirLock(data_dir) as lock:
            assert lock.path.read_text() == str(os.getpid())


def test_lock_is_free_when_it_was_closed(data_dir):
    for _ in range(2):
        with DataDirLock(data_dir), pytest.raises(DataDirInUse):
            DataDirLock(data_dir)


def test_store_is_read_without_a_trace_when_nothing_can_be_made_beside_it(data_dir, monkeypatch):
    """As on a medium that is read-only: SQLite makes files even to read, unless it is told that nothing changes."""
    with Store(data_dir) as store:
        store.import_plan(plan(row(916, 0, 9, "x")), source="x", now=NOW)
    before = sorted(path.name for path in data_dir.iterdir())
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with Store(data_dir, read_only=True) as store:
        assert len(store.ranges()) == 1
        assert sorted(path.name for path in data_dir.iterdir()) == before
