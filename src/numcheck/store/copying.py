"""Copies SQLite's database while others read and write it: the copy is of one moment, whole, and needs no log.

On disk after a crash: nothing under the copy's name, or the copy.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from numcheck.errors import StoreMissing, StoreUnavailable
from numcheck.output import OWNER_ONLY, sync_file
from numcheck.store.store import FILE_NAME

STEP_PAGES = 4_096  # between two reports


def copy_database(data_dir: Path, copy: Path, report: Callable[[float], None] = lambda _share: None) -> None:
    """Write the data directory's database to a new file, durably. StoreMissing, StoreUnavailable.

    What the file is copied over is one reading transaction, so writers go on, and what they commit is not in it.
    """
    source = data_dir / FILE_NAME
    if not source.exists():
        raise StoreMissing(f"there is no store in {data_dir}")
    copy.touch(mode=OWNER_ONLY, exist_ok=False)
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as read,
            closing(sqlite3.connect(copy)) as written,
        ):
            read.execute("BEGIN")  # a snapshot, or every commit of others would begin the copy anew
            read.execute("SELECT 1 FROM sqlite_schema").fetchone()
            read.backup(
                written, pages=STEP_PAGES, progress=lambda _status, left, total: report(1 - left / max(total, 1))
            )
            written.execute("PRAGMA journal_mode = DELETE")  # one file, without a log that could be another copy's
    except sqlite3.Error as error:
        copy.unlink()
        raise StoreUnavailable(f"the store cannot be copied: {error}") from None
    sync_file(copy)
