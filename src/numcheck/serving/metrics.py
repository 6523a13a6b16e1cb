"""What a node counts, for Prometheus: over HTTP, on loopback, where `metrics_listen` is set.

docs/metrics.md lists it; a test holds that page to this file. No label holds a number, or anything that a caller chose.
"""

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from google.rpc import code_pb2
from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from numcheck.config import Settings
from numcheck.door.native_door import NativeDoor
from numcheck.door.patience import Patience
from numcheck.door.plain_door import PlainDoor, host_and_port, probe_port
from numcheck.errors import BadListenAddress, NumcheckError
from numcheck.hosts import is_loopback
from numcheck.serving.dispatch import Tally

if TYPE_CHECKING:
    from numcheck._edge import Counters

SCRAPES_MAX = 8  # at once; one more is closed
POLL_INTERVAL_S = 0.1  # at which it is looked whether the listener is to end
REQUEST_TIMEOUT_S = 5.0  # from the connection to the end of the answer


@dataclass(frozen=True, slots=True)
class Readings:
    """What is read of a node beside its listeners. What gives None, or raises a NumcheckError, is left out."""

    index_version: Callable[[], int | None]
    index_lag: Callable[[], int | None]
    """How many revisions the index is behind the store."""
    directory_age_s: Callable[[], float | None]
    """How long ago it was read who may call."""
    callers_refused: Callable[[], bool | None]
    """Whether the set of callers in the store is refused."""
    callers_revision: Callable[[], int | None]
    """The revision of the callers that count."""
    smscs_linked: Callable[[], Mapping[str, bool]]
    """The SMSCs by name: True if the link is there over which codes leave."""
    asked: Callable[[], Mapping[str, int]]
    """How many numbers each caller asked about."""
    codes: Callable[[], Mapping[Tally, int]]
    """Count of codes by courier, channel and outcome."""
    receipts: Callable[[], Mapping[tuple[str, str], int]]
    """Count of delivery receipts by courier and outcome."""


class NodeCollector:
    """Reads what the listeners have counted, when it is asked."""

    def __init__(self, listeners: Sequence[PlainDoor | NativeDoor], readings: Readings) -> None:
        self._apis = [one for one in listeners if isinstance(one, PlainDoor)]
        self._natives = [one for one in listeners if isinstance(one, NativeDoor)]
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        """Every family, each time of the same names."""
        loops = [counters for native in self._natives for counters in native.counters()]
        yield self._calls(loops)
        yield self._durations(loops)
        yield _counter("numcheck_numbers", "Numbers in the batches that were answered", [one.numbers for one in loops])
        yield _gauge("numcheck_connections", "Connections that are open", sum(one.connections for one in loops))
        yield _counter("numcheck_connections_accepted", "Connections so far", [one.accepted for one in loops])
        yield _counter("numcheck_received_bytes", "Bytes from the sockets", [one.received for one in loops])
        yield _counter("numcheck_sent_bytes", "Bytes to the sockets", [one.sent for one in loops])
        yield _gauge("numcheck_held_bytes", "Memory of requests and answers", sum(one.held_size for one in loops))
        readings = self._readings
        yield _gauge("numcheck_index_version", "The index that answers", _try(readings.index_version))
        yield _gauge("numcheck_index_lag", "Revisions that the index is behind the store", _try(readings.index_lag))
        yield _gauge("numcheck_directory_age_seconds", "Since callers were read", _try(readings.directory_age_s))
        yield _gauge("numcheck_callers_refused", "Whether callers are refused", _try(readings.callers_refused))
        yield _gauge("numcheck_callers_revision", "Of the callers that count", _try(readings.callers_revision))
        asked = {(caller,): count for caller, count in readings.asked().items()}
        yield _labelled("numcheck_numbers_asked", "Numbers, by who asked", ("caller",), asked)
        yield _labelled("numcheck_codes", "Codes handed to couriers", Tally._fields, readings.codes())
        yield _labelled("numcheck_receipts", "Delivery receipts", ("courier", "outcome"), readings.receipts())
        linked = GaugeMetricFamily("numcheck_smsc_linked", "True if there is a link to the SMSC", labels=("courier",))
        for courier, is_linked in readings.smscs_linked().items():
            linked.add_metric((courier,), is_linked)
        yield linked

    def _calls(self, loops: Sequence["Counters"]) -> Metric:
        family = CounterMetricFamily("numcheck_calls", "Calls that ended", labels=("door", "method", "code"))
        native: Counter[tuple[str, str]] = Counter()
        for counters in loops:
            native.update({(method, code_pb2.Code.Name(code)): n for (method, code), n in counters.calls.items()})
        api: Counter[tuple[str, str]] = Counter()
        for listener in self._apis:
            api.update(listener.call_counts())
        for name, counts in (("native", native), ("plain", api)):
            for (method, code), value in sorted(counts.items()):
                family.add_metric((name, method, code), value)
        return family

    def _durations(self, loops: Sequence["Counters"]) -> Metric:
        family = HistogramMetricFamily(
            "numcheck_call_duration_seconds", "From a call's headers to its status", labels=("method",)
        )
        for method in sorted({method for one in loops for method in one.durations}):
            found = [one.durations[method] for one in loops if method in one.durations]
            total, buckets = 0, []
            for bound, *counts in zip(loops[0].bounds_s, *(buckets for buckets, _ in found), strict=True):
                total += sum(counts)
                buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
            family.add_metric((method,), buckets, sum(seconds for _, seconds in found))
        return family


class _Handler(MetricsHandler):
    """Answers one request, and closes the connection."""

    timeout = REQUEST_TIMEOUT_S

    def parse_request(self) -> bool:
        """Refuse a request for another host: a web page may have a name of its own lead to this address."""
        if not super().parse_request():
            return False
        if is_own_name(self.headers.get("Host", "")):
            return True
        self.send_error(HTTPStatus.FORBIDDEN, "this is not the host that was asked for")
        return False


class _Server(ThreadingHTTPServer):
    """Answers a few at once, each within a bound; a connection that is one too many is closed."""

    daemon_threads = True
    request_queue_size = (
        128  # connections that the system keeps until they are taken; of one too many it drops the first packet
    )

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._places, self._patience = threading.BoundedSemaphore(SCRAPES_MAX), Patience()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread, if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer; a peer that takes too long about it, however busily, is cut off."""
        try:
            with self._patience.at_most(REQUEST_TIMEOUT_S, lambda: _cut_off(request)):
                super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Say nothing: a peer that went away is no fault of the node's."""

    def server_close(self) -> None:
        """Close the listener."""
        super().server_close()
        self._patience.close()


def _cut_off(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has gone
        request.shutdown(socket.SHUT_RDWR)


class MetricsListener:
    """Serves /metrics from construction to `stop`."""

    def __init__(self, settings: Settings, collector: NodeCollector) -> None:
        """Open the listener; BadListenAddress if that cannot be. Only where `metrics_listen` is set."""
        host, port = host_and_port(settings.metrics_listen or "")
        registry = CollectorRegistry()
        registry.register(collector)
        probe_port(host, port)
        try:
            self._server = _Server((host.strip("[]"), port), _Handler.factory(registry))
        except OSError as error:
            raise BadListenAddress(f"{host}:{port} cannot be listened on: {(error.strerror or '').lower()}") from None
        self._server.block_on_close = False  # a thread lives no longer than its request may take
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_INTERVAL_S,), name="metrics", daemon=True
        )
        self._thread.start()
        self.address = f"{host}:{self._server.server_port}"

    def stop(self, _drain_timeout_s: float = 0) -> None:
        """Close the listener. An answer under way is left to itself."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(REQUEST_TIMEOUT_S)


def is_own_name(host: str) -> bool:
    """Return True if a request's Host, with or without a port, is `localhost` or an address of loopback."""
    name, _, port = host.rpartition(":")
    return is_loopback(name if name and port.isdecimal() else host)


def _counter(name: str, documentation: str, values: Sequence[int]) -> Metric:
    return CounterMetricFamily(name, documentation, value=sum(values))


def _labelled(name: str, documentation: str, labels: Sequence[str], values: Mapping[Any, int]) -> Metric:
    """Return a counter of values by tuples of their labels."""
    family = CounterMetricFamily(name, documentation, labels=labels)
    for key, count in sorted(values.items()):
        family.add_metric(key, count)
    return family


def _gauge(name: str, documentation: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(name, documentation)
    if value is not None:
        family.add_metric((), value)
    return family


def _try(read: Callable[[], float | None]) -> float | None:
    try:
        return read()
    except NumcheckError:
        return None
