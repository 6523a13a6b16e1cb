"""Sends the events of services to their webhooks: each event at least once, in order, and signed.

A body is a CloudEvent (https://cloudevents.io, version 1.0, structured mode), its signature that of Standard Webhooks.

Invariants: each webhook has a thread, a lease and a position of its own, so that a slow receiver harms nobody and one
node sends it at a time; an event is done when its receiver has answered 2xx, or has refused it REFUSALS_MAX times: then
it is a dead letter. An event whose receiver fails or is silent is sent again, later and later, for as long as that
lasts, and those behind it wait.
"""

import random
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

import structlog

from numcheck import spans
from numcheck.config import Settings
from numcheck.delivery.posting import SERVER_ERROR, SUCCESSES, Poster, Reply, retry_after
from numcheck.delivery.requests import as_json, signed
from numcheck.delivery.settings import WebhookSettings
from numcheck.errors import DeliveryFailed, StoreUnavailable
from numcheck.hosts import is_loopback
from numcheck.moments import microseconds, rfc3339
from numcheck.registrations.events import basis_of
from numcheck.registrations.history import History, Told
from numcheck.registrations.states import RegistrationState
from numcheck.serving.secret_files import check_names, read_signing_key
from numcheck.serving.sharing import Duty, Sharing
from numcheck.store.leases import Lease
from numcheck.store.webhooks import Webhooks
from numcheck.worker import Worker

log = structlog.get_logger()

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
POLL_INTERVAL_S = 1.0  # at which events of other nodes are seen
SAVE_INTERVAL = timedelta(seconds=5)  # at which a position is kept while there is much to send
PAUSE_S = 1.0  # before an event is sent again, up to; then twice as long each time,
PAUSE_MAX_S = 300.0  # up to this
REFUSALS_MAX = 5  # of one event; then it is passed over
PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
"""Statuses below 500 that say that the event may be sent again."""


class Outcome(NamedTuple):
    """The outcome of an attempt: its problem (empty: none), and whether the receiver refused the very event."""

    problem: str = ""
    refused: bool = False
    retry_after_s: float = 0.0


class Source(NamedTuple):
    """The source of events: an installation, by its id, its webhooks' positions and its history; and a clock."""

    installation_id: str
    webhooks: Webhooks
    history: History
    now: Callable[[], datetime]


class Webhook:
    """A webhook, sent until it is stopped."""

    def __init__(self, settings: WebhookSettings, key: bytes, source: Source, poster: Poster, duty: Duty) -> None:
        """`key` signs what the webhook gets; it is sent while `duty` is this node's."""
        self.service = settings.service
        self._settings, self._key, self._poster, self._duty = settings, key, poster, duty
        self._installation, self._webhooks, self._history, self._now = source
        self._lease: Lease | None = None  # under which the position was read or kept
        self._sequence = 0  # the position
        self._attempts = 0  # of the event that is next
        self._not_before = self._now()  # of the next attempt
        self._refused: list[tuple[int, str]] = []
        self._stopping = False
        self._worker = Worker(f"webhook {settings.name}", self._work, "a webhook's position cannot be kept")
        duty.on_taken = self.wake

    def start(self) -> None:
        """Begin; a new webhook gets what comes from now on, whenever it is sent."""
        name, from_start = self._settings.name, self._settings.from_start
        with suppress(StoreUnavailable):  # then it begins when it is sent first
            self._webhooks.begin(name, self.service, microseconds(self._now()), from_start=from_start)
        self._worker.start()

    def wake(self) -> None:
        """Say that there may be events; returns at once."""
        self._worker.wake()

    def stop(self) -> None:
        """End after the event under way."""
        self._stopping = True
        self._worker.stop()
        self._poster.close()

    def _work(self) -> float:
        """Send the events that there are, if that is this node's to do; return after how many seconds to look again."""
        self._duty.attempt(lambda: self._send_waiting(self._duty.lease()))
        return POLL_INTERVAL_S

    def _send_waiting(self, lease: Lease) -> None:
        if lease != self._lease:
            name, from_start, now_us = self._settings.name, self._settings.from_start, microseconds(self._now())
            self._sequence = self._webhooks.open(name, self.service, lease, now_us, from_start=from_start)
            self._lease, self._attempts, self._refused = lease, 0, []
        while self._now() >= self._not_before and not self._stopping:
            told = self._history.after(self.service, self._sequence)
            if not told:
                return
            self._save(lease, self._send_all(told))

    def _send_all(self, told: list[Told]) -> str:
        """Send events in order until one is not taken, and return its problem."""
        save_at = self._now() + SAVE_INTERVAL
        for one in told:
            if self._stopping or self._now() >= save_at or not self._duty.held:
                break
            with spans.work("webhook") as tell:
                outcome = self._send(one)
                tell(webhook=self._settings.name, attempt=self._attempts + 1, problem=outcome.problem)
            sequence = one.event.service_sequence
            self._attempts += bool(outcome.problem)
            if outcome.refused and self._attempts >= REFUSALS_MAX:
                log.error("an event was passed over", webhook=self._settings.name, sequence=sequence)
                self._refused.append((sequence, outcome.problem))
            elif outcome.problem:
                if self._attempts == 1:
                    log.warning("a webhook fails", webhook=self._settings.name, problem=outcome.problem)
                self._not_before = self._now() + self._pause(outcome)
                return outcome.problem
            self._sequence, self._attempts = sequence, 0
        return ""

    def _save(self, lease: Lease, problem: str) -> None:
        """Keep the position; LeaseLost if another node has taken over."""
        refused, self._refused = self._refused, []
        kept, self._lease = self._lease, None  # read from the store again, unless it is kept
        now_us = microseconds(self._now())
        self._webhooks.advance(self._settings.name, lease, self._sequence, problem, now_us, refused)
        self._lease = kept

    def _pause(self, outcome: Outcome) -> timedelta:
        longest_s = min(PAUSE_S * 2 ** min(self._attempts - 1, 10), PAUSE_MAX_S)
        return timedelta(seconds=min(max(random.uniform(0.5, 1) * longest_s, outcome.retry_after_s), PAUSE_MAX_S))

    def _send(self, one: Told) -> Outcome:
        event = one.event
        # With the hash: after a failover another event may come to the same place, and is another message.
        message_id = f"{self.service}/{event.service_sequence}/{event.hash[:8].hex()}"
        body = as_json(self._cloud_event(one, message_id))
        request = signed(self._settings.url, self._key, message_id, body, self._now(), CONTENT_TYPE)
        try:
            return self._outcome(self._poster.send(request))
        except DeliveryFailed as failure:
            return Outcome(f"the receiver {failure}")

    def _outcome(self, reply: Reply) -> Outcome:
        if reply.status in SUCCESSES:
            return Outcome()
        refused = reply.status < SERVER_ERROR and reply.status not in PASSING
        return Outcome(f"the receiver answered with status {reply.status}", refused, retry_after(reply, self._now()))

    def _cloud_event(self, one: Told, event_id: str) -> dict[str, Any]:
        """Return an event as WatchRegistrations has it, in the envelope of CloudEvents."""
        event, basis = one.event, basis_of(one.event.details)
        return {
            "specversion": "1.0",
            "id": event_id,
            "source": f"urn:numcheck:{self._installation}",
            "type": f"numcheck.registration.{event.kind}",
            "subject": event.registration_id.hex(),
            "time": rfc3339(event.at_us),
            "datacontenttype": "application/json",
            "data": {
                "sequence": event.service_sequence,
                "service": self.service,
                "registration_id": event.registration_id.hex(),
                "user_id": one.user_id or "",
                "kind": event.kind,
                "state": RegistrationState(event.state).name,
                "cause": basis.cause,
                "index_version": basis.index_version,
                "hash": event.hash.hex(),
            },
        }


class WebhookSenders:
    """The webhooks of a node."""

    def __init__(self, senders: Collection[Webhook] = ()) -> None:
        self.senders = senders

    def start(self) -> None:
        """Begin to send."""
        for sender in self.senders:
            sender.start()

    def notify(self, services: Collection[str]) -> None:
        """Say that there may be events of these services; returns at once."""
        for sender in self.senders:
            if sender.service in services:
                sender.wake()


def senders_of(settings: Settings, source: Source, sharing: Sharing) -> WebhookSenders:
    """Return the webhooks that the settings name; BadConfiguration if one cannot be."""
    keys = _keys(settings)
    return WebhookSenders(
        [
            Webhook(
                one,
                key,
                source,
                Poster(use_proxy=settings.use_proxy and not is_loopback(one.host)),
                sharing.duty(f"webhook {one.name}"),
            )
            for one, key in zip(settings.webhooks, keys, strict=True)
        ]
    )


def check_webhooks(settings: Settings) -> None:
    """Raise BadConfiguration if events cannot be sent by these settings; nothing is connected to."""
    _keys(settings)


def _keys(settings: Settings) -> list[bytes]:
    """Return the key of each webhook."""
    check_names("webhooks", settings.webhooks)
    return [read_signing_key(one.secret_file, f"webhooks.{one.name}.secret_file") for one in settings.webhooks]
