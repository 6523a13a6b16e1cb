"""A node over mutual TLS, in the tests' own process, with an identity of each role."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc

from numcheck.access import Identity, Role
from numcheck.config import Settings
from numcheck.index import PublishedIndex, open_index
from numcheck.rpc.access import CallersIndex
from numcheck.rpc.watches import Watches
from numcheck.serving.access import DenialLog, access_to
from numcheck.serving.authority import issue_client, issue_server, make_authority
from numcheck.serving.listener import ApiListener
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.serving.registrations import identity_of
from numcheck.serving.services import check_service, identity_service, numbering_service
from numcheck.store import Store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 24, tzinfo=UTC)
FIRST = 79160000000
ALPHA, BETA = 1, 2
IDENTITIES = {
    "messenger": Identity("numcheck://service/chat", Role.MESSENGER, service="chat"),
    "alpha": Identity("numcheck://operator/alpha", Role.OPERATOR, operator_id=ALPHA),
    "beta": Identity("numcheck://operator/beta", Role.OPERATOR, operator_id=BETA),
    "house": Identity("numcheck://clearing-house", Role.CLEARING_HOUSE),
    "auditor": Identity("numcheck://auditor", Role.AUDITOR),
    "administrator": Identity("numcheck://administrator", Role.ADMINISTRATOR),
}


class Clock:
    """The monotonic time, as the test says it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class SecureNode:
    """The node's parts that tests look at."""

    directory: Path
    store: Store
    address: str
    clock: Clock
    watches: Watches
    publish: Callable[[], None]

    def channel(self, name: str | None, *, authority: str = "authority.pem", token: str | None = None) -> grpc.Channel:
        """A channel of the client of this name; None: without a certificate."""
        files = [self.directory / authority]
        files += [self.directory / f"{name}.{ending}" for ending in ("key", "pem")] if name else []
        credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        if token is not None:
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
        return grpc.secure_channel(self.address, credentials)


@contextmanager
def secure_node(directory: Path) -> Iterator[SecureNode]:
    """Serve a small plan over TLS; each identity has a certificate of its name."""
    certificates, clock = directory / "certificates", Clock()
    now = datetime.now(UTC)
    make_authority(certificates, now=now)
    issue_server(certificates, ["localhost", "127.0.0.1"], now=now)
    for name, identity in IDENTITIES.items():
        issue_client(certificates, name, identity.uri, now=now)
    settings = Settings(
        data_dir=directory / "data",
        api_listen="127.0.0.1:0",
        tls_certificate_file=certificates / "server.pem",
        tls_key_file=certificates / "server.key",
        tls_client_authority_file=certificates / "authority.pem",
    )
    with Store(settings.data_dir) as store:
        rows = row(916, 0, 19_999, "Альфа", "7740000076"), row(917, 0, 9_999, "Бета", "7701725181")
        store.import_plan(plan(*rows), source="rows.csv", now=NOW)
        for identity in IDENTITIES.values():
            store.add_identity(identity, now=NOW)
        published, denials = PublishedIndex(), DenialLog(store)

        def publish() -> None:
            rebuild_index(store, settings.data_dir)
            published.publish(open_index(index_directory(settings.data_dir)))

        publish()
        access = access_to(store, denials, settings.data_dir, clock=clock)
        watches = Watches(access.knows)
        identity = identity_of(store, published, settings, lambda _line: None, access.agreed)
        services = [
            check_service(CallersIndex(published, access.agreed), settings),
            numbering_service(store, published, settings, watches, changed=()),
            identity_service(store, settings),
            identity.service,
        ]
        listener = ApiListener(settings, services, watches, access)
        try:
            yield SecureNode(certificates, store, listener.address, clock, watches, publish)
        finally:
            identity.feeds.end()
            listener.stop(0)
            identity.feeds.close()
            denials.close()
