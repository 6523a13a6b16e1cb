"""The builder: a thread that follows the store's revision and publishes the index of it.

Invariants: what is published is of one revision of the store, read over a connection of its own in one transaction;
versions only rise.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

import structlog

from numcheck.config import Settings
from numcheck.errors import NumcheckError
from numcheck.index import PublishedIndex, open_index
from numcheck.serving.publishing import IndexFollower, index_directory
from numcheck.store import Store

RETRY_DELAY_S = 1.0

log = structlog.get_logger()


def fresh_since(settings: Settings, now: datetime) -> datetime | None:
    """The moment before which an operator's data is too old to answer from; None if it never ages."""
    return now - timedelta(seconds=settings.data_age_max_s) if settings.data_age_max_s else None


class Builder:
    """Publishes the index again after each call of `follow`; calls while it builds are answered by one build more."""

    def __init__(self, published: PublishedIndex, settings: Settings) -> None:
        self._published, self._settings = published, settings
        self._follower = IndexFollower(settings.data_dir)
        self._changed, self._stopping = threading.Event(), threading.Event()
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
        while self._changed.wait() and not self._stopping.is_set():
            self._changed.clear()
            try:
                self._publish()
            except (NumcheckError, OSError) as error:
                # What is published goes on answering; a full disk or a damaged row may be repaired meanwhile.
                log.error("the index cannot be built", error=type(error).__name__)
                if not self._stopping.wait(RETRY_DELAY_S):
                    self._changed.set()

    def _publish(self) -> None:
        began, base = time.monotonic(), self._published.get()
        with Store(self._settings.data_dir, read_only=True) as store, store.one_moment():
            if store.revision <= base.index_version:
                return
            self._follower.update(store, base)
        directory, freshness = index_directory(self._settings.data_dir), fresh_since(self._settings, datetime.now(UTC))
        index = open_index(directory, fresh_since=freshness, previous=base)
        self._published.publish(index)
        log.info("index published", index_version=index.index_version, took_s=round(time.monotonic() - began, 3))
