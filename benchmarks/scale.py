"""Question: which resource is full first where 100 million users are, at what size, and what does it cost?

`make scale` simulates nodes that register users in one chain of events of one PostgreSQL, call by call, and computes
what the rest needs; it prints the tables of docs/scale.md and writes its plots. Costs are measured, each with its
source below; what is measured with nodes (bench_nodes.py) stands beside what is simulated of them.

A node takes the calls that wait, up to 256, for one transaction: it locks the chain's head, writes, commits, and lets
go of the head; then it waits until its commit is durable, and answers. The head is one node's at a time, first come,
first served.
"""

import argparse
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from numcheck.bench.charts import Axis, Series, bars, line_chart
from numcheck.bench.report import STYLE

FIGURES = Path(__file__).parents[1] / "docs/figures"
GROUP_MAX = 256  # store/groups.py
BUSY = 0.6  # of what a resource has: beyond it, waiting grows faster than load

# Seconds of processor time, of Python and of PostgreSQL's process, from the lock of the head to the commit: fixed, and
# of each registration. 2026-11-28, groups of 8 to 256, on a machine that was busy with other work.
HEAD_FIXED_S, HEAD_S = 2.4e-3, 171e-6
NODE_S = 65e-6  # of a registration beside its transaction: the door, the rules, sealing
DATABASE_S = 55e-6  # of HEAD_S, in PostgreSQL's process
COMMIT_S = 10e-3  # a standby that is some hundred kilometres away
CHECKS_PER_CORE = 425_000  # calls of one number: docs/figures/capacity.json
STORE_BYTES = 1_630  # of a registration with its events and their indices: the same, 18,000 registrations
INDEX_BYTES = 42.3e6  # 285 million active numbers: docs/performance.md
DELTA_BYTES = 3.4e6  # that a follower fetches after a push of 1,000 numbers at random
PUSHES_PER_S = 1.0
REFRESHES_A_YEAR = 1.0
YEAR_S = 365.25 * 86_400
CORE_HOUR, GIBIBYTE_MONTH, MEMORY_GIBIBYTE_MONTH = (
    0.04,
    0.10,
    3.0,
)  # of money: what a cloud asks for, as an order of size
HOURS_A_MONTH = 730

MEASURED = {  # bench_nodes.py, 2026-11-28: nodes, calls in flight on each: registrations a second
    (1, 8): 286,
    (4, 8): 692,
    (1, 16): 397,
    (4, 16): 1_149,
}


@dataclass
class Node:
    """A node of the simulation: calls that wait, by when they came, and the group that is under way."""

    waiting: deque[float] = field(default_factory=deque)
    group: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    """The outcome of a simulation: what was answered in it, and how much of the time the head was held."""

    rate: float
    waits_s: list[float]
    head_busy: float

    def percentile_s(self, share: float) -> float:
        """Return how long that share of the calls took at most."""
        return sorted(self.waits_s)[int(share * (len(self.waits_s) - 1))]


class Simulation:
    """Nodes and the head of their chain. Calls come at a rate, or so many are in flight on each node."""

    def __init__(self, nodes: int, *, rate: float = 0.0, in_flight: int = 0, commit_s: float = COMMIT_S) -> None:
        self._nodes, self._rate, self._in_flight = [Node() for _ in range(nodes)], rate, in_flight
        self._commit_s, self._chance = commit_s, random.Random(1)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self._queue: deque[Node] = deque()  # for the head
        self._holder: Node | None = None
        self._held_s = 0.0
        self._waits_s: list[float] = []

    def run(self, seconds: float) -> Outcome:
        """Let so much time pass."""
        if self._rate:
            self._at(self._chance.expovariate(self._rate), self._arrive)
        for node in self._nodes:
            node.waiting.extend([0.0] * self._in_flight)
            self._begin(node, 0.0)
        while self._events and self._events[0][0] <= seconds:
            now, _, happens = heapq.heappop(self._events)
            happens(now)
        return Outcome(len(self._waits_s) / seconds, self._waits_s, self._held_s / seconds)

    def _at(self, when: float, happens: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, happens))

    def _arrive(self, now: float) -> None:
        node = self._chance.choice(self._nodes)
        node.waiting.append(now)
        self._begin(node, now)
        self._at(now + self._chance.expovariate(self._rate), self._arrive)

    def _begin(self, node: Node, now: float) -> None:
        """Take what waits, if no group is under way."""
        if node.group or not node.waiting:
            return
        node.group = [node.waiting.popleft() for _ in range(min(len(node.waiting), GROUP_MAX))]
        self._at(now + NODE_S * len(node.group), lambda at: self._ask_for_head(node, at))

    def _ask_for_head(self, node: Node, now: float) -> None:
        self._queue.append(node)
        self._give_head(now)

    def _give_head(self, now: float) -> None:
        if self._holder is None and self._queue:
            self._holder = node = self._queue.popleft()
            takes_s = HEAD_FIXED_S + HEAD_S * len(node.group)
            self._held_s += takes_s
            self._at(now + takes_s, self._let_go)

    def _let_go(self, now: float) -> None:
        node, self._holder = self._holder, None
        assert node is not None
        self._at(now + self._commit_s, lambda at: self._answer(node, at))
        self._give_head(now)

    def _answer(self, node: Node, now: float) -> None:
        self._waits_s += [now - came for came in node.group]
        if self._in_flight:
            node.waiting.extend([now] * len(node.group))
        node.group = []
        self._begin(node, now)


@dataclass(frozen=True)
class Wanted:
    """The load that is wanted."""

    users: float = 100e6
    registrations_per_s: float = 50_000
    checks_per_s: float = 1e6
    followers: int = 20


def head_rate_max() -> float:
    """Return how many registrations a second one chain takes at most: groups are as large as they get."""
    return GROUP_MAX / (HEAD_FIXED_S + HEAD_S * GROUP_MAX)


def chains(wanted: Wanted) -> int:
    """Return how many installations share the users, so that no chain's head is too busy."""
    return ceil(wanted.registrations_per_s / (BUSY * head_rate_max()))


def shares(wanted: Wanted) -> list[tuple[str, float, float]]:
    """Return each resource, how much of it is wanted, and how much one has: one chain, one core, one link."""
    refreshes = wanted.users * REFRESHES_A_YEAR / YEAR_S
    writes = wanted.registrations_per_s + 3 * refreshes
    per_follower = wanted.checks_per_s / wanted.followers
    return [
        ("head of one chain, registrations/s", writes, head_rate_max()),
        ("one core of PostgreSQL, registrations/s", writes, 1 / DATABASE_S),
        ("16 cores of nodes, registrations/s", writes, 16 / (NODE_S + HEAD_S - DATABASE_S)),
        ("one core of a follower, checks/s", per_follower, CHECKS_PER_CORE),
        ("a link of 10 Gbit/s, editions to followers, bytes/s", PUSHES_PER_S * DELTA_BYTES * wanted.followers, 1.25e9),
        ("8 TiB of the database, bytes", wanted.users * STORE_BYTES * 2, 8 * 2**40),
        ("1 GiB of a follower's memory, bytes", 2 * INDEX_BYTES, 2**30),
    ]


def bill(wanted: Wanted) -> Iterator[tuple[str, float, str]]:
    """Yield what is needed, how much of it, and what a month of it costs."""
    count = chains(wanted)
    node_cores = ceil(wanted.registrations_per_s * (NODE_S + HEAD_S - DATABASE_S) / BUSY) + 2 * count
    database_cores = ceil(wanted.registrations_per_s * DATABASE_S / BUSY) + 2 * count
    follower_cores = wanted.followers * max(2, ceil(wanted.checks_per_s / wanted.followers / CHECKS_PER_CORE / BUSY))
    store_gib = 3 * 2 * wanted.users * STORE_BYTES / 2**30
    memory_gib = 4 * wanted.followers + 64 * count

    def cores(number: float) -> str:
        return f"{number * CORE_HOUR * HOURS_A_MONTH:,.0f}"

    yield "installations, each with a chain", count, "-"
    yield "cores of nodes", node_cores, cores(node_cores)
    yield "cores of PostgreSQL, three machines each", 3 * database_cores, cores(3 * database_cores)
    yield "cores of followers", follower_cores, cores(follower_cores)
    yield "GiB of disks, three copies, half full", store_gib, f"{store_gib * GIBIBYTE_MONTH:,.0f}"
    yield "GiB of memory", memory_gib, f"{memory_gib * MEMORY_GIBIBYTE_MONTH:,.0f}"


def picture(chart: str) -> str:
    """Return a chart as a file of its own, with its colours for light, dark and print."""
    rules = STYLE.replace("body {", ".none {")
    paper = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    own = f"<style>{rules} text {{ font: 12px system-ui, sans-serif; }}</style>{paper}"
    head, rest = chart.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{own}{rest}\n'


def curves(seconds: float) -> list[Series]:
    """Return how long 99 of 100 calls take at a rate, of one node, four and twelve."""
    found = []
    for nodes in (1, 4, 12):
        points = []
        for share in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97):
            outcome = Simulation(nodes, rate=share * head_rate_max()).run(seconds)
            if outcome.rate < 0.95 * share * head_rate_max():
                break
            points.append((share * head_rate_max(), 1_000 * outcome.percentile_s(0.99)))
        found.append(Series(f"{nodes} node{'s' * (nodes > 1)}", points))
    return found


def report(seconds: float, out: Path) -> None:
    """Print the tables, and write the plots."""
    wanted = Wanted()
    print("| nodes | in flight on each | measured, registrations/s | simulated |\n|---|---|---|---|")
    for (nodes, in_flight), measured in MEASURED.items():
        simulated = Simulation(nodes, in_flight=in_flight).run(seconds).rate
        print(f"| {nodes} | {in_flight} | {measured:,} | {simulated:,.0f} |")
    print("\n| resource | wanted | one has | share |\n|---|---|---|---|")
    rows = sorted(shares(wanted), key=lambda row: -row[1] / row[2])
    for name, value, has in rows:
        print(f"| {name} | {value:,.0f} | {has:,.0f} | {100 * value / has:.0f}% |")
    print("\n| what | how much | a month |\n|---|---|---|")
    for name, number, cost in bill(wanted):
        print(f"| {name} | {number:,.0f} | {cost} |")
    latency = line_chart(
        "Register with a commit of 10 ms: 99 of 100 calls",
        Axis("registrations a second, one chain"),
        Axis("ms"),
        curves(seconds),
    )
    full = bars(
        "Percent of what one has, at 100 million users",
        [(name.split(",")[0], 100 * value / has) for name, value, has in rows],
    )
    (out / "scale-latency.svg").write_text(picture(latency), encoding="utf-8")
    (out / "scale-full.svg").write_text(picture(full), encoding="utf-8")


def main() -> None:
    """Simulate, print and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of simulated time for each point")
    parser.add_argument("--out", type=Path, default=FIGURES)
    asked = parser.parse_args()
    report(asked.seconds, asked.out)


if __name__ == "__main__":
    main()
