"""A follower: a check-only node that answers from the editions of others, with no database and no keys of theirs.

It is a node's half that looks up: the same doors, the same CheckService, the same admission, over an index and callers
that come from sources instead of a store.
"""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc

from numcheck.api.access import Admission, CallersIndex
from numcheck.api.asking import NumbersAsked
from numcheck.api.editions import EditionService
from numcheck.config import Settings
from numcheck.deadline import end_together
from numcheck.door.feeds import Feeds
from numcheck.door.methods import Service
from numcheck.door.native_door import Served
from numcheck.door.plain_door import warning_of
from numcheck.door.process import prepare_process
from numcheck.door.rates import RatedService, Rates
from numcheck.door.watches import Watches
from numcheck.errors import BadConfiguration
from numcheck.index import Index, PublishedIndex
from numcheck.index.shelf import Shelf
from numcheck.serving.access import DenialLog, FollowedCallers, loopback_access
from numcheck.serving.activation import listening_for
from numcheck.serving.asking import AskingLog
from numcheck.serving.checks import exposed_secrets
from numcheck.serving.follower_budgets import budgets_of
from numcheck.serving.follower_report import Report
from numcheck.serving.following import Following
from numcheck.serving.logs import set_level
from numcheck.serving.metrics import Door, FollowerCollector
from numcheck.serving.metrics_listener import MetricsListener
from numcheck.serving.node import SYNTHETIC_NOTICE, Health, Signals, announce, asked_of, open_door, open_listener, run
from numcheck.serving.notify import READY, STOPPING, notify
from numcheck.serving.reloading import ReadAgain
from numcheck.serving.services import check_service
from numcheck.serving.sources import source_of
from numcheck.serving.tracing import tracing
from numcheck.serving.whereabouts import Whereabouts, forget, tell
from numcheck.store import DataDirLock, Store

EDITIONS_NAME = "editions"  # in the data directory

OpenChannel = Callable[[str], grpc.Channel]
"""Returns a channel to the node of an address, over which this process shows who it is."""


def editions_directory(data_dir: Path) -> Path:
    """Return where a follower's data directory has its editions."""
    return data_dir / EDITIONS_NAME


def follow(settings: Settings, names: Sequence[str], open_channel: OpenChannel, read_again: ReadAgain) -> None:
    """Run a follower of these sources until SIGTERM or SIGINT, then drain; on SIGHUP it takes its settings anew."""
    signals = Signals()
    prepare_process()
    if Store.exists(settings.data_dir):
        raise BadConfiguration(f"{settings.data_dir} is a node's: a follower needs a data directory of its own")
    with DataDirLock(settings.data_dir), tracing(settings) as take_tracing:
        run(
            Follower(settings, names, open_channel, listening_for(settings)),
            signals,
            settings,
            read_again,
            take_tracing,
        )


class Follower:
    """The parts that live as long as the process: made, started once, and stopped."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        open_channel: OpenChannel,
        listening: socket.socket | None = None,
    ) -> None:
        """Make the parts, and take what the data directory has; EditionRefused. Nothing is listened on.

        `listening` is the socket that was handed to this process, if one was.
        """
        self._settings, self._names, self._listening = settings, names, listening
        self._published, self._numbers_asked = PublishedIndex(), NumbersAsked()
        self._watches, self._feeds, self._denials = Watches(), Feeds(), DenialLog()
        self._callers = FollowedCallers(self._denials.add)
        self._following = Following(
            [source_of(name, open_channel) for name in names],
            Shelf(editions_directory(settings.data_dir)),
            self._published,
            self._callers,
            settings,
            self._watches.notify,
        )
        self._rates, self._budgets = Rates(settings.call_rates), budgets_of(settings)
        self._doors: list[Door] = []
        self._health = Health(self._doors)
        self._asking_log = AskingLog(asked_of(self._numbers_asked, self._doors), settings.numbers_asked_told)
        self._report = Report(settings.data_dir, self._following)
        self._listener: MetricsListener | None = None
        self._is_ready = False

    @property
    def takers(self) -> list[Callable[[Settings], None]]:
        """Functions that take settings anew."""
        return [self._budgets.take, self._take]

    def _take(self, settings: Settings) -> None:
        set_level(settings.log_level)
        self._asking_log.told = settings.numbers_asked_told
        self._rates.per_second = settings.call_rates

    def start(self) -> None:
        """Serve: from what the data directory has, until the sources tell of more."""
        settings = self._settings
        self._listener = open_listener(settings, self._collector(), self._missing)
        self._doors.append(self._open_door())
        self._budgets.start()
        self._health.begin(self._published)
        tell(settings.data_dir, Whereabouts(self._doors[0].address, self._doors[0].name))
        for notice in filter(None, [warning_of(settings), *exposed_secrets(settings)]):
            announce(notice)
        self._published.subscribe(self._announce_ready)
        self._announce_ready(self._published.try_get())
        self._following.start()
        self._report.start()

    def stop(self) -> None:
        """Drain the door and end every part."""
        notify(STOPPING)
        forget(self._settings.data_dir)
        self._health.end()
        for door in self._doors:
            door.stop(self._settings.drain_timeout_s)
        end_together(
            self._following.stop,
            self._watches.close,
            self._feeds.close,
            self._budgets.stop,
            self._denials.close,
            self._asking_log.close,
            self._report.stop,
        )
        if self._listener is not None:
            end_together(self._listener.stop)

    def _announce_ready(self, index: Index | None) -> None:
        """Say where the follower listens, once it answers."""
        if index is None or self._is_ready:
            return
        self._is_ready = True
        announce(f"ready on {self._doors[0].address} ({self._doors[0].protection})")
        notify(READY)
        if index.synthetic:
            announce(SYNTHETIC_NOTICE)

    def _open_door(self) -> Door:
        settings, admission = self._settings, self._admission()
        seen = CallersIndex(self._published, admission.agreed)
        services: list[Service] = [
            check_service(seen, settings, self._numbers_asked.add, self._budgets.spend),
            EditionService(self._following),
        ]
        others = f"a follower answers checks alone; for anything else ask a node: it follows {', '.join(self._names)}"
        rated = [RatedService(service, self._rates) for service in services]
        served = Served(rated, self._watches, self._feeds, others, self._listening)
        return open_door(settings, self._published, admission, served, self._budgets.allowance_of)

    def _admission(self) -> Admission:
        """Return what says who may call, as a node's does: over TLS the callers of the newest edition."""
        return self._callers if self._settings.tls else loopback_access(self._settings, self._denials.add)

    def _collector(self) -> FollowerCollector:
        return FollowerCollector(
            self._doors,
            self._published,
            self._following,
            callers_revision=lambda: self._callers.revision,
            asked=self._asking_log.counts,
            budgets=self._budgets.accounts,
        )

    def _missing(self) -> list[str]:
        """Return why the follower is not ready."""
        return [] if self._health.serving else ["no index is served from, or what there is is too old"]
