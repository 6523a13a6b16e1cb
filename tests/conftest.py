"""What every test may use: a PostgreSQL server, and how much Hypothesis tries.

`make fuzz` asks Hypothesis for `long`; a machine may be slow, so there is no deadline.

Nodes that tests start take a free port for the listener that a test does not ask for.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.store.engines import Pair, Server

MEMORY, MEMORY_FREE_MIN = Path("/dev/shm"), 8 * 2**30

# grpcio's handlers of a fork crash the child now and then, where others' threads run: nobody here forks and serves on.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

settings.register_profile("default", deadline=None)
# The same examples in every run, so that a change is refused for what it did and for nothing else.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("long", deadline=None, max_examples=20_000, print_blob=True)
# Hypothesis chooses between these two by the environment, and took them as they were before.
settings.load_profile("ci" if settings.get_current_profile_name() == "ci" else "default")


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what lives as long as the tests: to look through it takes a tenth of their
    time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """Servers of their own: a standby copies every database that there is."""
    with tempfile.TemporaryDirectory(prefix="numcheck-pair-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        primary = Server(Path(name) / "primary")
        both = Pair(primary, primary.standby(Path(name) / "standby"))
        yield both
        for one in both[::-1]:
            one.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server. Not in pytest's own directory: another run of pytest closes that to the server's user.

    In memory, if there is much of it: a database has 300 files, and to delete those of all tests from a disk takes
    ten seconds.
    """
    where = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_FREE_MIN else None
    with tempfile.TemporaryDirectory(prefix="numcheck-postgresql-", dir=where, ignore_cleanup_errors=True) as directory:
        one = Server(Path(directory) / "data")
        yield one
        one.close()
