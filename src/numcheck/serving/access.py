"""Gives the rules of access what only a process has: the key of tokens, the store, and a log of what was denied."""

import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import structlog

from numcheck.access import Identity
from numcheck.errors import NumcheckError
from numcheck.rpc.access import Access, Credential, agreements_of
from numcheck.rpc.check import SERVICE_NAME as CHECK
from numcheck.rpc.native import Admit, Agreements
from numcheck.store import Denial, Store

KEY_NAME = "token.key"
KEY_SIZE = 32
DENIALS_WAITING_MAX = 1_000  # more at once are logged and not kept: who is denied must not slow others down

log = structlog.get_logger()


def token_key(data_dir: Path) -> bytes:
    """The installation's key for the hashes of tokens, made on first use: readable by its owner only.

    Nodes that share a database need the same file.
    """
    path = data_dir / KEY_NAME
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_bytes(KEY_SIZE)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


class DenialLog:
    """Logs denials, and keeps them in the store from a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="denials")
        self._places = threading.BoundedSemaphore(DENIALS_WAITING_MAX)

    def add(self, uri: str, method: str, reason: str) -> None:
        """Note a denial; returns at once."""
        log.warning("call denied", identity=uri, method=method, reason=reason)
        if self._places.acquire(blocking=False):
            self._thread.submit(self._keep, Denial(datetime.now(UTC), uri, method, reason))

    def _keep(self, denial: Denial) -> None:
        try:
            self._store.record_denial(denial)
        except NumcheckError as error:
            log.error("a denial cannot be kept", error=type(error).__name__)
        finally:
            self._places.release()

    def close(self) -> None:
        """End when what waits is kept."""
        self._thread.shutdown()


def access_to(
    store: Store, denials: DenialLog, data_dir: Path, *, clock: Callable[[], float] = time.monotonic
) -> Access:
    """Access by the store's identities."""

    def find(credential: Credential) -> Identity | None:
        for uri in credential.uris:
            identity = store.identity(uri)
            if identity is not None:
                return identity
        return None if credential.token_tag is None else store.identity_of_token(credential.token_tag)

    return Access(find, store.agreed, denials.add, token_key=token_key(data_dir), clock=clock)


def native_admit(access: Access) -> Admit:
    """Who may call the native listener, and whose data he sees: the same rules, asked by the certificate's URIs."""

    def admit(uris: tuple[str, ...]) -> Agreements:
        identity = access.admit(Credential(uris, None), f"/{CHECK}/CheckNumbers")
        return agreements_of(identity, access.agreed)

    return admit
