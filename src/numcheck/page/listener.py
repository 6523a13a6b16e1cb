"""The page's listener: uvicorn with an event loop on a thread of its own, which waits for nothing but requests.

Invariants: beyond loopback it speaks TLS; a connection that sends no whole request within REQUEST_TIMEOUT_S is closed,
and so is one that takes nothing of an answer for ANSWER_TIMEOUT_S; there are CONNECTIONS_MAX at once, those included
whose handshake has not ended, and strangers' make way for others; the node's calls never run on its loop.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from numcheck.access import name_in
from numcheck.config import Settings
from numcheck.door.certificates import CertificateFiles
from numcheck.door.plain_door import probe_port
from numcheck.errors import BadConfiguration, BadListenAddress
from numcheck.page.app import Page, Parts
from numcheck.page.gate import CERTIFICATE, LET_IN
from numcheck.page.where import is_over_tls, page_address

CONNECTIONS_MAX = 64
REQUEST_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 60
LAST_WAIT_S = 1  # for answers under way when the node stops
BACKLOG = 128


class PageListener:
    """Serves from construction to `stop`."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        """Open the listener; BadListenAddress if that cannot be, BadConfiguration if a TLS file is bad."""
        host, port = page_address(settings)
        tls = is_over_tls(settings)
        self._context = _NewestContext(settings) if tls else None
        listening = _Listening(_opened(host, port))
        self.address = f"{host}:{listening.getsockname()[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.address}/"
        self._server = _Server(_config(Page(parts, tls=tls), self._context, listening))
        serve = self._server.serve_until_end
        self._thread = threading.Thread(target=serve, args=(listening,), name="page", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the listener and every connection, once what the page asks of the node is answered."""
        self._server.end()
        self._thread.join()
        if self._context is not None:
            self._context.stop()


class _Listening(socket.socket):
    """A listening socket that keeps CONNECTIONS_MAX connections, from their first moment on.

    For one more the oldest makes way that has no request under way of somebody who was let in; if all have one, the new
    one is closed.
    """

    def __init__(self, opened: socket.socket) -> None:
        super().__init__(fileno=opened.detach())
        self._connections: dict[Any, socket.socket] = {}
        self.busy: set[Any] = set()
        """The addresses of peers who were let in and have a request under way."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a new connection and its peer's address."""
        connection, peer = super().accept()
        self._connections = {one: other for one, other in self._connections.items() if other.fileno() >= 0}
        if len(self._connections) >= CONNECTIONS_MAX and not self._made_way():
            connection.close()
            raise ConnectionAbortedError
        self._connections[peer] = connection
        return connection, peer

    def _made_way(self) -> bool:
        oldest = next((peer for peer in self._connections if peer not in self.busy), None)
        if oldest is None:
            return False
        with suppress(OSError):  # it has gone
            self._connections.pop(oldest).shutdown(socket.SHUT_RDWR)
        return True


def _opened(host: str, port: int) -> socket.socket:
    probe_port(host, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise BadListenAddress(f"{host}:{port} cannot be listened on: {(error.strerror or '').lower()}") from None


def _config(page: Page, context: ssl.SSLContext | None, listening: _Listening) -> uvicorn.Config:
    """Return a configuration that logs nothing: a request's line is a stranger's, and failures are logged where they
    are answered."""
    config = uvicorn.Config(
        page.app(),
        http=partial(_Protocol, listening.busy),  # type: ignore[arg-type]  # it is called as a class is
        ws="none",
        lifespan="off",
        interface="asgi3",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE_TIMEOUT_S,
        timeout_graceful_shutdown=LAST_WAIT_S,
    )
    config.load()
    config.ssl = context
    return config


class _Server(uvicorn.Server):
    """A server that sleeps until it is ended; uvicorn's own looks ten times a second whether it is."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._began, self._ended = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve_until_end(self, listening: socket.socket) -> None:
        """Serve on this thread."""
        try:
            self.run([listening])
        finally:
            self._began.set()  # whoever ends it does not wait for what did not begin

    async def main_loop(self) -> None:
        """Wait for the end."""
        self._loop = asyncio.get_running_loop()
        self._began.set()
        await self._ended.wait()

    def end(self) -> None:
        """End it, from another thread."""
        self._began.wait()
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._ended.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection: whoever looks at the figures would never leave."""
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """A connection with a bound of time for each request, which knows its client's certificate."""

    def __init__(self, busy: set[Any], *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._busy = busy

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the certificate, and begin to wait for a request."""
        super().connection_made(transport)
        self._peer = transport.get_extra_info("peername")
        tls = transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        self.app = _knowing(self.app, certificate or b"", self._let_in)
        self._waiting: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._wait()

    def _let_in(self) -> None:
        self._busy.add(self._peer)

    def data_received(self, data: bytes) -> None:
        """Take what has come; what is not whole has a bound of time."""
        super().data_received(data)
        self._wait()

    def pause_writing(self) -> None:
        """Wait for the peer to take some of what was sent; whoever takes nothing is cut off."""
        super().pause_writing()
        self._taking = self.loop.call_later(ANSWER_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the peer takes what is sent."""
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        for one in (self._waiting, self._taking):
            if one is not None:
                one.cancel()
        self._busy.discard(self._peer)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Let others take the place."""
        self._busy.discard(self._peer)
        super().on_response_complete()

    def _wait(self) -> None:
        cycle: Any = self.cycle  # None before the first request
        is_whole = cycle is not None and not cycle.response_complete
        if is_whole and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        elif not is_whole and self._waiting is None:
            self._waiting = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.close)


def _knowing(app: Any, certificate: bytes, let_in: Callable[[], None]) -> Any:
    known = {CERTIFICATE: name_in(certificate) if certificate else "", LET_IN: let_in}

    async def named(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, **known}, receive, send)

    return named


class _NewestContext(ssl.SSLContext):
    """TLS by the node's files as they are now: each connection begins with those that were read last."""

    def __new__(cls, _settings: Settings) -> "_NewestContext":
        """Return a context of a server."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read()
        self._files = CertificateFiles(settings.tls_files, self._read)
        self.stop = self._files.stop

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Begin a connection."""
        return self._newest.wrap_bio(*arguments, **named)

    def _read(self) -> None:
        self._newest = _context_of(self._settings)


def _context_of(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key, authority = (
        settings.tls_certificate_file,
        settings.tls_key_file,
        settings.tls_client_authority_file,
    )
    try:
        context.load_cert_chain(certificate or Path(), key)
        if authority is not None:
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"a TLS file of the page cannot be used: {getattr(error, 'reason', error)}") from None
    return context
