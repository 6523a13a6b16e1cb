"""How a client reaches a node: in plaintext on loopback, or over TLS with a certificate or a token."""

from typing import NamedTuple

import grpc


class Security(NamedTuple):
    """PEM of who issued the node's certificate, and of the client's own certificate with its key; or a bearer token.

    With none of it the connection is plaintext.
    """

    authority: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: str | None = None


PLAINTEXT = Security()
# gRPC lets up to two minutes pass between attempts to connect, and meanwhile fails calls without trying.
OPTIONS = [("grpc.max_reconnect_backoff_ms", 5_000)]


def open_channel(target: str, security: Security = PLAINTEXT) -> grpc.Channel:
    """A channel to the node at `target`, host:port; nothing is connected yet."""
    if security == PLAINTEXT:
        return grpc.insecure_channel(target, OPTIONS)
    credentials = grpc.ssl_channel_credentials(security.authority, security.key, security.certificate)
    if security.token is not None:
        bearer = grpc.access_token_call_credentials(security.token)
        credentials = grpc.composite_channel_credentials(credentials, bearer)
    return grpc.secure_channel(target, credentials, OPTIONS)
