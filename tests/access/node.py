"""A node over mutual TLS, in the tests' own process, with a caller of each role."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from sqlalchemy import delete

from numcheck.access import Caller, Role
from numcheck.api.access import CallersIndex
from numcheck.api.asking import NumbersAsked
from numcheck.api.editions import EditionService
from numcheck.api.identifications import WatchIdentifications
from numcheck.config import Settings
from numcheck.door.native_door import LACKING, NativeDoor, Served
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import PublishedIndex, open_index
from numcheck.offline.authority import issue_client, issue_server, make_authority
from numcheck.serving.access import AccessControl
from numcheck.serving.budgets import Budgets
from numcheck.serving.editions import Contents, NodeEditions
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.serving.registrations import OfCallers, registrations_of
from numcheck.serving.services import callers_service, check_service, numbering_service
from numcheck.store import Store
from numcheck.store.schema import denials
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 24, tzinfo=UTC)
FIRST = 79160000000
ALPHA, BETA = 1, 2
CALLERS = {
    "messenger": Caller("numcheck://service/chat", Role.MESSENGER, service="chat"),
    "other": Caller("numcheck://service/other", Role.MESSENGER, service="other"),
    "alpha": Caller("numcheck://operator/alpha", Role.OPERATOR, operator_id=ALPHA),
    "beta": Caller("numcheck://operator/beta", Role.OPERATOR, operator_id=BETA),
    "house": Caller("numcheck://clearing-house", Role.CLEARING_HOUSE),
    "auditor": Caller("numcheck://auditor", Role.AUDITOR),
    "administrator": Caller("numcheck://administrator", Role.ADMINISTRATOR),
    "follower": Caller("numcheck://follower", Role.FOLLOWER),
}


@dataclass
class SecureNode:
    """The node's parts that tests look at."""

    directory: Path
    store: Store
    addresses: dict[str, str]
    control: AccessControl
    publish: Callable[[], None]
    asked: dict[str, Callable[[], Counter[str]]]
    """How many numbers each caller asked about, by listener."""
    budgets: Budgets

    def channel(
        self,
        name: str | None,
        *,
        authority: str = "authority.pem",
        token: str | None = None,
        listener: str = "api",
    ) -> grpc.Channel:
        """A channel of the client of this name; None: without a certificate. A connection of its own."""
        files = [self.directory / authority]
        files += [self.directory / f"{name}.{ending}" for ending in ("key", "pem")] if name else []
        credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        if token is not None:
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(self.addresses[listener], credentials, options=options)

    def forget_denials(self) -> None:
        """Keep none of those so far: a caller's and an address' oldest go where they are too many."""
        self.control.denials.flush()
        with self.store._database.writing() as connection:
            connection.execute(delete(denials))

    def denied(self) -> int:
        """How many calls were denied so far."""
        self.control.denials.flush()
        return sum(one.count for one in self.store.last_denials(10_000))


@contextmanager
def secure_node(
    directory: Path,
    *,
    url: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    **changes: Any,
) -> Iterator[SecureNode]:
    """Serve a small plan over TLS on each door; each caller has a certificate of its name. `now` is the clock of
    budgets."""
    certificates = directory / "certificates"
    today = datetime.now(UTC)
    make_authority(certificates, now=today)
    issue_server(certificates, ["localhost", "127.0.0.1"], now=today)
    for name, caller in CALLERS.items():
        issue_client(certificates, name, caller.uri, now=today)
    settings = Settings(
        **{
            "data_dir": directory / "data",
            "listen": "127.0.0.1:0",
            "tls_certificate_file": certificates / "server.pem",
            "tls_key_file": certificates / "server.key",
            "tls_client_authority_file": certificates / "authority.pem",
            "verification_methods": "operator,attested",
            "attesting_authorities": "bank",
            **changes,
        }
    )
    with Store(settings.data_dir, url=url) as store:
        rows = row(916, 0, 19_999, "Альфа", "7740000076"), row(917, 0, 9_999, "Бета", "7701725181")
        store.import_plan(plan(*rows), source="rows.csv", now=NOW)
        control = AccessControl(store, settings.data_dir)
        for caller in CALLERS.values():
            control.callers.add(caller, now=NOW)
        control.directory.refresh()
        with _served(store, control, settings, now) as (addresses, publish, asked, budgets):
            yield SecureNode(certificates, store, addresses, control, publish, asked, budgets)
        control.close()


@contextmanager
def _served(
    store: Store, control: AccessControl, settings: Settings, now: Callable[[], datetime]
) -> Iterator[tuple[dict[str, str], Callable[[], None], dict[str, Callable[[], Counter[str]]], Budgets]]:
    asked = NumbersAsked()
    published, watches = PublishedIndex(), Watches(access_interval_s=0.1)

    def publish() -> None:
        rebuild_index(store, settings.data_dir)
        published.publish(open_index(index_directory(settings.data_dir)))

    registrations = registrations_of(
        store, published, settings, print, OfCallers(control.directory.agreed, asked.add), print
    )
    budgets = Budgets(store.budgets(), registrations.vault, settings, now=now)
    contents = Contents(
        index_directory(settings.data_dir), lambda: control.directory.published(control.key), lambda: datetime.now(UTC)
    )
    editions = NodeEditions(published, contents, registrations.signing_key, changed=watches.notify, publish_dir=None)
    control.directory.subscribe(editions.wake)
    services = [
        check_service(CallersIndex(published, control.access.agreed), settings, asked.add, budgets.spend),
        numbering_service(
            store,
            published,
            settings,
            watches,
            changed=(),
            identifications=WatchIdentifications(registrations.identifications, control.directory.identifying),
        ),
        callers_service(control.callers, control.key, changed=control.directory.refresh),
        registrations.service,
        registrations.audit,
        EditionService(editions),
    ]
    api = PlainDoor(
        settings, services, watches, control.access, feeds=registrations.feeds, allowance_of=budgets.allowance_of
    )
    served = Served(services, watches, registrations.feeds)
    native = None
    if LACKING is None:
        native = NativeDoor(settings, published, control.access, served, allowance_of=budgets.allowance_of)
    publish()  # the native door takes what is published from its start on
    addresses, counts = {"api": api.address}, {"api": asked.counts}
    if native is not None:
        addresses["native"], counts["native"] = native.address, native.asked
    try:
        for one in filter(None, (api, native)):
            one.set_serving(serving=True)
        yield addresses, publish, counts, budgets
    finally:
        registrations.feeds.end()
        api.stop(0)
        if native is not None:
            native.stop(0)
        budgets.stop()
        editions.stop()
        registrations.feeds.close()
