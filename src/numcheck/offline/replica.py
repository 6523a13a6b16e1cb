"""The store to be read where what is read may be behind: by exports and audits, and by nothing that decides."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numcheck.config import Settings
from numcheck.store import Store


def silent(_text: str) -> None:
    """Say nothing."""


@contextmanager
def store_to_read(settings: Settings, say: Callable[[str], None] = silent) -> Iterator[Store]:
    """Open the store of `database_replica_url` if the settings name one, and say as of when it is; else the store."""
    with Store(settings.data_dir, url=settings.database_to_read, read_only=True) as store:
        as_of = store.as_of
        if as_of is not None:
            say(f"read from a standby, which has what was there at {as_of.isoformat(timespec='seconds')}")
        yield store
