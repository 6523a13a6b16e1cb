"""The builder: a thread that follows the store's revision and publishes the index of it.

Invariants: what is published is of one revision of the store, read over a connection of its own in one transaction;
versions only rise. As soon as the store turns out to lack what this node has seen of it, nothing is answered until the
loss is recorded in the store and the index built anew, of a version that was never given out.
"""

import threading
import time
import traceback
from datetime import UTC, datetime, timedelta

import structlog

from numcheck.config import Settings
from numcheck.errors import HistoryLost, NumcheckError
from numcheck.index import Index, PublishedIndex, open_index
from numcheck.serving.publishing import IndexFollower, index_directory, point_of, record_loss, told_losses
from numcheck.store import Point, Store

RETRY_DELAY_S = 1.0
POLL_INTERVAL_S = 0.25  # of a store that other nodes change, too
FILE_POLL_INTERVAL_S = 1.0  # of a file, which nobody else may change: whether it is still the one that was opened

log = structlog.get_logger()


def fresh_since(settings: Settings, now: datetime) -> datetime | None:
    """The moment before which an operator's data is too old to answer from; None if it never ages."""
    return now - timedelta(seconds=settings.data_age_max_s) if settings.data_age_max_s else None


class Builder:
    """Publishes the index of each revision: after each call of `follow`, and of what other nodes change where the store
    is shared. Changes that come while it builds are answered by one build more."""

    def __init__(self, published: PublishedIndex, settings: Settings, store: Store) -> None:
        """`store` is the one that the node writes to: it knows what the node has seen, and takes what is lost."""
        self._published, self._settings, self._own_store = published, settings, store
        self._base: Index | None = None
        self._follower = IndexFollower(settings.data_dir)
        self._changed, self._stopping = threading.Event(), threading.Event()
        self._store: Store | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="builder")

    def start(self) -> None:
        """Begin to follow, from what is published."""
        self._base = self._published.try_get()
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
                self._check_files()
                self._publish(self._open_store())
                self._failing = False
                self._changed.wait(POLL_INTERVAL_S if self._settings.database else FILE_POLL_INTERVAL_S)
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
        began, seen = time.monotonic(), self._own_store.seen
        if seen is not None and store.is_lost(seen):
            self._lose(seen)
        with store.one_moment():
            point = store.point
            if self._base is not None and point == point_of(self._base):
                return
            self._follower.update(store, self._base)
        self._own_store.see(point)
        directory, freshness = index_directory(self._settings.data_dir), fresh_since(self._settings, datetime.now(UTC))
        index = open_index(directory, fresh_since=freshness, previous=self._base, installation_id=store.installation_id)
        self._base = index
        self._published.publish(index)
        log.info("index published", index_version=index.index_version, took_s=round(time.monotonic() - began, 3))

    def _check_files(self) -> None:
        try:
            self._own_store.check_files()
        except HistoryLost:
            self._published.withdraw()
            raise

    def _lose(self, seen: Point) -> None:
        """Answer nothing from what is published, and record what is lost: the index is built anew of what is left."""
        if self._published.try_get() is not None:
            self._published.withdraw()
            log.error(
                "the store has lost history: nothing is answered until the index is built anew", lost=seen.revision
            )
        record_loss(self._own_store, seen, self._base)
        self._base = None
        for told in told_losses(self._own_store.losses()[:1]):
            log.error("history was lost", **told)
