"""Identities in a data directory that no node has open: what IdentityService does, without a node."""

from collections.abc import Iterator
from contextlib import contextmanager

from numcheck.config import Settings
from numcheck.rpc.identities import IdentityService
from numcheck.serving.access import identities_of, installation_key
from numcheck.serving.services import identity_service
from numcheck.serving.stores import stopped_store


@contextmanager
def local_identities(settings: Settings, *, make: bool = False) -> Iterator[IdentityService]:
    """The service over the store, as `stopped_store` opens it; DataDirInUse if a node has it, which is to be asked."""
    with stopped_store(settings, make=make) as store:
        key = installation_key(store, settings.data_dir)
        yield identity_service(identities_of(store, key), key)
