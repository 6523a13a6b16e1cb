"""A node: one process that holds a data directory and serves from it until it is told to stop."""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from numcheck.api.access import Admission, CallersIndex
from numcheck.api.asking import NumbersAsked
from numcheck.config import Settings
from numcheck.door.methods import Service
from numcheck.door.native_door import LACKING, NativeDoor, Served
from numcheck.door.plain_door import PlainDoor, check_address, warning_of
from numcheck.door.process import prepare_process
from numcheck.door.watches import Watches
from numcheck.errors import StoreMissing
from numcheck.index import Index, PublishedIndex
from numcheck.serving.access import Directory, Gate
from numcheck.serving.asking import AskingLog
from numcheck.serving.belongings import keep_private
from numcheck.serving.builder import Builder
from numcheck.serving.freshness import fresh_since
from numcheck.serving.logs import set_level
from numcheck.serving.metrics import MetricsListener, NodeCollector, Readings
from numcheck.serving.publishing import open_or_rebuild
from numcheck.serving.registrations import NodeRegistrations, policy_warnings, registrations_of
from numcheck.serving.reloading import ReadAgain, Reloading
from numcheck.serving.services import callers_service, check_service, numbering_service
from numcheck.serving.stores import push_policy_of, stopped_store
from numcheck.serving.whereabouts import Whereabouts, forget, tell
from numcheck.store import Store

log = structlog.get_logger()

SYNTHETIC_NOTICE = "the active numbers are SYNTHETIC: made up for trying out, they say nothing about anybody"

STDIN = 0  # a node may have been started with it closed

Announce = Callable[[str], None]
Door = PlainDoor | NativeDoor


class Signals:
    """What the process is asked to do: SIGTERM and SIGINT to stop, SIGHUP to read its settings again.

    A signal writes its number into a socket, whichever thread it reaches and whatever that thread is doing. An Event
    that a handler sets is not enough: a signal that comes just before the main thread starts to wait does not wake it.
    """

    def __init__(self) -> None:
        self._received, self._sent = socket.socketpair()
        self._sent.setblocking(False)
        self._on_terminal = os.isatty(STDIN)
        signal.set_wakeup_fd(self._sent.fileno())
        for wanted in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(wanted, lambda _number, _frame: None)

    def wait_for_stop(self, reload: Callable[[], None]) -> None:
        """Wait until the process is asked to stop; call `reload` each time that it is asked for that."""
        while self._received.recv(1)[0] == signal.SIGHUP and not self._terminal_gone():
            reload()

    def _terminal_gone(self) -> bool:
        """Return True if SIGHUP says what it said first: that the terminal of this process was closed."""
        return self._on_terminal and not os.isatty(STDIN)


class Health:
    """Tells health checks that the doors serve: from `begin` to `end`, while there is an index."""

    def __init__(self, doors: Sequence[Door]) -> None:
        self._doors, self._ended = doors, False

    def begin(self, published: PublishedIndex) -> None:
        """Follow what is published."""
        published.follow(self._tell)
        self._tell(published.try_get())

    def end(self) -> None:
        """Tell nothing more: the listeners say themselves that they stop."""
        self._ended = True

    def _tell(self, index: Index | None) -> None:
        if not self._ended:
            for door in self._doors:
                door.set_serving(serving=index is not None)


def serve(settings: Settings, announce: Announce, read_again: ReadAgain) -> None:
    """Run a node until SIGTERM or SIGINT, then drain. `announce` gets a line for what a person waits for.

    On SIGHUP the settings become those of `read_again`, as far as a running node can take them.
    """
    signals = Signals()
    prepare_process()
    with _opened(settings, announce) as store:
        index = _index_to_serve(store, settings, announce)
        published, numbers_asked, gate = PublishedIndex(), NumbersAsked(), Gate(store, settings.data_dir)
        builder, watches = Builder(published, settings, store), Watches()
        registrations = registrations_of(
            store, published, settings, announce, gate.directory.agreed if settings.tls else gate.directory.try_agreed
        )
        changed = builder.follow, registrations.withdrawer.follow
        services: list[Service] = [
            check_service(CallersIndex(published, gate.access.agreed), settings, numbers_asked.add),
            numbering_service(store, published, settings, watches, changed=changed),
            callers_service(gate.callers, gate.key, changed=gate.directory.refresh),
            registrations.service,
        ]
        doors: list[Door] = []
        metrics: list[MetricsListener] = []
        health = Health(doors)
        asking_log = AskingLog(_asked(numbers_asked, doors), settings.numbers_asked_told)
        reloading = Reloading(settings, read_again, _takers(store, registrations, asking_log))
        try:
            served = Served(services, watches, registrations.feeds)
            doors.append(_door(settings, published, gate.admission(settings), served, announce))
            published.publish(index)
            builder.start()
            registrations.start()
            readings = _readings(store, published, gate.directory, registrations, asking_log.counts)
            metrics += _metrics_listener(settings, doors, readings, announce)
            health.begin(published)
            _begin(settings.data_dir, doors[0], announce, _notices(index, store, settings))
            signals.wait_for_stop(reloading.reload)
            announce(f"stopping: calls under way have up to {settings.drain_timeout_s} s to end")
        finally:
            registrations.feeds.end()
            health.end()
            _stop(settings, [*doors, *metrics])
            for end in (watches.close, registrations.stop, builder.stop, gate.close, asking_log.close):
                end()


def _takers(store: Store, registrations: NodeRegistrations, asking_log: AskingLog) -> list[Callable[[Settings], None]]:
    """Return what takes settings anew: together, all that are marked so."""

    def take_others(settings: Settings) -> None:
        set_level(settings.log_level)
        asking_log.told = settings.numbers_asked_told
        store.push_policy = push_policy_of(settings)

    return [registrations.policies.take, take_others]


@contextmanager
def _opened(settings: Settings, announce: Announce) -> Iterator[Store]:
    """Yield the store, for this process to write to; StoreMissing if there is none, BadListenAddress if none could ask
    it."""
    if not Store.exists(settings.data_dir, settings.database):
        raise StoreMissing(_nothing_to_serve(settings))
    with stopped_store(settings, make=True) as store:
        check_address(settings)
        for warning in keep_private(settings.data_dir):
            announce(warning)
        yield store


def _asked(numbers_asked: NumbersAsked, doors: Sequence[Door]) -> Callable[[], Counter[str]]:
    """Return what gives how many numbers each caller has asked about, natively or by Python."""

    def asked() -> Counter[str]:
        natives = (one.asked() for one in doors if isinstance(one, NativeDoor))
        return sum(natives, numbers_asked.counts())

    return asked


def _door(
    settings: Settings, published: PublishedIndex, admission: Admission, served: Served, announce: Announce
) -> Door:
    """Return the native door, or grpcio's where this build has none: then a line says why."""
    if LACKING is None:
        return NativeDoor(settings, published, admission, served)
    announce(f"grpcio carries the calls, at many times the cost: {LACKING}")
    return PlainDoor(settings, served.services, served.watches, admission, feeds=served.feeds)


def _readings(
    store: Store,
    published: PublishedIndex,
    directory: Directory,
    registrations: NodeRegistrations,
    asked: Callable[[], Counter[str]],
) -> Readings:
    def index_version() -> int:
        return published.get().index_version

    return Readings(
        index_version=index_version,
        index_lag=lambda: max(store.revision - index_version(), 0),
        directory_age_s=lambda: directory.age_s,
        callers_refused=lambda: bool(directory.refused),
        callers_revision=lambda: directory.revision,
        smsc_linked=registrations.delivery.linked,
        asked=asked,
        codes=lambda: {} if registrations.delivery.courier is None else registrations.delivery.courier.counts,
    )


def _metrics_listener(
    settings: Settings,
    doors: Sequence[Door],
    readings: Readings,
    announce: Announce,
) -> list[MetricsListener]:
    """Return the listener of /metrics, if it is wanted."""
    if settings.metrics_listen is None:
        return []
    listener = MetricsListener(settings, NodeCollector(doors, readings))
    announce(f"metrics ready on http://{listener.address}/metrics")
    return [listener]


def _notices(index: Index, store: Store, settings: Settings) -> list[str | None]:
    return [
        SYNTHETIC_NOTICE if index.synthetic else None,
        store.warning,
        warning_of(settings),
        *policy_warnings(settings),
    ]


def _begin(
    data_dir: Path,
    door: Door,
    announce: Announce,
    notices: Sequence[str | None],
) -> None:
    """Say where the node listens, to commands and whoever waits, and what they should know."""
    tell(data_dir, Whereabouts(door.address, door.name))
    announce(f"ready on {door.address} ({door.protection})")
    for notice in filter(None, notices):
        announce(notice)


def _stop(settings: Settings, listeners: Sequence["Door | MetricsListener"]) -> None:
    """Drain all listeners at once."""
    forget(settings.data_dir)
    stoppers = [threading.Thread(target=listener.stop, args=(settings.drain_timeout_s,)) for listener in listeners]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()


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
