"""A node: one process that holds a data directory and serves from it until it is told to stop."""

import gc
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from numcheck.api.access import Admission, CallersIndex
from numcheck.api.asking import AllowanceOf, NumbersAsked
from numcheck.api.editions import EditionService
from numcheck.api.identifications import WatchIdentifications
from numcheck.config import Settings
from numcheck.deadline import Deadline, end_together
from numcheck.door.methods import Service, methods_of
from numcheck.door.native_door import LACKING, NativeDoor, Served
from numcheck.door.plain_door import PlainDoor, warning_of
from numcheck.door.process import prepare_process
from numcheck.door.rates import RatedService, Rates
from numcheck.door.watches import Watches
from numcheck.errors import BadListenAddress, StoreMissing
from numcheck.index import Index, PublishedIndex
from numcheck.page.live import samples_of
from numcheck.page.where import check_page, is_over_tls
from numcheck.serving.access import AccessControl, loopback_access
from numcheck.serving.activation import listening_for
from numcheck.serving.asking import AskingLog
from numcheck.serving.belongings import keep_private
from numcheck.serving.budgets import Budgets
from numcheck.serving.builder import Builder
from numcheck.serving.checks import exposed_secrets
from numcheck.serving.courier_report import rows_of
from numcheck.serving.editions import Contents, NodeEditions
from numcheck.serving.ending import leave_threads_behind
from numcheck.serving.freshness import fresh_since
from numcheck.serving.logs import set_level
from numcheck.serving.metrics import Door, FollowerCollector, NodeCollector, Readings
from numcheck.serving.metrics_listener import MetricsListener, Missing
from numcheck.serving.notify import READY, STOPPING, notify, watchdog
from numcheck.serving.publishing import index_directory, open_or_rebuild
from numcheck.serving.receipts_listener import ReceiptsListener
from numcheck.serving.registrations import OfCallers, check_test_numbers, registration_warnings, registrations_of
from numcheck.serving.reloading import ReadAgain, Reloading
from numcheck.serving.services import callers_service, check_service, numbering_service
from numcheck.serving.sharing import Peer
from numcheck.serving.store_watch import StoreWatch
from numcheck.serving.stores import push_policy_of, stopped_store
from numcheck.serving.tracing import tracing
from numcheck.serving.whereabouts import Whereabouts, forget, tell
from numcheck.store import Store, Troubles

if TYPE_CHECKING:
    from numcheck.page.listener import PageListener

log = structlog.get_logger()

SYNTHETIC_NOTICE = "the active numbers are SYNTHETIC: made up for trying out, they say nothing about anybody"

WARNING = "WARNING: "
PAGE_WAIT_S = 2.0  # for what the page asks of the node when that stops
STDIN = 0  # a node may have been started with it closed

Announce = Callable[[str], None]
Take = Callable[[Settings], None]


def announce(line: str) -> None:
    """Tell in the log what whoever runs the node should know."""
    tell_it = log.warning if line.startswith(WARNING) else log.info
    tell_it(line)


class Signals:
    """Signals to the process: SIGTERM and SIGINT to stop, SIGHUP to read its settings again.

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
        self._doors, self._ended, self.serving = doors, False, False

    def begin(self, published: PublishedIndex) -> None:
        """Follow what is published."""
        published.subscribe(self._tell)
        self._tell(published.try_get())

    def end(self) -> None:
        """Tell nothing more: the listeners say themselves that they stop."""
        self._ended, self.serving = True, False

    def _tell(self, index: Index | None) -> None:
        if not self._ended:
            self.serving = index is not None
            for door in self._doors:
                door.set_serving(serving=index is not None)


def serve(settings: Settings, say: Announce, read_again: ReadAgain) -> None:
    """Run a node until SIGTERM or SIGINT, then drain. Notices for people are in the log; codes sent to nobody go to
    `say`.

    On SIGHUP the settings become those of `read_again`, as far as a running node can take them.
    """
    signals = Signals()
    prepare_process()
    with tracing(settings) as take_tracing, _opened(settings) as (store, listening):
        run(Node(settings, say, store, listening), signals, settings, read_again, take_tracing)


class Serving(Protocol):
    """Parts that live as long as a process that serves."""

    @property
    def takers(self) -> Sequence[Callable[[Settings], None]]:
        """Functions that take settings anew."""

    def start(self) -> None:
        """Serve."""

    def stop(self) -> None:
        """Drain, and end every part."""


def run(node: Serving, signals: Signals, settings: Settings, read_again: ReadAgain, take: Take) -> None:
    """Have the node serve until it is told to stop; `take` takes settings anew, as the node's parts do."""
    reloading = Reloading(settings, read_again, [*node.takers, take])
    try:
        node.start()
        _collect_rarely()
        signals.wait_for_stop(reloading.reload)
        announce(f"stopping: calls under way have up to {settings.drain_timeout_s} s to end")
    finally:
        node.stop()
    leave_threads_behind()  # before anything is closed that they may use


COLLECTED_AFTER = 10_000, 20, 20  # new objects, and collections of the younger generations


def _collect_rarely() -> None:
    """Let the garbage collector leave alone what lives as long as the node, and look through the rest more rarely:
    calls leave hardly any cycles, and Python's own thresholds take a sixth of a Register."""
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


class Node:
    """The parts that live as long as the process: made over an open store, started once, and stopped."""

    def __init__(self, settings: Settings, say: Announce, store: Store, listening: socket.socket | None) -> None:
        """Make the parts; BadKeys, BadConfiguration. Nothing is listened on, and no part is at work.

        `listening` is the socket that was handed to this process, if one was.
        """
        self._settings, self._store, self._listening = settings, store, listening
        self._published, self._numbers_asked = PublishedIndex(), NumbersAsked()
        self._control, self._watches = AccessControl(store, settings.data_dir), Watches()
        directory = self._control.directory
        self._builder, self._watch = Builder(self._published, settings, store), StoreWatch(settings, store.troubles)
        self._registrations = registrations_of(
            store,
            self._published,
            settings,
            announce,
            OfCallers(directory.agreed if settings.tls else directory.try_agreed, self._numbers_asked.add),
            say,
        )
        self._rates = Rates(settings.call_rates)
        self._budgets = Budgets(store.budgets(), self._registrations.vault, settings)
        self._editions = self._make_editions()
        self._edition_service = EditionService(self._editions)
        self._doors: list[Door] = []
        self._health = Health(self._doors)
        self._asking_log = AskingLog(asked_of(self._numbers_asked, self._doors), settings.numbers_asked_told)
        self._listener: MetricsListener | None = None
        self._receipts: ReceiptsListener | None = None
        self._page: PageListener | None = None
        self._watchdog = watchdog()

    @property
    def takers(self) -> list[Callable[[Settings], None]]:
        """Functions that take settings anew: together, all that are marked so."""
        return [*self._registrations.takers, self._budgets.take, self._take]

    def start(self) -> None:
        """Serve; who watches the node is answered from the beginning, while the index may be built yet."""
        settings, store = self._settings, self._store
        self._watch.start()
        if self._watchdog is not None:
            self._watchdog.start()
        self._listener = open_listener(settings, self._collector(), self._missing)
        self._receipts = self._open_receipts()
        index = _index_to_serve(store, settings)
        check_test_numbers(settings, index)
        admission, services = self._control.admission(settings), self._services()
        self._doors.append(self._open_door(admission, services))
        self._published.publish(index)
        self._builder.start()
        self._budgets.start()
        self._registrations.start()
        self._health.begin(self._published)
        self._page = self._open_page(admission, services)
        _begin(settings.data_dir, self._doors[0], _notices(index, store, settings))
        notify(READY)

    def stop(self) -> None:
        """Drain the door and end every part, the listener of whoever watches last. No wait is without a bound, and what
        does not end keeps nothing else from ending."""
        notify(STOPPING)
        forget(self._settings.data_dir)
        if self._page is not None:
            end_together(self._page.stop, deadline=Deadline(PAGE_WAIT_S))
        self._registrations.feeds.end()
        self._health.end()
        for door in self._doors:
            door.stop(self._settings.drain_timeout_s)
        end_together(
            self._watches.close,
            self._budgets.stop,
            self._editions.stop,
            *([] if self._receipts is None else [self._receipts.stop]),
            *self._registrations.ends,
            self._builder.stop,
            self._control.close,
            self._asking_log.close,
            self._watch.stop,
        )
        end_together(*self._registrations.last_ends)
        if self._listener is not None:
            end_together(self._listener.stop)
        if self._watchdog is not None:
            end_together(self._watchdog.stop)

    def _take(self, settings: Settings) -> None:
        set_level(settings.log_level)
        self._asking_log.told = settings.numbers_asked_told
        self._store.sets.policy = push_policy_of(settings)
        self._rates.per_second = settings.call_rates

    def _services(self) -> list[RatedService]:
        changed = self._builder.follow, self._registrations.withdrawer.follow
        seen = CallersIndex(self._published, self._control.access.agreed)
        services = (
            check_service(seen, self._settings, self._numbers_asked.add, self._budgets.spend),
            numbering_service(
                self._store,
                self._published,
                self._settings,
                self._watches,
                changed=changed,
                identifications=WatchIdentifications(
                    self._registrations.identifications, self._control.directory.identifying
                ),
            ),
            callers_service(self._control.callers, self._control.key, changed=self._control.directory.refresh),
            self._registrations.service,
            self._registrations.audit,
            self._edition_service,
        )
        return [RatedService(service, self._rates) for service in services]

    def _open_door(self, admission: Admission, services: Sequence[Service]) -> Door:
        served = Served(services, self._watches, self._registrations.feeds, listening=self._listening)
        return open_door(self._settings, self._published, admission, served, self._budgets.allowance_of)

    def _make_editions(self) -> NodeEditions:
        """Return the editions for followers."""
        directory, key = self._control.directory, self._control.key
        contents = Contents(
            index_directory(self._settings.data_dir),
            lambda: directory.published(key),
            lambda: min(self._builder.current_at, datetime.now(UTC) - timedelta(seconds=directory.age_s)),
        )
        editions = NodeEditions(
            self._published,
            contents,
            self._registrations.signing_key,
            changed=self._watches.notify,
            publish_dir=self._settings.publish_dir,
        )
        directory.subscribe(editions.wake)
        return editions

    def _open_receipts(self) -> ReceiptsListener | None:
        """Return the listener for the reports of HTTP gateways, if it is wanted."""
        if self._settings.receipts_listen is None:
            return None
        listener = ReceiptsListener(self._settings, self._registrations.delivery.desks)
        announce(f"receipts ready on http://{listener.address}/receipts/COURIER")
        return listener

    def _open_page(self, admission: Admission, services: Sequence[Service]) -> "PageListener | None":
        """Return the listener of the page for people, if it is wanted; BadConfiguration without the extra."""
        settings = self._settings
        if settings.page_listen is None:
            return None
        check_page(settings)
        from numcheck.page.app import Parts  # noqa: PLC0415  # needs the extra
        from numcheck.page.listener import PageListener  # noqa: PLC0415

        if settings.tls and not is_over_tls(settings):
            admission = loopback_access(settings, self._control.denials.add)
        parts = Parts(admission, methods_of(services), self._published, self._store, self._page_sample())
        listener = PageListener(settings, parts)
        announce(f"page ready on {listener.url}")
        return listener

    def _page_sample(self) -> Callable[[], dict[str, Any]]:
        """Return the function that gives the figures of now."""
        collector, door = self._collector(), self._doors[0]
        node = {
            "address": door.address,
            "door": door.name,
            "protection": door.protection,
            "store": self._store.engine_name,
            "started_at": time.time(),
            "version": version("numcheck"),
        }
        return lambda: {
            "at": time.time(),
            "node": node,
            "missing": self._missing(),
            "metrics": samples_of(collector),
            "couriers": rows_of(self._registrations.delivery),
            "followers": self._edition_service.followers.ages_s(),
            "nodes": [_node_row(one) for one in self._registrations.sharing.peers],
        }

    def _collector(self) -> NodeCollector:
        return NodeCollector(self._doors, self._readings(), self._watch)

    def _missing(self) -> list[str]:
        """Return why the node is not ready."""
        reasons = {"no index is served from": self._health.serving, "the store does not answer": self._watch.answers}
        return [reason for reason, is_there in reasons.items() if not is_there]

    def _readings(self) -> Readings:
        directory, delivery = self._control.directory, self._registrations.delivery
        return Readings(
            index_version=lambda: self._published.get().index_version,
            index_size=lambda: self._published.get().size,
            index_lag=self._index_lag,
            directory_age_s=lambda: directory.age_s,
            callers_refused=lambda: bool(directory.refused),
            callers_revision=lambda: directory.revision,
            smscs_linked=lambda: delivery.linked,
            asked=self._asking_log.counts,
            budgets=self._budgets.accounts,
            witness_agrees=lambda: self._registrations.witness.agrees,
            codes=lambda: delivery.counts,
            receipts=lambda: delivery.ledger.receipts,
            judged=lambda: delivery.ledger.judged,
            couriers_rest=lambda: delivery.rests,
            peers=lambda: self._registrations.sharing.peers,
            replica_used=lambda: self._registrations.replica.used,
            node_count=lambda: self._registrations.sharing.node_count,
            leases_held=lambda: self._registrations.sharing.held,
        )

    def _index_lag(self) -> int | None:
        """Return how far the index is behind what the store was at when it answered last."""
        revision = self._watch.revision
        return None if revision is None else max(revision - self._published.get().index_version, 0)


def _node_row(peer: Peer) -> dict[str, Any]:
    """Return a node of the store as the page has it."""
    return {
        "name": peer.node.name,
        "is_this": peer.is_this,
        "version": peer.node.version,
        "index_version": peer.node.index_version,
        "started_at": peer.node.started_at_us / 1_000_000,
        "silent_s": peer.silent_s,
        "work": peer.work,
    }


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Store, socket.socket | None]]:
    """Yield the store, for this process to write to, and the socket that was handed to it, if one was; StoreMissing if
    there is no store, BadListenAddress if none could ask it."""
    if not Store.exists(settings.data_dir, settings.database):
        raise StoreMissing(_nothing_to_serve(settings))
    with stopped_store(settings, make=True, troubles=Troubles()) as store:
        listening = listening_for(settings)
        if not store.series():
            raise StoreMissing(_nothing_to_serve(settings))
        for warning in keep_private(settings.data_dir):
            announce(warning)
        yield store, listening


def open_door(
    settings: Settings, published: PublishedIndex, admission: Admission, served: Served, allowance_of: AllowanceOf
) -> Door:
    """Return the native door, or grpcio's where this build has none: then a line says why."""
    if LACKING is None:
        return NativeDoor(settings, published, admission, served, allowance_of=allowance_of)
    announce(f"grpcio carries the calls, at many times the cost: {LACKING}")
    services, watches, feeds, unknown, listening = served
    if listening is not None:
        raise BadListenAddress("a socket was handed over (LISTEN_FDS), which grpcio's server cannot take")
    door = PlainDoor(settings, services, watches, admission, feeds=feeds, allowance_of=allowance_of)
    door.say_of_others(unknown)
    return door


def open_listener(
    settings: Settings, collector: NodeCollector | FollowerCollector, missing: Missing
) -> MetricsListener | None:
    """Return the listener of /metrics, /healthz and /readyz, if it is wanted; `missing` says why it is not ready."""
    if settings.metrics_listen is None:
        return None
    listener = MetricsListener(settings, collector, missing)
    announce(f"metrics ready on http://{listener.address}/metrics")
    return listener


def asked_of(numbers_asked: NumbersAsked, doors: Sequence[Door]) -> Callable[[], Counter[str]]:
    """Return what gives how many numbers each caller has asked about, natively or by Python."""

    def asked() -> Counter[str]:
        natives = (one.asked() for one in doors if isinstance(one, NativeDoor))
        return sum(natives, numbers_asked.counts())

    return asked


def _notices(index: Index, store: Store, settings: Settings) -> list[str | None]:
    return [
        SYNTHETIC_NOTICE if index.synthetic else None,
        store.warning,
        warning_of(settings),
        *registration_warnings(settings),
        *exposed_secrets(settings),
    ]


def _begin(data_dir: Path, door: Door, notices: Sequence[str | None]) -> None:
    """Say where the node listens, to commands and whoever waits, and what they should know."""
    tell(data_dir, Whereabouts(door.address, door.name))
    announce(f"ready on {door.address} ({door.protection})")
    for notice in filter(None, notices):
        announce(notice)


def _index_to_serve(store: Store, settings: Settings) -> Index:
    index, reason = open_or_rebuild(
        store,
        settings.data_dir,
        fresh_since=fresh_since(settings, datetime.now(UTC)),
        replica_url=settings.replica,
    )
    if reason is not None:
        announce(f"the index was built anew: {reason}")
    return index


def _nothing_to_serve(settings: Settings) -> str:
    return (
        f"{settings.data_dir} holds no numbering plan; `numcheck demo` fills an empty directory for trying out, "
        "`numcheck plan import FILE...` reads the regulator's files"
    )
