"""The listener for HTTP gateways that report what became of their messages: /receipts/COURIER, on loopback.

Plain HTTP: what lets the world in, over TLS, is a proxy on this machine.

Invariants: nothing is read of a report that is not a gateway's own but its headers and BODY_SIZE_MAX bytes, and nobody
learns which couriers there are; no line of the log has anything that a report holds.
"""

import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

import structlog

from numcheck.config import Settings
from numcheck.delivery.callbacks import BadReport, Callback, Report
from numcheck.delivery.receipts import Reports
from numcheck.door.plain_door import host_and_port
from numcheck.serving.plain_http import REQUEST_TIMEOUT_S, Server

BODY_SIZE_MAX = 65_536
SIZE_DIGITS_MAX = 9  # of a Content-Length
COMPLAINT_INTERVAL_S = 60.0
PLACE = re.compile(r"/receipts/(?P<courier>[^/]+)(/(?P<secret>[^/]+))?")

log = structlog.get_logger()


class Desk(NamedTuple):
    """The reader of a courier's reports, and the taker of the receipts in them."""

    callback: Callback
    reports: Reports


class _Refusal(Exception):
    """The answer to a request that is not taken."""

    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """Takes one request, and closes the connection."""

    timeout = REQUEST_TIMEOUT_S
    server: "_Server"

    def do_POST(self) -> None:  # as http.server calls it
        """Take a report."""
        try:
            self._take()
        except _Refusal as refusal:
            self.server.complain(str(refusal))
            self.send_error(refusal.status, str(refusal))
        else:
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()

    do_GET = do_POST  # noqa: N815  # gateways that put all of it into the URL

    def _take(self) -> None:
        body = self._body()
        self.server.requested(self.request)
        path, _, query = self.path.partition("?")
        place = PLACE.fullmatch(path)
        if place is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "there is /receipts/COURIER")
        headers = {name.lower(): value for name, value in self.headers.items()}
        report, desk = Report(place["secret"] or "", query, headers, body), self.server.desks.get(place["courier"])
        if desk is None or not desk.callback.is_own(report):
            raise _Refusal(HTTPStatus.UNAUTHORIZED, "no courier reports so")
        try:
            receipts = desk.callback.receipts(report)
        except BadReport as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        for message_id, outcome in receipts:
            desk.reports.came(iter([message_id]), outcome)

    def _body(self) -> bytes:
        """Return the body of a request."""
        size = self.headers.get("Content-Length", "0" if self.command == "GET" else "")
        if "Transfer-Encoding" in self.headers or not size:
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "there is no Content-Length")
        if not (size.isascii() and size.isdecimal() and len(size) <= SIZE_DIGITS_MAX):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "the Content-Length is no size")
        if int(size) > BODY_SIZE_MAX:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a report has {BODY_SIZE_MAX} bytes at most")
        body = self.rfile.read(int(size))
        if len(body) < int(size):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "the request is cut off")
        return body

    def version_string(self) -> str:
        """Return what the header Server says: no version of anything."""
        return "numcheck"

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: a request's line may hold a secret."""


class _Server(Server):
    """Answers gateways."""

    def __init__(self, host: str, port: int, desks: Mapping[str, Desk]) -> None:
        self.desks, self._silent_until = desks, 0.0
        super().__init__(host, port, _Handler)

    def complain(self, problem: str) -> None:
        """Say now and then that reports are refused."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + COMPLAINT_INTERVAL_S
            log.warning("a report of a gateway was refused", problem=problem)


class ReceiptsListener:
    """Serves from construction to `stop`."""

    def __init__(self, settings: Settings, desks: Mapping[str, Desk]) -> None:
        """Open the listener; BadListenAddress if that cannot be. Only where `receipts_listen` is set."""
        host, port = host_and_port(settings.receipts_listen or "")
        self._server = _Server(host, port, desks)
        self._server.start("receipts")
        self.address = self._server.address

    def stop(self) -> None:
        """Close the listener. An answer under way is left to itself."""
        self._server.stop()
