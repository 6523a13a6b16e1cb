"""Counts of a node, for Prometheus.

docs/metrics.md lists it; a test holds that page to this file. No label holds a number, or anything that a caller chose.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from google.rpc import code_pb2
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from numcheck.door.native_door import NativeDoor
from numcheck.door.plain_door import PlainDoor
from numcheck.errors import NumcheckError
from numcheck.index import PublishedIndex
from numcheck.serving.budgets import Account
from numcheck.serving.dispatch import Tally
from numcheck.serving.following import Following
from numcheck.serving.ledger import OutcomeTally
from numcheck.serving.sharing import Peer
from numcheck.serving.store_metrics import buckets_of, store_families
from numcheck.serving.store_watch import StoreWatch

if TYPE_CHECKING:
    from numcheck._edge import Counters

Door = PlainDoor | NativeDoor


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of a node beside its listeners. One that gives None, or raises a NumcheckError, is left out."""

    index_version: Callable[[], int | None]
    index_lag: Callable[[], int | None]
    """How many revisions the index is behind the store."""
    directory_age_s: Callable[[], float | None]
    """How long ago it was read who may call."""
    callers_refused: Callable[[], bool | None]
    """True if the set of callers in the store is refused."""
    callers_revision: Callable[[], int | None]
    """The revision of the callers that count."""
    smscs_linked: Callable[[], Mapping[str, bool]]
    """The SMSCs by name: True if the link is there over which codes leave."""
    asked: Callable[[], Mapping[str, int]]
    """How many numbers each caller asked about."""
    budgets: Callable[[], Sequence[Account]]
    """Callers that have a budget of new numbers."""
    witness_agrees: Callable[[], bool | None]
    """True if the chain of events has the newest head of the witness."""
    codes: Callable[[], Mapping[Tally, int]]
    """Count of codes by courier, channel and outcome."""
    receipts: Callable[[], Mapping[OutcomeTally, int]]
    """Count of delivery receipts by courier, operator and outcome."""
    judged: Callable[[], Mapping[OutcomeTally, int]]
    """Count of codes that came back or were lost, by courier and operator."""
    couriers_rest: Callable[[], Mapping[tuple[str, str], bool]]
    """The couriers by name and operator: True if one is passed over."""
    index_size: Callable[[], int | None]
    """Size of the index in bytes."""
    peers: Callable[[], Sequence[Peer]]
    """The nodes of a store that may have several."""
    replica_used: Callable[[], bool | None]
    """True while the standby for reads that may be behind is read; None without one."""
    node_count: Callable[[], int | None]
    """Number of nodes of the store that beat."""
    leases_held: Callable[[], Mapping[str, bool]]
    """Background work by name: True where it is this node's."""


class NodeCollector:
    """Reads what the listeners have counted, when it is asked."""

    def __init__(self, listeners: Sequence[Door], readings: Readings, watch: StoreWatch) -> None:
        """Read `listeners` whenever it is asked: they may come later."""
        self._listeners, self._readings, self._watch = listeners, readings, watch

    def collect(self) -> Iterator[Metric]:
        """Every family, each time of the same names."""
        yield from _of_doors(self._listeners)
        readings = self._readings
        yield _gauge("numcheck_index_version", "The index that answers", _try(readings.index_version))
        yield _gauge("numcheck_index_lag", "Revisions that the index is behind the store", _try(readings.index_lag))
        yield _gauge("numcheck_directory_age_seconds", "Since callers were read", _try(readings.directory_age_s))
        yield _gauge("numcheck_callers_refused", "Whether callers are refused", _try(readings.callers_refused))
        yield _gauge("numcheck_callers_revision", "Of the callers that count", _try(readings.callers_revision))
        yield _gauge("numcheck_witness_agrees", "Whether the chain has its head", _try(readings.witness_agrees))
        yield _gauge("numcheck_index_size_bytes", "Of the index that answers", _try(readings.index_size))
        yield from store_families(self._watch)
        yield _gauge("numcheck_replica_used", "Whether the standby for reads is read", readings.replica_used())
        yield _gauge("numcheck_nodes", "Nodes of the store that beat", readings.node_count())
        yield from _of_peers(readings.peers())
        held = {(name,): is_held for name, is_held in readings.leases_held().items()}
        yield _gauges("numcheck_lease_held", "True where background work is this node's", ("lease",), held)
        yield from _of_callers(readings.asked(), readings.budgets())
        yield _labelled("numcheck_codes", "Codes handed to couriers", Tally._fields, readings.codes())
        yield _labelled("numcheck_receipts", "Delivery receipts", OutcomeTally._fields, readings.receipts())
        yield _labelled(
            "numcheck_codes_judged", "Codes that came back, or not", OutcomeTally._fields, readings.judged()
        )
        linked = {(courier,): is_linked for courier, is_linked in readings.smscs_linked().items()}
        yield _gauges("numcheck_smsc_linked", "True if there is a link to the SMSC", ("courier",), linked)
        rests = readings.couriers_rest()
        yield _gauges("numcheck_courier_rests", "True if a courier is passed over", ("courier", "operator"), rests)


class FollowerCollector:
    """Reads what a follower has counted, when it is asked."""

    def __init__(
        self,
        listeners: Sequence[Door],
        published: PublishedIndex,
        following: Following,
        *,
        callers_revision: Callable[[], int],
        asked: Callable[[], Mapping[str, int]],
        budgets: Callable[[], Sequence[Account]],
    ) -> None:
        """Read `listeners` whenever it is asked: they may come later."""
        self._listeners, self._published, self._following = listeners, published, following
        self._callers_revision, self._asked, self._budgets = callers_revision, asked, budgets

    def collect(self) -> Iterator[Metric]:
        """Every family, each time of the same names."""
        yield from _of_doors(self._listeners)
        published, following = self._published, self._following
        yield _gauge("numcheck_index_version", "The index that answers", _try(lambda: published.get().index_version))
        yield _gauge("numcheck_index_size_bytes", "Of the index that answers", _try(lambda: published.get().size))
        yield _gauge("numcheck_index_lag", "Versions that the index is behind the newest told", following.lag)
        yield _gauge("numcheck_edition_age_seconds", "Since nothing was newer", following.age_s)
        yield _gauge("numcheck_callers_revision", "Of the callers that count", self._callers_revision())
        sources = {(one.name,): one.followed for one in following.states}
        yield _gauges("numcheck_source_followed", "True if a source tells of editions", ("source",), sources)
        yield from _of_callers(self._asked(), self._budgets())


def _of_peers(peers: Sequence[Peer]) -> Iterator[Metric]:
    """Give which index each node of the store answers from, and for how long nothing was heard of it."""
    versions = {(one.node.name,): one.node.index_version for one in peers if one.node.index_version is not None}
    silent = {(one.node.name,): one.silent_s for one in peers}
    yield _gauges("numcheck_node_index_version", "That a node of the store answers from", ("node",), versions)
    yield _gauges("numcheck_node_silent_seconds", "Since a beat of a node was seen", ("node",), silent)


def _of_doors(listeners: Sequence[Door]) -> Iterator[Metric]:
    """Give what the doors have counted, and the program."""
    loops = [counters for one in listeners if isinstance(one, NativeDoor) for counters in one.counters()]
    yield _calls(listeners, loops)
    yield _durations(loops)
    yield _waits(listeners, loops)
    yield _counter("numcheck_numbers", "Numbers in the batches that were answered", [one.numbers for one in loops])
    yield _gauge("numcheck_connections", "Connections that are open", sum(one.connections for one in loops))
    yield _counter("numcheck_connections_accepted", "Connections so far", [one.accepted for one in loops])
    yield _counter("numcheck_received_bytes", "Bytes from the sockets", [one.received for one in loops])
    yield _counter("numcheck_sent_bytes", "Bytes to the sockets", [one.sent for one in loops])
    yield _gauge("numcheck_held_bytes", "Memory of requests and answers", sum(one.held_size for one in loops))
    yield InfoMetricFamily("numcheck_build", "The program", {"version": version("numcheck")})


def _calls(listeners: Sequence[Door], loops: Sequence["Counters"]) -> Metric:
    family = CounterMetricFamily("numcheck_calls", "Calls that ended", labels=("door", "method", "code"))
    native: Counter[tuple[str, str]] = Counter()
    for counters in loops:
        native.update({(method, code_pb2.Code.Name(code)): n for (method, code), n in counters.calls.items()})
    api: Counter[tuple[str, str]] = Counter()
    for listener in listeners:
        if isinstance(listener, PlainDoor):
            api.update(listener.call_counts())
    for name, counts in (("native", native), ("plain", api)):
        for (method, code), value in sorted(counts.items()):
            family.add_metric((name, method, code), value)
    return family


def _durations(loops: Sequence["Counters"]) -> Metric:
    family = HistogramMetricFamily(
        "numcheck_call_duration_seconds", "From a call's headers to its status", labels=("method", "role")
    )
    for labels in sorted({key for one in loops for key in one.durations}):
        found = [one.durations[labels] for one in loops if labels in one.durations]
        counts = [sum(some) for some in zip(*(buckets for buckets, _ in found), strict=True)]
        family.add_metric(labels, buckets_of(loops[0].bounds_s, counts), sum(seconds for _, seconds in found))
    return family


def _waits(listeners: Sequence[Door], loops: Sequence["Counters"]) -> Metric:
    family = HistogramMetricFamily(
        "numcheck_call_wait_seconds", "Until a call that Python answers began", labels=("lane",)
    )
    for door in listeners:
        if isinstance(door, NativeDoor):
            for lane, (counts, seconds) in door.waits.items():
                family.add_metric((lane,), buckets_of(loops[0].bounds_s, counts), seconds)
    return family


def _of_callers(asked: Mapping[str, int], budgets: Sequence[Account]) -> Iterator[Metric]:
    """Give how many numbers callers asked about, and their budgets."""
    counts = {(caller,): count for caller, count in asked.items()}
    yield _labelled("numcheck_numbers_asked", "Numbers, by who asked", ("caller",), counts)
    yield from _of_budgets(budgets)


def _of_budgets(accounts: Sequence[Account]) -> Iterator[Metric]:
    """Give what callers may ask about in a day, what is left of it, and how often it did not suffice."""
    label = ("caller",)
    budgets = GaugeMetricFamily("numcheck_new_numbers_budget", "New numbers of a caller in a day", labels=label)
    left = GaugeMetricFamily("numcheck_new_numbers_left", "Of a caller's budget", labels=label)
    for one in accounts:
        budgets.add_metric((one.name,), one.budget)
        left.add_metric((one.name,), one.left)
    yield budgets
    yield left
    refused = {(one.name,): one.refused_count for one in accounts}
    yield _labelled("numcheck_new_numbers_refused", "Requests that a budget did not suffice for", label, refused)


def _counter(name: str, documentation: str, values: Sequence[int]) -> Metric:
    return CounterMetricFamily(name, documentation, value=sum(values))


def _labelled(name: str, documentation: str, labels: Sequence[str], values: Mapping[Any, int]) -> Metric:
    """Return a counter of values by tuples of their labels."""
    family = CounterMetricFamily(name, documentation, labels=labels)
    for key, count in sorted(values.items()):
        family.add_metric(key, count)
    return family


def _gauges(name: str, documentation: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    """Return a gauge of values by tuples of their labels."""
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
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
