"""The builder: a thread that follows the store's revision and publishes the index of it.

Invariants: what is published is of one revision of the store, read over a connection of its own in one transaction;
versions only rise. As soon as the store turns out to lack what this node has seen of it, nothing is answered until the
loss is recorded in the store and the index built anew, of a version that was never given out.
"""

import time
from datetime import UTC, datetime

import structlog

from numcheck import spans
from numcheck.config import Settings
from numcheck.errors import HistoryLost, StoreUnavailable
from numcheck.index import Index, PublishedIndex, open_index
from numcheck.serving.freshness import Publisher, fresh_since
from numcheck.serving.publishing import IndexFollower, index_directory, point_of, record_loss, told_losses, versions_of
from numcheck.store import Point, Store
from numcheck.worker import Worker

RETRY_DELAY_S = 0.1  # of a database that is away: it may come back as an older one
POLL_INTERVAL_S = 0.25  # of a store that other nodes change, too
FILE_POLL_INTERVAL_S = 1.0  # of a file, which nobody else may change: whether it is still the one that was opened

log = structlog.get_logger()


class Builder:
    """Publishes the index of each revision: after each call of `follow`, and of what other nodes change where the store
    is shared. Changes that come while it builds are answered by one build more."""

    def __init__(self, published: PublishedIndex, settings: Settings, store: Store) -> None:
        """`store` is the one that the node writes to: it knows what the node has seen, and takes what is lost."""
        self._published, self._publisher = published, Publisher(published, settings)
        self._settings, self._own_store = settings, store
        self._base: Index | None = None
        self._follower = IndexFollower(settings.data_dir)
        self._store: Store | None = None
        self._timeline, self._server_is_new = "", True
        self.current_at = datetime.now(UTC)
        """Moment at which what is published was found last to be of the store's newest revision."""
        self.worker = Worker("builder", self._work, "the index cannot follow the store", retry_s=RETRY_DELAY_S)

    def start(self) -> None:
        """Begin to follow, from what is published."""
        self._base = self._published.try_get()
        self._publisher.start()
        self._own_store.follow_servers(self._met_server, self._fall_silent)
        self.worker.start()

    def follow(self) -> None:
        """Say that the store's revision has risen; returns at once."""
        self.worker.wake()

    def _met_server(self) -> None:
        self._server_is_new = True
        self.follow()

    def stop(self) -> None:
        """End after the build under way, if there is one."""
        self._publisher.stop()
        self.worker.stop()
        self._close_store()

    def _work(self) -> float:
        """Publish the store's revision. If that fails, what is published goes on answering: the disk, the database or a
        row may be mended meanwhile."""
        try:
            began_at = datetime.now(UTC)
            self._check_files()
            store = self._open_store()
            self._check_server(store)
            self._publish(store)
            self.current_at = began_at
        except Exception:
            self._close_store()
            raise
        return POLL_INTERVAL_S if self._settings.database else FILE_POLL_INTERVAL_S

    def _open_store(self) -> Store:
        """Return a store of its own: what is read here is of one moment, while others read and write theirs."""
        if self._store is None:
            self._store = Store(
                self._settings.data_dir, url=self._settings.database, read_only=True, troubles=self._own_store.troubles
            )
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _check_server(self, store: Store) -> None:
        """Raise StoreUnavailable if the server that is read is one that was replaced: it may have what is lost."""
        if store.timeline < self._own_store.timeline:
            self._own_store.point  # noqa: B018  # asked anew: it may have been put back to an older one since
            if store.timeline < self._own_store.timeline:
                raise StoreUnavailable("the database that is read is the one before the failover")
        if self._timeline != store.timeline:
            if self._timeline:
                log.warning("the database has failed over", timeline=store.timeline, timeline_before=self._timeline)
            self._timeline = store.timeline

    def _publish(self, store: Store) -> None:
        began, seen = time.monotonic(), self._own_store.seen
        if seen is not None and store.is_lost(seen):
            self._lose(seen)
        self._begin_epoch()
        with store.one_moment():
            point = store.point
            if self._base is not None and point == point_of(self._base):
                self._speak_again(self._base)
                return
            with spans.work("builder") as tell:
                tell(index_version=point.revision)
                self._follower.update(store, self._base)
        directory, freshness = index_directory(self._settings.data_dir), fresh_since(self._settings, datetime.now(UTC))
        index = open_index(directory, fresh_since=freshness, previous=self._base, installation_id=store.installation_id)
        self._own_store.see(point, versions_of(index))
        self._base = index
        self._publisher.publish(index)
        log.info("index published", index_version=index.index_version, took_s=round(time.monotonic() - began, 3))

    def _begin_epoch(self) -> None:
        """Have another epoch begin on another server, though nobody may change anything: followers that have what it
        lacks then get a newer version."""
        if self._server_is_new:
            self._server_is_new = False
            try:
                if self._own_store.begin_epoch():
                    log.warning("the store is on another server: a new epoch begins", timeline=self._own_store.timeline)
            except BaseException:
                self._server_is_new = True
                raise

    def _check_files(self) -> None:
        try:
            self._own_store.check_files()
        except HistoryLost:
            self._published.withdraw()
            raise

    def _fall_silent(self, lost: Point) -> None:
        """Answer nothing from what is published: a server lacks what it is of. By any thread."""
        if self._published.try_get() is not None:
            self._published.pause()
            log.error(
                "the store has lost history: nothing is answered until the index is built anew", lost=lost.revision
            )

    def _speak_again(self, index: Index) -> None:
        """Answer from the index again, of which the store lacks nothing after all."""
        if self._published.try_get() is None:
            self._publisher.publish(index)

    def _lose(self, seen: Point) -> None:
        """Answer nothing from what is published, and record what is lost: the index is built anew of what is left."""
        self._fall_silent(seen)
        self._published.skip(seen.revision)
        record_loss(self._own_store, seen)
        self._base = None
        for told in told_losses(self._own_store.losses()[:1]):
            log.error("history was lost", **told)
