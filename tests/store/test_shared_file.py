"""What a store has acknowledged stays its own while other processes, and other stores of this one, open its file."""

import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from numcheck.errors import HistoryLost
from numcheck.store import Store
from numcheck.store.shared_file import SharedFile
from numcheck.store.store import FILE_NAME
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
READ = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM ranges').fetchall()"


@pytest.fixture
def engine() -> str:
    """Only SQLite: these go at its file."""
    return "sqlite"


def read_by_another_process(data_dir: Path) -> None:
    """As a person does with sqlite3, or a job that makes copies: it may write, and closes its connection."""
    subprocess.run([sys.executable, "-c", READ, str(data_dir / FILE_NAME)], check=True)


def test_what_is_written_after_another_process_has_read_is_there_after_a_crash(data_dir, tmp_path):
    """Whatever this process has opened and closed meanwhile, so that its locks stay."""
    with Store(data_dir) as store:
        store.import_plan(plan(row(916, 0, 9, "x")), source="before", now=NOW)
        for _ in range(2):
            with Store(data_dir, read_only=True):
                pass
            store.check_files()
            read_by_another_process(data_dir)
        store.import_plan(plan(row(916, 0, 19, "x")), source="after", now=NOW)
        store.check_files()
        left = shutil.copytree(data_dir, tmp_path / "left")  # as a process that is killed now leaves it
    with Store(left) as found:
        assert [one.source for one in found.series()] == ["after"]


def test_log_that_is_removed_is_noticed(data_dir):
    """What is written then would be in no file: nothing is."""
    with Store(data_dir) as store:
        store.import_plan(plan(row(916, 0, 9, "x")), source="before", now=NOW)
        (data_dir / f"{FILE_NAME}-wal").unlink()
        with pytest.raises(HistoryLost):
            store.check_files()
        with pytest.raises(HistoryLost):
            store.import_plan(plan(row(916, 0, 19, "x")), source="after", now=NOW)


def test_file_is_closed_by_the_last_who_has_it(tmp_path):
    """A replaced file of the same name is another one."""
    path = tmp_path / "file"
    path.write_bytes(b"first")
    one, two = SharedFile(path), SharedFile(path)
    path.unlink()
    path.write_bytes(b"other")
    with SharedFile(path) as third:
        assert (one.beginning(9), two.beginning(9), third.beginning(9)) == (b"first", b"first", b"other")
    one.close()
    assert two.beginning(5) == b"first"
    two.close()
    with pytest.raises(FileNotFoundError):
        SharedFile(tmp_path / "none")


def test_this_is_what_sqlite_does_without_it(tmp_path):
    """Or the tests above prove nothing: a process that closes the file loses its lock, and then its log."""
    path = tmp_path / FILE_NAME
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE ranges (x)")
    read_by_another_process(tmp_path)
    assert Path(f"{path}-wal").exists()
    path.open("rb").close()
    read_by_another_process(tmp_path)
    assert not Path(f"{path}-wal").exists()
    connection.close()
