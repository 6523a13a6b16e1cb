"""A node: one process that holds a data directory and serves from it until it is told to stop."""

import signal
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from numcheck.config import Settings
from numcheck.errors import StoreMissing
from numcheck.index import Index, PublishedIndex
from numcheck.serving.check_listener import LACKING, CheckListener
from numcheck.serving.listener import ApiListener
from numcheck.serving.publishing import open_or_rebuild
from numcheck.store import DataDirLock, Store

log = structlog.get_logger()

Announce = Callable[[str], None]


def serve(settings: Settings, announce: Announce) -> None:
    """Run a node until SIGTERM or SIGINT, then drain. `announce` gets a line for what a person waits for."""
    stopping = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda _number, _frame: stopping.set())
    with DataDirLock(settings.data_dir), Store(settings.data_dir) as store:
        index = _index_to_serve(store, settings, announce)
        published = PublishedIndex()
        listeners: list[ApiListener | CheckListener] = []
        try:
            listeners.append(ApiListener(settings, published))
            if LACKING is None:
                listeners.append(CheckListener(settings, published))
            else:
                announce(f"the API listener serves everything, as {LACKING}")
            published.publish(index)
            for listener in listeners:
                listener.set_serving(serving=True)
                announce(f"{listener.name} ready on {listener.address} (plaintext, loopback only)")
            _keep_fresh(published, settings, stopping)
        finally:
            announce(f"stopping: calls under way have up to {settings.drain_timeout_s} s to end")
            _stop(listeners, settings.drain_timeout_s)


def _stop(listeners: Sequence["ApiListener | CheckListener"], drain_timeout_s: float) -> None:
    """Drain all listeners at once."""
    stoppers = [threading.Thread(target=listener.stop, args=(drain_timeout_s,)) for listener in listeners]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()


def _index_to_serve(store: Store, settings: Settings, announce: Announce) -> Index:
    if not store.series():
        raise StoreMissing(
            f"{settings.data_dir} holds no numbering plan; `numcheck demo` fills it for trying out, "
            "`numcheck plan import FILE...` reads the regulator's files"
        )
    index, reason = open_or_rebuild(store, settings.data_dir, fresh_since=fresh_since(settings, datetime.now(UTC)))
    if reason is not None:
        announce(f"the index was built anew: {reason}")
    return index


def fresh_since(settings: Settings, now: datetime) -> datetime | None:
    """The moment before which an operator's data is too old to answer from; None if it never ages."""
    return now - timedelta(seconds=settings.data_age_max_s) if settings.data_age_max_s else None


def _keep_fresh(published: PublishedIndex, settings: Settings, stopping: threading.Event) -> None:
    """Until the node stops, publish the index anew each time that an operator's data comes of age."""
    age_max = timedelta(seconds=settings.data_age_max_s)
    while not stopping.wait(_seconds_to_next_expiry(published.get(), age_max, datetime.now(UTC))):
        published.publish(published.get().with_freshness(fresh_since(settings, datetime.now(UTC))))
        log.info("data came of age", index_version=published.get().index_version)


def _seconds_to_next_expiry(index: Index, age_max: timedelta, now: datetime) -> float | None:
    """How long until the next operator's data is older than `age_max`; None if none will be."""
    if not age_max:
        return None
    times = [operator.data_time for operator in index.operators.values() if operator.data_time is not None]
    # A microsecond more, as data of exactly the bound's age is still fresh.
    due = [time + age_max - now + timedelta(microseconds=1) for time in times if time + age_max >= now]
    return min(due).total_seconds() if due else None
