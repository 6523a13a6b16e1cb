"""Replaces an active set again and again and says when each is done, until it is killed: `writer.py DATA_DIR`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from numcheck.active import ActiveSet
from numcheck.store import DataDirLock, Store
from tests.active.sets import active_set_of

EPOCH = datetime(2026, 11, 23, tzinfo=UTC)


def numbers_of(version: int) -> ActiveSet:
    """The set of a version: another one each, in twelve chunks or fewer."""
    chunks = range(7910, 7910 + 1 + version % 12)
    return active_set_of(
        chunk * 10_000_000 + (version * 7_919 + i * i * 101) % 10_000_000 for chunk in chunks for i in range(400)
    )


def data_time_of(version: int) -> datetime:
    """The time of a version's data."""
    return EPOCH + timedelta(seconds=version)


def write(data_dir: Path) -> None:
    """Write one version after the other. A line is printed once a version is acknowledged, and never before."""
    with DataDirLock(data_dir), Store(data_dir) as store:
        version = store.operators()[0].data_version
        while True:
            version += 1
            done = store.sets.replace_active_set(1, numbers_of(version), data_time=data_time_of(version), now=EPOCH)
            print(done, flush=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
