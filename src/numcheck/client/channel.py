"""How a client reaches a node: in plaintext on loopback, or over TLS with a certificate or a token."""

from typing import NamedTuple

import grpc

from numcheck.hosts import goes_to_loopback


class Security(NamedTuple):
    """PEM of who issued the node's certificate, and of the client's own certificate with its key; or a bearer token.

    With none of it the connection is plaintext. `use_proxy`: whether the proxies of the environment (grpc_proxy,
    https_proxy, http_proxy, no_proxy) count for a node on another machine; for this one they never do.
    """

    authority: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: str | None = None
    use_proxy: bool = False


PLAINTEXT = Security()
# gRPC lets up to two minutes pass between attempts to connect, and meanwhile fails calls without trying.
OPTIONS = [("grpc.max_reconnect_backoff_ms", 5_000)]


def open_channel(target: str, security: Security = PLAINTEXT) -> grpc.Channel:
    """A channel to the node at `target`, host:port; nothing is connected yet."""
    by_proxy = security.use_proxy and not goes_to_loopback(target)
    options = [*OPTIONS, ("grpc.enable_http_proxy", int(by_proxy))]
    if security._replace(use_proxy=False) == PLAINTEXT:
        return grpc.insecure_channel(target, options)
    credentials = grpc.ssl_channel_credentials(security.authority, security.key, security.certificate)
    if security.token is not None:
        bearer = grpc.access_token_call_credentials(security.token)
        credentials = grpc.composite_channel_credentials(credentials, bearer)
    return grpc.secure_channel(target, credentials, options)
