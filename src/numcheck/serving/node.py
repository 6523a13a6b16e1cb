"""A node: one process that holds a data directory and serves from it until it is told to stop."""

import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from numcheck.config import Settings
from numcheck.errors import StoreMissing
from numcheck.index import Index, PublishedIndex
from numcheck.serving.builder import Builder, fresh_since
from numcheck.serving.listener import ApiListener
from numcheck.serving.numbering import numbering_service
from numcheck.serving.publishing import open_or_rebuild
from numcheck.store import DataDirLock, Store

log = structlog.get_logger()

SYNTHETIC_NOTICE = "the active numbers are SYNTHETIC: made up for trying out, they say nothing about anybody"

RECHECK_INTERVAL_S = 1.0

Announce = Callable[[str], None]


def serve(settings: Settings, announce: Announce) -> None:
    """Run a node until SIGTERM or SIGINT, then drain. `announce` gets a line for what a person waits for."""
    stopping = threading.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda _number, _frame: stopping.set())
    if not Store.exists(settings.data_dir):
        raise StoreMissing(_nothing_to_serve(settings))
    with DataDirLock(settings.data_dir), Store(settings.data_dir) as store:
        index = _index_to_serve(store, settings, announce)
        published = PublishedIndex()
        published.publish(index)
        builder = Builder(published, settings)
        numbering = numbering_service(store, settings, changed=builder.follow)
        listener = ApiListener(settings, published, numbering)
        try:
            builder.start()
            listener.set_serving(serving=True)
            announce(f"API listener ready on {listener.address} (plaintext, loopback only)")
            if index.synthetic:
                announce(SYNTHETIC_NOTICE)
            _keep_fresh(published, settings, stopping)
        finally:
            announce(f"stopping: calls under way have up to {settings.drain_timeout_s} s to end")
            listener.stop(settings.drain_timeout_s)
            builder.stop()


def _index_to_serve(store: Store, settings: Settings, announce: Announce) -> Index:
    if not store.series():
        raise StoreMissing(_nothing_to_serve(settings))
    index, reason = open_or_rebuild(store, settings.data_dir, fresh_since=fresh_since(settings, datetime.now(UTC)))
    if reason is not None:
        announce(f"the index was built anew: {reason}")
    return index


def _nothing_to_serve(settings: Settings) -> str:
    return (
        f"{settings.data_dir} holds no numbering plan; `numcheck demo` fills an empty directory for trying out, "
        "`numcheck plan import FILE...` reads the regulator's files"
    )


def _keep_fresh(published: PublishedIndex, settings: Settings, stopping: threading.Event) -> None:
    """Until the node stops, publish the index anew each time that an operator's data comes of age."""
    age_max = timedelta(seconds=settings.data_age_max_s)
    while True:
        due_s = _seconds_to_next_expiry(published.get(), age_max, datetime.now(UTC))
        # A push meanwhile may bring data that comes of age first.
        if stopping.wait(RECHECK_INTERVAL_S if due_s is None else min(due_s, RECHECK_INTERVAL_S)):
            return
        if due_s is not None and due_s <= RECHECK_INTERVAL_S:
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
