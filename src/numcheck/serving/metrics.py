"""What a node counts, for Prometheus: over HTTP, on loopback, where `metrics_listen` is set.

docs/metrics.md lists it; a test holds that page to this file. No label holds a number, or anything that a caller chose.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.rpc import code_pb2
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from numcheck.config import Settings
from numcheck.errors import BadListenAddress, NumcheckError
from numcheck.serving.check_listener import CheckListener
from numcheck.serving.listener import ApiListener, host_and_port, probe_port

if TYPE_CHECKING:
    from numcheck._edge import Counters


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
    smsc_linked: Callable[[], bool | None]
    """Whether the link is there over which codes leave."""
    codes: Callable[[], Mapping[str, int]]
    """How many codes there were, by their outcome."""


class NodeCollector:
    """Reads what the listeners have counted, when it is asked."""

    def __init__(self, listeners: Sequence[ApiListener | CheckListener], readings: Readings) -> None:
        self._apis = [one for one in listeners if isinstance(one, ApiListener)]
        self._natives = [one for one in listeners if isinstance(one, CheckListener)]
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
        yield _gauge("numcheck_directory_age_seconds", "Since identities were read", _try(readings.directory_age_s))
        yield _gauge("numcheck_callers_refused", "Whether callers are refused", _try(readings.callers_refused))
        yield self._codes()
        yield _gauge("numcheck_smsc_linked", "Whether there is a link to the SMSC", _try(readings.smsc_linked))

    def _codes(self) -> Metric:
        family = CounterMetricFamily("numcheck_codes", "Codes, by what became of them", labels=("outcome",))
        for outcome, value in sorted(self._readings.codes().items()):
            family.add_metric((outcome,), value)
        return family

    def _calls(self, loops: Sequence["Counters"]) -> Metric:
        family = CounterMetricFamily("numcheck_calls", "Calls that ended", labels=("listener", "method", "code"))
        native: Counter[tuple[str, str]] = Counter()
        for counters in loops:
            native.update({(method, code_pb2.Code.Name(code)): n for (method, code), n in counters.calls.items()})
        api: Counter[tuple[str, str]] = Counter()
        for listener in self._apis:
            api.update(listener.call_counts())
        for name, counts in (("native", native), ("api", api)):
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


class MetricsListener:
    """Serves /metrics from construction to `stop`."""

    def __init__(self, settings: Settings, collector: NodeCollector) -> None:
        """Open the listener; BadListenAddress if that cannot be. Only where `metrics_listen` is set."""
        host, port = host_and_port(settings.metrics_listen or "")
        registry = CollectorRegistry()
        registry.register(collector)
        probe_port(host, port)
        try:
            self._server, self._thread = start_http_server(port, host.strip("[]"), registry)
        except OSError as error:
            raise BadListenAddress(f"{host}:{port} cannot be listened on: {(error.strerror or '').lower()}") from None
        self.address = f"{host}:{self._server.server_port}"

    def stop(self, _drain_timeout_s: float = 0) -> None:
        """Close the listener, after the answer under way."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _counter(name: str, documentation: str, values: Sequence[int]) -> Metric:
    return CounterMetricFamily(name, documentation, value=sum(values))


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
