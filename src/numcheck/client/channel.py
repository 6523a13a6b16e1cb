"""Channels to a node: in plaintext on loopback, or over TLS with a certificate or a token."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Self, cast

import grpc
import grpc.aio

from numcheck.hosts import goes_to_loopback
from numcheck.nearby import TOKEN_NAME, default_data_dir, token_for


class Security(NamedTuple):
    """PEM of who issued the node's certificate, and of the client's own certificate with its key; or a bearer token.

    With none of it the connection is plaintext: then a node that cannot tell whose the connection is wants the token of
    its `data_dir`, which is found there; None: NUMCHECK_DATA_DIR, or var. `use_proxy`: whether the proxies of the
    environment (grpc_proxy, https_proxy, http_proxy, no_proxy) count for a node on another machine; for this one they
    never do.
    """

    authority: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: str | None = None
    use_proxy: bool = False
    data_dir: Path | None = None

    @property
    def is_plaintext(self) -> bool:
        """True if nothing of TLS is given."""
        return (self.authority, self.certificate, self.key, self.token) == (None, None, None, None)


PLAINTEXT = Security()
KINDS = frozenset({"unary_unary", "unary_stream", "stream_unary", "stream_stream"})  # of methods
CHECKS_AGAIN = {
    "name": [
        {"service": "numcheck.v1.CheckService", "method": method}
        for method in ("CheckNumber", "CheckNumbers", "CheckRecycled", "ListOperators")
    ],
    "retryPolicy": {
        "maxAttempts": 3,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 4,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}
"""Has gRPC repeat a check that met a node which is away or not ready: by another node, if there are several."""

OPTIONS = [
    # gRPC lets up to two minutes pass between attempts to connect, and meanwhile fails calls without trying.
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A node that is gone without a word is noticed within 80 s; nodes bear a ping every 30 s.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    (
        "grpc.service_config",
        json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [CHECKS_AGAIN]}),
    ),
]


def open_channel(target: str, security: Security = PLAINTEXT) -> grpc.Channel:
    """Return a channel to a node; nothing is connected yet.

    `target` is host:port, or names several nodes, which are asked in turn: dns:///host:port if the name has several
    addresses, or ipv4:address:port,address:port.
    """
    return cast(grpc.Channel, _open(grpc, target, security))


def open_aio_channel(target: str, security: Security = PLAINTEXT) -> grpc.aio.Channel:
    """Return the same for asyncio."""
    return cast(grpc.aio.Channel, _open(grpc.aio, target, security))


def _open(library: ModuleType, target: str, security: Security) -> Any:
    by_proxy = security.use_proxy and not goes_to_loopback(target)
    options = [*OPTIONS, ("grpc.enable_http_proxy", int(by_proxy))]
    if security.is_plaintext:
        channel = library.insecure_channel(target, options=options)
        return _ShowingToken(channel, target, security.data_dir or default_data_dir())
    credentials = grpc.ssl_channel_credentials(security.authority, security.key, security.certificate)
    if security.token is not None:
        bearer = grpc.access_token_call_credentials(security.token)
        credentials = grpc.composite_channel_credentials(credentials, bearer)
    return library.secure_channel(target, credentials, options=options)


class _ShowingToken:
    """A channel whose calls show the node its token, where there is one: a node that is started anew makes another.

    Not an interceptor of grpcio's: one makes each call slower, and a call on a closed channel ends the process.
    """

    def __init__(self, channel: grpc.Channel, target: str, data_dir: Path) -> None:
        self._channel, self._target, self._data_dir = channel, target, data_dir
        self._token_file = data_dir / TOKEN_NAME

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._channel.close()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._channel, name)
        return self._showing(found) if name in KINDS else found

    def _showing(self, make: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **options: _Showing(make(*arguments, **options), self._metadata)

    def _metadata(self) -> list[tuple[str, str]] | None:
        # Most nodes make no token, and this is looked for with each call.
        token = token_for(self._target, self._data_dir) if self._token_file.exists() else None
        return None if token is None else [("authorization", f"Bearer {token}")]


class _Showing:
    """A method of a channel, called with what `metadata` gives then."""

    def __init__(self, method: Any, metadata: Callable[[], list[tuple[str, str]] | None]) -> None:
        self._method, self._metadata = method, metadata

    def __call__(self, request: Any, **options: Any) -> Any:
        return self._method(request, metadata=self._metadata(), **options)

    def future(self, request: Any, **options: Any) -> Any:
        """As grpcio's methods have it."""
        return self._method.future(request, metadata=self._metadata(), **options)
