"""Callers in a data directory that no node has open: what CallerService does, without a node."""

from collections.abc import Iterator
from contextlib import contextmanager

from numcheck.api.callers import CallerService
from numcheck.config import Settings
from numcheck.serving.access import callers_of, installation_key, stored_callers_of, tag_key_of
from numcheck.serving.registrations import Announce, record_acts
from numcheck.serving.services import callers_service
from numcheck.serving.stores import stopped_store
from numcheck.store import Callers, Store
from numcheck.store.acts import LOCAL


@contextmanager
def local_callers(
    settings: Settings, announce: Announce = lambda _line: None, *, make: bool = False
) -> Iterator[CallerService]:
    """Yield the service over the store, as `stopped_store` opens it; DataDirInUse if a node has it, which is to be
    asked.

    `announce` is told if the installation's keys were made, under which acts are told in the chain.
    """
    with stopped_store(settings, make=make) as store:
        key = installation_key(store, settings.data_dir)
        record_acts(store, settings, announce)
        yield callers_service(callers_of(store, key), tag_key_of(key), by=lambda: LOCAL)


@contextmanager
def readable_callers(settings: Settings) -> Iterator[CallerService]:
    """Yield the service over the store for who only asks it, as `stored_callers` does."""
    with stored_callers(settings) as callers:
        yield callers_service(callers, b"", by=lambda: LOCAL)


@contextmanager
def stored_callers(settings: Settings) -> Iterator[Callers]:
    """Yield the callers as they are in the store, which is not written: a node may have it open. BadKeys."""
    with Store(settings.data_dir, url=settings.database, read_only=True) as store:
        yield stored_callers_of(store, settings.data_dir)
