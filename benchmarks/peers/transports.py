"""Transports of the servers: plaintext, or TLS with a certificate on either side."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from numcheck.access import Caller, Role
from numcheck.bench.generator import Target
from numcheck.client.channel import Security
from numcheck.offline.authority import issue_client, issue_server, make_authority
from numcheck.serving.access import callers_of, installation_key
from numcheck.store import Store

WHO = Caller("numcheck://administrator", Role.ADMINISTRATOR)
NAMES = ("plaintext", "TLS")


class Transport(NamedTuple):
    """How a server speaks it: the settings of a node, the arguments of others; and what the client shows."""

    name: str
    node: Mapping[str, str] = {}
    server: Sequence[str] = ()
    """The server's certificate, its key, and the authority of the clients."""
    client: tuple[Path | None, Path | None, Path | None] = (None, None, None)
    """The server's authority; the client's certificate and its key."""

    def target(self, address: str, data_dir: Path | None = None) -> Target:
        """Return how a server is reached."""
        authority, certificate, key = (file.read_bytes() if file else None for file in self.client)
        shown = Security(authority, certificate, key, data_dir=data_dir)
        return Target(address, shown, self.client)


@contextmanager
def transport(name: str, data_dir: Path) -> Iterator[Transport]:
    """The transport; over TLS the store has a caller for the client's certificate."""
    if name == "plaintext":
        yield Transport(name)
        return
    with tempfile.TemporaryDirectory() as directory:
        yield _tls(Path(directory), data_dir)


def _tls(directory: Path, data_dir: Path) -> Transport:
    now = datetime.now(UTC)
    make_authority(directory, now=now)
    issue_server(directory, ["localhost", "127.0.0.1"], now=now)
    issue_client(directory, "client", WHO.uri, now=now)
    with Store(data_dir) as store:
        callers = callers_of(store, installation_key(store, data_dir))
        if all(known.caller.uri != WHO.uri for known in callers.all().callers):
            callers.add(WHO, now=now)
    authority, certificate, key = (str(directory / name) for name in ("authority.pem", "server.pem", "server.key"))
    return Transport(
        "TLS",
        node={
            "NUMCHECK_TLS_CERTIFICATE_FILE": certificate,
            "NUMCHECK_TLS_KEY_FILE": key,
            "NUMCHECK_TLS_CLIENT_AUTHORITY_FILE": authority,
        },
        server=(certificate, key, authority),
        client=(directory / "authority.pem", directory / "client.pem", directory / "client.key"),
    )
