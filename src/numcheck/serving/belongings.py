"""The files of a data directory that are its owner's alone."""

from collections.abc import Iterator
from pathlib import Path

from numcheck.nearby import LISTENERS_NAME, TOKEN_NAME
from numcheck.privacy import take_from_others
from numcheck.serving.access import KEY_NAME
from numcheck.serving.publishing import index_directory
from numcheck.store.lock import LOCK_NAME
from numcheck.store.store import FILE_NAME as STORE_NAME

NAMES = (STORE_NAME, f"{STORE_NAME}-wal", f"{STORE_NAME}-shm", LOCK_NAME, LISTENERS_NAME, TOKEN_NAME, KEY_NAME)


def keep_private(data_dir: Path) -> Iterator[str]:
    """Take a data directory, and what a node keeps in it, from others who can read it; yield a warning for each.

    The file of keys is not among them: a node does not start with one that others could read.
    """
    index = index_directory(data_dir)
    for path in take_from_others([data_dir, *(data_dir / name for name in NAMES), index, *index.glob("*")]):
        yield f"WARNING: others could read {path}; from now on its owner alone can"
