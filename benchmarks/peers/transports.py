"""Transports of the servers: plaintext, or TLS with a certificate on either side."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.build import CannotBuild, client_certificate
from numcheck.access import Caller, Role
from numcheck.offline.authority import issue_client, issue_server, make_authority
from numcheck.serving.access import callers_of, installation_key
from numcheck.store import Store

WHO = Caller("numcheck://administrator", Role.ADMINISTRATOR)
NAMES = ("plaintext", "TLS")


class Missing(Exception):
    """Something that a peer needs is not installed; the text says what."""


class Transport(NamedTuple):
    """How each program speaks it: h2load's scheme and environment, arguments of the others, and the node's settings."""

    name: str
    scheme: str
    node: Mapping[str, str] = {}
    nghttpd: Sequence[str] = ("--no-tls",)
    nghttpd_files: Sequence[str] = ()
    grpc_cpp: Sequence[str] = ()
    curl: Sequence[str] = ("--http2-prior-knowledge",)
    h2load: Mapping[str, str] = {}


@contextmanager
def transport(name: str, data_dir: Path) -> Iterator[Transport]:
    """The transport; over TLS the store has a caller for the client's certificate. Missing if it cannot be made."""
    if name == "plaintext":
        yield Transport(name, "http")
        return
    with tempfile.TemporaryDirectory() as directory:
        yield _tls(Path(directory), data_dir)


def _tls(directory: Path, data_dir: Path) -> Transport:
    try:
        preload = client_certificate()
    except CannotBuild as error:
        raise Missing(str(error)) from error
    now = datetime.now(UTC)
    make_authority(directory, now=now)
    issue_server(directory, ["localhost", "127.0.0.1"], now=now)
    issue_client(directory, "client", WHO.uri, now=now)
    with Store(data_dir) as store:
        callers = callers_of(store, installation_key(store, data_dir))
        if all(known.caller.uri != WHO.uri for known in callers.all().callers):
            callers.add(WHO, now=now)
    authority, certificate, key = (str(directory / name) for name in ("authority.pem", "server.pem", "server.key"))
    own_certificate, own_key = (str(directory / name) for name in ("client.pem", "client.key"))
    return Transport(
        "TLS",
        "https",
        node={
            "NUMCHECK_TLS_CERTIFICATE_FILE": certificate,
            "NUMCHECK_TLS_KEY_FILE": key,
            "NUMCHECK_TLS_CLIENT_AUTHORITY_FILE": authority,
        },
        nghttpd=(),
        nghttpd_files=(key, certificate),
        grpc_cpp=(certificate, key, authority),
        curl=("--http2", "--cacert", authority, "--cert", own_certificate, "--key", own_key),
        h2load={"LD_PRELOAD": str(preload), "CLIENT_CERTIFICATE": own_certificate, "CLIENT_KEY": own_key},
    )
