"""Opens the store that the settings name, to be written by this process."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from numcheck.active import PushPolicy
from numcheck.config import Settings
from numcheck.errors import NumcheckError, StoreMissing
from numcheck.serving.whereabouts import node_address, whereabouts_of
from numcheck.store import DataDirLock, Store, Troubles

CONNECT_TIMEOUT_S = 2.0


@contextmanager
def stopped_store(settings: Settings, *, make: bool = False, troubles: Troubles | None = None) -> Iterator[Store]:
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
            troubles=troubles,
        ) as store,
    ):
        store.test_numbers = settings.test_codes
        yield store


def push_policy_of(settings: Settings) -> PushPolicy:
    """Return which pushes are held."""
    return PushPolicy(removed_percent_max=settings.push_removed_percent_max)


def store_name(settings: Settings) -> str:
    """Return the store in words: where it is, never the database's URL."""
    return f"the store in {settings.data_dir.resolve()}" if settings.database is None else "the store of database_url"


def try_stored_installation_id(settings: Settings) -> str | None:
    """Return which installation the store of the settings is; None if there is none, or none that can be read."""
    with suppress(NumcheckError), Store(settings.data_dir, url=settings.database, read_only=True) as store:
        return store.installation_id
    return None


def asks_node(settings: Settings, server: str | None) -> bool:
    """Return True if a command is to ask a node without a look at the store: the one that is named, or what answers
    where the settings say that theirs listens."""
    is_said = "listen" in settings.model_fields_set and not settings.listen.endswith(":0")  # which is any free port
    return bool(server or settings.server) or (is_said and answers(settings.listen))


def has_node(settings: Settings) -> bool:
    """Return True if a node says that it has the data directory, and answers."""
    here = whereabouts_of(settings.data_dir)
    return here is not None and answers(node_address(settings))


def answers(address: str) -> bool:
    """Return True if anything listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False
