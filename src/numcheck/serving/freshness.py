"""The one that publishes: an index as it is built, and the same anew each time that an operator's data comes of age."""

import threading
from datetime import UTC, datetime, timedelta

import structlog

from numcheck.config import Settings
from numcheck.index import Index, PublishedIndex
from numcheck.worker import Worker

RECHECK_INTERVAL_S = 1.0  # a push meanwhile may bring data that comes of age first

log = structlog.get_logger()


def fresh_since(settings: Settings, now: datetime) -> datetime | None:
    """Return the moment before which an operator's data is too old to answer from; None if it never ages."""
    return now - timedelta(seconds=settings.data_age_max_s) if settings.data_age_max_s else None


class Publisher:
    """Publishes what it is given, and republishes it as its data ages, from `start` to `stop`."""

    def __init__(self, published: PublishedIndex, settings: Settings) -> None:
        self._published, self._settings = published, settings
        self._turn = threading.Lock()
        self._worker = Worker("freshness", self._age, "data that came of age is answered from")

    def start(self) -> None:
        """Begin to look after the age of data, where it ages."""
        if self._settings.data_age_max_s:
            self._worker.start()

    def stop(self) -> None:
        """End it."""
        self._worker.stop()

    def publish(self, index: Index) -> None:
        """Answer from an index from now on."""
        with self._turn:
            self._published.publish(index)

    def _age(self) -> float:
        """Publish the index anew if its data has come of age; return when to look again."""
        with self._turn:
            index, age_max = self._published.try_get(), timedelta(seconds=self._settings.data_age_max_s)
            due_s = None if index is None else seconds_to_next_expiry(index, age_max, datetime.now(UTC))
            if index is None or due_s is None:
                return RECHECK_INTERVAL_S
            if due_s > 0:
                return min(due_s, RECHECK_INTERVAL_S)
            self._published.publish(index.with_freshness(fresh_since(self._settings, datetime.now(UTC))))
            log.info("data came of age", index_version=index.index_version)
            return 0.0


def seconds_to_next_expiry(index: Index, age_max: timedelta, now: datetime) -> float | None:
    """Return how long until the first data that the index takes for fresh is older than `age_max`: 0 if it is already,
    None if none will be."""
    if index.fresh_since is None:
        return None
    times = [operator.data_time for operator in index.operators.values() if operator.data_time is not None]
    fresh = [time for time in times if time >= index.fresh_since]
    # Data of exactly the bound's age is still fresh.
    left = min(fresh) + age_max - now if fresh else None
    return None if left is None else max((left + timedelta(microseconds=1)).total_seconds(), 0.0)
