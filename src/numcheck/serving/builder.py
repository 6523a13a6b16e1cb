"""The builder: a thread that follows the store's revision and publishes the index of it.

Invariants: what is published is of one revision of the store, read over a connection of its own in one transaction;
versions only rise.
"""

import threading
import time
import traceback
from datetime import UTC, datetime, timedelta

import structlog

from numcheck.config import Settings
from numcheck.errors import NumcheckError
from numcheck.index import PublishedIndex, open_index
from numcheck.serving.publishing import IndexFollower, index_directory
from numcheck.store import Store

RETRY_DELAY_S = 1.0
POLL_INTERVAL_S = 0.25  # of a store that other nodes change, too

log = structlog.get_logger()


def fresh_since(settings: Settings, now: datetime) -> datetime | None:
    """The moment before which an operator's data is too old to answer from; None if it never ages."""
    return now - timedelta(seconds=settings.data_age_max_s) if settings.data_age_max_s else None


class Builder:
    """Publishes the index of each revision: after each call of `follow`, and of what other nodes change where the store
    is shared. Changes that come while it builds are answered by one build more."""

    def __init__(self, published: PublishedIndex, settings: Settings) -> None:
        self._published, self._settings = published, settings
        self._follower = IndexFollower(settings.data_dir)
        self._changed, self._stopping = threading.Event(), threading.Event()
        self._store: Store | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="builder")

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def follow(self) -> None:
        """Say that the store's revision has risen; returns at once."""
        self._changed.set()

    def stop(self) -> None:
        """End after the build under way, if there is one."""
        self._stopping.set()
        self._changed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._changed.clear()
            try:
                self._publish(self._open_store())
                self._failing = False
                self._changed.wait(POLL_INTERVAL_S if self._settings.database else None)
            except Exception as error:
                # What is published goes on answering; the disk, the database or a row may be mended meanwhile. Nothing
                # ends this thread: the node would say that it serves, and fall behind.
                self._close_store()
                self._tell(error)
                self._stopping.wait(RETRY_DELAY_S)
        self._close_store()

    def _tell(self, error: Exception) -> None:
        """Log a failure, the first of those in a row, with what of it can be told: an error of ours names the block or
        the file and holds no number, of any other nothing is known."""
        if not self._failing:
            at = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-3:]]
            told = {"reason": str(error)} if isinstance(error, NumcheckError) else {"at": at}
            log.error("the index cannot follow the store", error=type(error).__name__, **told)
        self._failing = True

    def _open_store(self) -> Store:
        """A store of its own: what is read here is of one moment, while others read and write theirs."""
        if self._store is None:
            self._store = Store(self._settings.data_dir, url=self._settings.database, read_only=True)
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _publish(self, store: Store) -> None:
        began, base = time.monotonic(), self._published.get()
        with store.one_moment():
            if store.revision <= base.index_version:
                return
            self._follower.update(store, base)
        directory, freshness = index_directory(self._settings.data_dir), fresh_since(self._settings, datetime.now(UTC))
        index = open_index(directory, fresh_since=freshness, previous=base, installation_id=store.installation_id)
        self._published.publish(index)
        log.info("index published", index_version=index.index_version, took_s=round(time.monotonic() - began, 3))
