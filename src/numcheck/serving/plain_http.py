"""A small listener over plain HTTP: a few requests at once, each within a bound of time.

Invariants: a request has REQUEST_TIMEOUT_S and one of REQUESTS_MAX places. If all are taken, the oldest peer that has
not sent its whole request is cut off for the new one, or else the oldest that has not taken its answer for
TAKEN_WITHIN_S: neither keeps anybody from being answered.
"""

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from numcheck.door.patience import Patience
from numcheck.door.plain_door import probe_port
from numcheck.errors import BadListenAddress

REQUESTS_MAX = 8  # at once
POLL_INTERVAL_S = 0.1  # at which it is looked whether the listener is to end
REQUEST_TIMEOUT_S = 5.0  # from the connection to the end of the answer
TAKEN_WITHIN_S = 0.5  # an answer, while others want its place
PLACE_TIMEOUT_S = 0.5  # in which a peer that was cut off gives its place back


class Server(ThreadingHTTPServer):
    """Answers a few at once, each within a bound."""

    daemon_threads = True
    block_on_close = False  # a thread lives no longer than its request may take
    # Connections that the system keeps until they are taken; of one too many it drops the first packet.
    request_queue_size = 128

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        """Listen; BadListenAddress if that cannot be."""
        self.host = host.strip("[]")
        self.address_family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._places, self._patience = threading.BoundedSemaphore(REQUESTS_MAX), Patience()
        self._unread: dict[Any, None] = {}  # connections with half a request at most, the oldest first
        self._answered: dict[Any, float] = {}  # the others, and since when
        probe_port(host, port)
        try:
            super().__init__((self.host, port), handler)
        except OSError as error:
            raise BadListenAddress(f"{host}:{port} cannot be listened on: {(error.strerror or '').lower()}") from None
        self.address = f"{host}:{self.server_port}"

    def start(self, name: str) -> None:
        """Begin to answer, on a thread of this name."""
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_INTERVAL_S,), name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the listener. An answer under way is left to itself."""
        self.shutdown()
        self.server_close()
        self._thread.join(REQUEST_TIMEOUT_S)

    def requested(self, request: Any) -> None:
        """Take note that a peer's whole request has come: it is answered, and has some time to take that."""
        self._unread.pop(request, None)
        self._answered[request] = time.monotonic()

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
            self._answered.pop(request, None)
            self._places.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Say nothing: a peer that went away is no fault of the node's."""

    def server_close(self) -> None:
        """Close the listener."""
        super().server_close()
        self._patience.close()

    def _has_place(self) -> bool:
        """Return True if the next connection has a place, for which another may be cut off."""
        if self._places.acquire(blocking=False):
            return True
        oldest = self._try_oldest()
        if oldest is None:
            return False
        for kept in (self._unread, self._answered):
            kept.pop(oldest, None)
        _cut_off(oldest)
        return self._places.acquire(timeout=PLACE_TIMEOUT_S)

    def _try_oldest(self) -> Any:
        """Return the oldest connection that keeps its place for itself; None if none does."""
        late = time.monotonic() - TAKEN_WITHIN_S
        slow = (one for one, since in list(self._answered.items()) if since < late)
        return next(iter(list(self._unread)), None) or next(slow, None)


def _cut_off(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has gone
        request.shutdown(socket.SHUT_RDWR)
