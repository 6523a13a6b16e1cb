"""Opens the store that the settings name, to be written by this process."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from numcheck.active import PushPolicy
from numcheck.config import Settings
from numcheck.errors import StoreMissing
from numcheck.store import DataDirLock, Store

CONNECT_TIMEOUT_S = 2.0


@contextmanager
def stopped_store(settings: Settings, *, make: bool = False) -> Iterator[Store]:
    """Open the store while no node has the data directory; DataDirInUse if one does, StoreMissing if there is no store,
    unless it is to be made."""
    if not make and not Store.exists(settings.data_dir, settings.database):
        raise StoreMissing(f"there is no store in {settings.data_dir}")
    with (
        DataDirLock(settings.data_dir, make=make),
        Store(
            settings.data_dir,
            url=settings.database,
            make=make,
            push_policy=push_policy_of(settings),
        ) as store,
    ):
        yield store


def push_policy_of(settings: Settings) -> PushPolicy:
    """Return which pushes are held."""
    return PushPolicy(removed_percent_max=settings.push_removed_percent_max)


def store_name(settings: Settings) -> str:
    """Return the store in words: where it is, never the database's URL."""
    return f"the store in {settings.data_dir.resolve()}" if settings.database is None else "the store of database_url"


def names_node(settings: Settings) -> bool:
    """Return True if the settings say where their node listens: not by a default, and not at any free port."""
    return "listen" in settings.model_fields_set and not settings.listen.endswith(":0")


def answers(address: str) -> bool:
    """Return True if anything listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False
