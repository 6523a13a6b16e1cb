"""Identities in a data directory that no node has open: what IdentityService does, without a node."""

from collections.abc import Iterator
from contextlib import contextmanager

from numcheck.config import Settings
from numcheck.rpc.identities import IdentityService
from numcheck.serving.access import identities_of, installation_key
from numcheck.serving.services import identity_service
from numcheck.store import DataDirLock, Store


@contextmanager
def local_identities(settings: Settings) -> Iterator[IdentityService]:
    """The service over the store; DataDirInUse if a node has it: then it is to be asked."""
    with DataDirLock(settings.data_dir), Store(settings.data_dir, url=settings.database) as store:
        key = installation_key(store, settings.data_dir)
        yield identity_service(identities_of(store, key), key)
