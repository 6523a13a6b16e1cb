"""The listener for whoever watches a node: /metrics for Prometheus, /healthz and /readyz for a kubelet or a balancer.

Plain HTTP, at any address, to anybody: nothing that it tells is personal, and it takes nothing in.

Invariants: a request has REQUEST_TIMEOUT_S and one of REQUESTS_MAX places. If all are taken, the oldest peer that has
not sent its whole request is cut off for the new one: half requests keep no probe from being answered.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
from prometheus_client.registry import Collector

from numcheck.config import Settings
from numcheck.door.patience import Patience
from numcheck.door.plain_door import host_and_port, probe_port
from numcheck.errors import BadListenAddress
from numcheck.hosts import is_loopback

REQUESTS_MAX = 8  # at once
POLL_INTERVAL_S = 0.1  # at which it is looked whether the listener is to end
REQUEST_TIMEOUT_S = 5.0  # from the connection to the end of the answer
PLACE_TIMEOUT_S = 0.5  # in which a peer that was cut off gives its place back

Missing = Callable[[], list[str]]
"""Returns what a node that is not ready lacks; nothing: it is ready."""


class _Handler(MetricsHandler):
    """Answers one request, and closes the connection."""

    timeout = REQUEST_TIMEOUT_S
    server: "_Server"

    def parse_request(self) -> bool:
        """Refuse a request on loopback for another host: a web page may have a name of its own lead there."""
        if not super().parse_request():  # which reads all of the headers
            return False
        self.server.requested(self.request)
        if not self.server.on_loopback or is_own_name(self.headers.get("Host", "")):
            return True
        self.send_error(HTTPStatus.FORBIDDEN, "this is not the host that was asked for")
        return False

    def do_GET(self) -> None:  # noqa: N802  # as http.server calls it
        """Answer what there is at a path."""
        path = urlsplit(self.path).path
        if path == "/metrics":
            super().do_GET()
        elif path == "/healthz":
            self._say(HTTPStatus.OK, "alive")
        elif path == "/readyz":
            missing = self.server.missing()
            status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
            self._say(status, "; ".join(missing) or "ready")
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz")

    def version_string(self) -> str:
        """Return what the header Server says: no version of anything."""
        return "numcheck"

    def _say(self, status: HTTPStatus, line: str) -> None:
        body = f"{line}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    """Answers a few at once, each within a bound."""

    daemon_threads = True
    block_on_close = False  # a thread lives no longer than its request may take
    # Connections that the system keeps until they are taken; of one too many it drops the first packet.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[_Handler], missing: Missing) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.on_loopback, self.missing = is_loopback(address[0]), missing
        self._places, self._patience = threading.BoundedSemaphore(REQUESTS_MAX), Patience()
        self._unread: dict[Any, None] = {}  # connections with half a request at most, the oldest first
        super().__init__(address, handler)

    def requested(self, request: Any) -> None:
        """Take note that a peer's whole request has come: it is answered, and no more cut off for others."""
        self._unread.pop(request, None)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread, if there is a place."""
        if self._has_place():
            self._unread[request] = None
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer; a peer that takes too long about it, however busily, is cut off."""
        try:
            with self._patience.at_most(REQUEST_TIMEOUT_S, lambda: _cut_off(request)):
                super().process_request_thread(request, client_address)
        finally:
            self._unread.pop(request, None)
            self._places.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Say nothing: a peer that went away is no fault of the node's."""

    def server_close(self) -> None:
        """Close the listener."""
        super().server_close()
        self._patience.close()

    def _has_place(self) -> bool:
        """Return True if the next connection has a place; the oldest half request is cut off for it."""
        if self._places.acquire(blocking=False):
            return True
        oldest = next(iter(list(self._unread)), None)
        if oldest is None:
            return False
        self._unread.pop(oldest, None)
        _cut_off(oldest)
        return self._places.acquire(timeout=PLACE_TIMEOUT_S)


def _cut_off(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has gone
        request.shutdown(socket.SHUT_RDWR)


class MetricsListener:
    """Serves from construction to `stop`."""

    def __init__(self, settings: Settings, collector: Collector, missing: Missing) -> None:
        """Open the listener; BadListenAddress if that cannot be. Only where `metrics_listen` is set."""
        host, port = host_and_port(settings.metrics_listen or "", anywhere=True)
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        probe_port(host, port)
        try:
            self._server = _Server((host.strip("[]"), port), _Handler.factory(registry), missing)
        except OSError as error:
            raise BadListenAddress(f"{host}:{port} cannot be listened on: {(error.strerror or '').lower()}") from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_INTERVAL_S,), name="metrics", daemon=True
        )
        self._thread.start()
        self.address = f"{host}:{self._server.server_port}"

    def stop(self) -> None:
        """Close the listener. An answer under way is left to itself."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(REQUEST_TIMEOUT_S)


def is_own_name(host: str) -> bool:
    """Return True if a request's Host, with or without a port, is `localhost` or an address of loopback."""
    name, _, port = host.rpartition(":")
    return is_loopback(name if name and port.isdecimal() else host)
