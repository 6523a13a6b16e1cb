"""One figure: a load on a node, what came of it, and what was full meanwhile."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, NamedTuple

from numcheck.bench.generator import LACKING, load_on
from numcheck.bench.node import Node
from numcheck.bench.outcome import Outcome
from numcheck.bench.resources import Cores, Used, limit_of, read_counters

WARM_SHARE = 0.2  # of a figure's time, before it is measured
SHARES = (0.5, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Load:
    """How a method is asked."""

    method: str
    connections: int
    in_flight: int
    """Of a connection."""
    items: int = 1
    """Numbers, or rows, in a call."""
    rate: float = 0.0
    """Calls that are due in a second; 0: a closed loop."""
    by_python: bool = False
    writes: bool = False
    once: bool = False


class Question(NamedTuple):
    """A load at a place on a curve, for so long."""

    curve: str
    at: float
    load: Load
    seconds: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, with what it is limited by."""

    curve: str
    at: float
    """The place on the curve: its numbers a call, connections, and so on."""
    method: str
    items: int
    connections: int
    in_flight: int
    offered_per_s: float
    """0: a closed loop."""
    calls_per_s: float
    """Answered OK."""
    p50_s: float | None
    p99_s: float | None
    p999_s: float | None
    """None: so many calls were never answered."""
    failures: dict[str, int]
    node_cores: float | None
    """Cores that the node kept busy, on average; None: it is not of this machine."""
    client_cores: float
    others_cores: float | None
    disk_wait: float | None
    """Share of the time that somebody on this machine waited for the disk."""
    calls_per_core_s: float | None
    """Calls a second of the node's processor time: what one core would do that is busy with nothing else."""
    full: str
    """The part that was full: client, node, disk, others or nothing."""
    client: str
    """The generator: native, or plain."""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def measure(node: Node, curve: str, at: float, load: Load, bodies: Sequence[bytes], seconds: float) -> Figure:
    """Return the figure of a load over so many seconds, after a while of the same that is not counted.

    Bodies that can be sent once are not spent on that while.
    """
    asking = load_on(
        node.target, load.method, connections=load.connections, in_flight=load.in_flight, cores=node.cores.client
    )
    unconnected = load.connections - asking.connect()
    if not load.once:
        asking.run(bodies, WARM_SHARE * seconds, rate=load.rate)
    before = read_counters(node.pid)
    outcome = asking.run(bodies, seconds, rate=load.rate, once=load.once)
    used = Used.between(before, read_counters(node.pid), outcome.cpu_s)
    figure = figure_of(node.cores, Question(curve, at, load, seconds), outcome, used)
    return replace(figure, failures=figure.failures | {"connections": unconnected}) if unconnected else figure


def figure_of(cores: Cores, question: Question, outcome: Outcome, used: Used) -> Figure:
    """Return the figure of an outcome."""
    load = question.load
    # Bodies that can be sent once may run out before the time does.
    wall = min(question.seconds, outcome.wall_s) or question.seconds
    node_cpu_s = None if used.node is None else used.node * outcome.wall_s
    p50, p99, p999 = (_finite(outcome.percentile_s(share)) for share in SHARES)
    return Figure(
        curve=question.curve,
        at=question.at,
        method=load.method,
        items=load.items,
        connections=load.connections,
        in_flight=load.in_flight,
        offered_per_s=load.rate,
        calls_per_s=outcome.in_time / wall,
        p50_s=p50,
        p99_s=p99,
        p999_s=p999,
        failures=outcome.failures,
        node_cores=used.node,
        client_cores=used.client,
        others_cores=used.others,
        disk_wait=used.disk,
        calls_per_core_s=sum(outcome.statuses.values()) / node_cpu_s if node_cpu_s else None,
        full=limit_of(used, cores, by_python=load.by_python, writes=load.writes),
        client="native" if LACKING is None else "plain",
    )


def _finite(seconds: float) -> float | None:
    return seconds if isfinite(seconds) else None
