"""The listener for whoever watches a node: /metrics for Prometheus, /healthz and /readyz for a kubelet or a balancer.

Plain HTTP, at any address, to anybody: nothing that it tells is personal, and it takes nothing in.
"""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
from prometheus_client.registry import Collector

from numcheck.config import Settings
from numcheck.door.plain_door import host_and_port
from numcheck.hosts import is_loopback, is_own_name
from numcheck.serving.plain_http import REQUEST_TIMEOUT_S, Server

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


class _Server(Server):
    """Answers whoever watches a node."""

    def __init__(self, host: str, port: int, handler: type[_Handler], missing: Missing) -> None:
        self.on_loopback, self.missing = is_loopback(host.strip("[]")), missing
        super().__init__(host, port, handler)


class MetricsListener:
    """Serves from construction to `stop`."""

    def __init__(self, settings: Settings, collector: Collector, missing: Missing) -> None:
        """Open the listener; BadListenAddress if that cannot be. Only where `metrics_listen` is set."""
        host, port = host_and_port(settings.metrics_listen or "", anywhere=True)
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        self._server = _Server(host, port, _Handler.factory(registry), missing)
        self._server.start("metrics")
        self.address = self._server.address

    def stop(self) -> None:
        """Close the listener. An answer under way is left to itself."""
        self._server.stop()
