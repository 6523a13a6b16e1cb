"""A copy of the store's file that is no moment of it, as of a file that was copied amid a checkpoint (R16)."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from numcheck.config import Settings
from numcheck.errors import EventsAltered, StoreDamaged, StoreFailed
from numcheck.offline.audit import verify_store
from numcheck.serving.keys import FILE_NAME as KEYS_NAME
from numcheck.serving.keys import write_keys
from numcheck.store.store import FILE_NAME
from tests.registrations.world import KEYS, World
from tests.serving.small import ACTIVE, fill

PAGE_SIZE = 4_096
USERS = 40


def grown(data_dir: Path, users: range) -> bytes:
    """Register some users, and return the store's file with all of its log in it."""
    world = World(data_dir, seed=users.stop)
    for place in users:
        world.register(ACTIVE, f"u{place}")
    world.close()
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (data_dir / FILE_NAME).read_bytes()


def pages(content: bytes) -> list[bytes]:
    return [content[start : start + PAGE_SIZE] for start in range(0, len(content), PAGE_SIZE)]


def test_a_copy_with_any_page_of_another_moment_is_named(tmp_path: Path) -> None:
    """Of a table, of an index, of the chain: `numcheck events verify` says of each that something is wrong."""
    data_dir = fill(tmp_path / "var")
    write_keys(data_dir / KEYS_NAME, KEYS.keyring, KEYS.signing_key)
    before = pages(grown(data_dir, range(USERS)))
    now = pages(grown(data_dir, range(USERS, 2 * USERS)))
    torn = shutil.copytree(data_dir, tmp_path / "torn")
    assert verify_store(Settings(data_dir=torn), None).event_count
    differing = [place for place, page in enumerate(before) if place and page != now[place]]
    assert len(differing) > 5
    for place in differing:
        (torn / FILE_NAME).write_bytes(b"".join([*now[:place], before[place], *now[place + 1 :]]))
        with pytest.raises((EventsAltered, StoreDamaged, StoreFailed)):
            verify_store(Settings(data_dir=torn), None)
