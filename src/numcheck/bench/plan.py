"""How many machines a messenger needs, from the curves of a machine that was measured.

Each need names the curve that it comes from and its margin, and warns where a curve ends before what is wanted. More
users, registrations or checks never need less: a curve of costs counts as if it never fell, and checks get followers
whatever the other nodes have left.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, log
from typing import Any, NamedTuple, TypeVar

from numcheck.bench.report import FORMAT, bytes_per_registration
from numcheck.bench.workloads import CHECK_NUMBERS, COMPLETE, GET_REGISTRATION, REFRESH, REGISTER, short
from numcheck.errors import BadConfiguration

BUSY = 0.6  # of a core's time at the peak: beyond it, waiting grows faster than load
YEAR_S = 365.25 * 86_400
PEAK = 3.0  # refreshes at the busiest hour, beside the year's mean
GROUP = 256  # registrations that share a commit, at most
DISK_BUSY = 0.5  # of the time for commits
INDEX_COPIES = 2  # in memory while a new version is published,
INDEX_FILES = 3  # and on disk: also the one being written
MEMORY_MARGIN, STORE_MARGIN = 1.25, 2.0
SPARES = 1
OTHERS_MUCH = 0.25

SUFFIXES = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
QUANTITY = re.compile(r"(\d+(?:[.,]\d+)?)\s*([kMG]?)(?:/s)?")


def quantity(text: str) -> float:
    """Return the number of a text such as 100M, 50k/s or 1.5M; ValueError if it is none."""
    found = QUANTITY.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no quantity such as 100M, 50k/s or 250")
    return float(found[1].replace(",", ".")) * SUFFIXES[found[2]]


@dataclass(frozen=True)
class Wanted:
    """The wants of a messenger, at its busiest."""

    users: float
    registrations_per_s: float
    checks_per_s: float
    """Numbers that are checked."""
    numbers: float
    """Active numbers of all operators."""
    batch: int = 1
    """Numbers a call."""
    cores_per_node: int = 16


class Need(NamedTuple):
    """One thing that is needed, and why."""

    what: str
    value: float
    unit: str
    source: str
    """The curve, and the figures of it that counted."""
    margin: str = ""
    warning: str = ""
    """The respects in which it goes beyond what was measured."""


@dataclass(frozen=True)
class Curve:
    """Something that grows, at some places where it was measured: costs by powers, sizes by a share of the place."""

    name: str
    points: tuple[tuple[float, float], ...]
    by_powers: bool = True

    @classmethod
    def of(cls, name: str, points: Sequence[tuple[float, float]], *, by_powers: bool = True) -> "Curve":
        """Return the curve of measured points, with what falls lifted to what came before; BadConfiguration if there is
        none."""
        places, values = zip(*sorted(_known(name, points)), strict=True)
        return cls(name, tuple(zip(places, accumulate(values, max), strict=True)), by_powers)

    def at(self, place: float) -> float:
        """Return the value there: between two points on their line, before the first as there; beyond the last on that
        from the first to the last, and of costs no steeper than the place itself grows."""
        if place <= self.points[0][0] or len(self.points) == 1:
            return self.points[0][1]
        if place >= self.points[-1][0]:
            return self._beyond(place)
        after = next(count for count, point in enumerate(self.points) if point[0] > place)
        (x, low), (to, high) = self.points[after - 1], self.points[after]
        if not self.by_powers:
            return low + (high - low) * (place - x) / (to - x)
        return float(low * (high / low) ** _share(x, place, to))

    def _beyond(self, place: float) -> float:
        (first, start), (last, end) = self.points[0], self.points[-1]
        if not self.by_powers:
            return end + (end - start) * (place - last) / (last - first)
        slope = log(end / start) / max(log(last / first), 1e-9)
        return float(end * (place / last) ** min(slope, 1.0))

    def warning(self, place: float) -> str:
        """Return a warning if the curve ends before the place; empty if it does not."""
        return _warning(self.points[-1][0], place)


def _share(low: float, place: float, high: float) -> float:
    """Return where a place is between two others, by powers: 0 to 1."""
    whole = log(high / low)
    return log(place / low) / whole if whole > 0 else 1.0


Points = TypeVar("Points", bound=Sequence[Any])


def _known(name: str, points: Points) -> Points:
    if not points:
        raise BadConfiguration(
            f"the report has no curve {name!r}: measure the machine anew, with `numcheck bench` or, for a plan alone, "
            f"`numcheck bench --curves {','.join(sorted(NEEDED_CURVES))}`"
        )
    return points


def _warning(last: float, place: float) -> str:
    return f"extrapolated: measured up to {last:,.0f}, wanted {place:,.0f}" if place > last else ""


@dataclass(frozen=True)
class Measured:
    """A machine as a report has it: costs in seconds of a core, and sizes in bytes."""

    checks: Curve
    """A call of CheckNumbers, by its numbers."""
    population: Curve
    """A number in a large call, by active numbers."""
    registering: Curve
    """A Register, by registrations in the store."""
    completing_s: float
    refreshing_s: float
    index: Curve
    """By active numbers."""
    memory: Curve
    """Of a node, without its index, by active numbers."""
    registration_size: float
    """Of one, in the store."""
    registration_count: float
    """How many that was measured with."""
    threads: float
    """The most event loops that were measured."""
    numbers: float
    """Active numbers while checks were measured."""
    sync_s: float
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> "Measured":
        """Read a report; BadConfiguration if it is none, or lacks a curve that is needed."""
        if report.get("format") != FORMAT or not isinstance(report.get("figures"), list):
            raise BadConfiguration("this is no report of `numcheck bench`: its JSON has a format and figures")
        figures, facts = report["figures"], report["facts"]
        sizes = facts.get("store_sizes", [])
        memory = [(numbers, size) for numbers, size in facts.get("node_memory", []) if size is not None]
        return cls(
            checks=_costs(figures, "batch", CHECK_NUMBERS),
            population=_costs(figures, "population", CHECK_NUMBERS, by_item=True),
            registering=_costs(figures, "registrations", REGISTER),
            completing_s=_costs(figures, "methods", COMPLETE).points[-1][1],
            refreshing_s=_costs(figures, "methods", REFRESH).points[-1][1],
            index=Curve.of("population", facts.get("index_sizes", []), by_powers=False),
            memory=Curve.of("population", memory, by_powers=False),
            registration_size=bytes_per_registration(_known("registrations", [one for one in sizes if one[1] > 0])),
            registration_count=sum(count for count, _ in sizes),
            threads=max([one["at"] for one in figures if one["curve"] == "threads"], default=1),
            numbers=report["options"]["numbers"],
            sync_s=facts.get("sync_s", 0.0),
            warnings=_doubts(report),
        )


def _costs(figures: Sequence[Mapping[str, Any]], curve: str, method: str, *, by_item: bool = False) -> Curve:
    """Return the seconds of a core that a call takes, or each number in it. Of a method at several loads the dearest
    counts last."""
    points = [
        (float(one["at"]), 1 / (rate * (one["items"] if by_item else 1)))
        for one in figures
        if one["curve"] == curve and one["method"] == method and (rate := one["calls_per_core_s"])
    ]
    if curve == "methods" and points:  # the load that most resembles a busy node
        points = [max(points)]
    return Curve.of(f"{curve} of {short(method)}", points)


def _doubts(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is to be said of the whole report."""
    figures = report["figures"]
    found = []
    if busy := sum((one["others_cores"] or 0) >= OTHERS_MUCH for one in figures):
        found.append(f"other programs were at work during {busy} of {len(figures)} figures: measure when it is quiet")
    if report["cores"]["shared"]:
        found.append("node and client shared a core while they were measured")
    if any(one["client"] != "native" for one in figures):
        found.append("a plain client measured, as the build has no load generator")
    return tuple(found)


def plan(wanted: Wanted, measured: Measured) -> list[Need]:
    """Return what is needed, from cores to the database."""
    checking, registering = _checking(wanted, measured), _registering(wanted, measured)
    followers = _followers(wanted, measured, checking.value)
    writers = max(1, ceil(registering.value))
    nodes = Need(
        "nodes",
        writers + SPARES,
        "",
        f"one for each core of registrations, as Python answers on one: {writers}",
        f"{SPARES} more, so that one may be away",
    )
    memory = _memory(wanted, measured)
    processes = nodes.value + followers.value
    return [
        checking,
        registering,
        nodes,
        followers,
        _machines(wanted, checking.value, registering.value, followers.value),
        memory,
        Need("memory of all", processes * memory.value, "bytes", f"{processes:,.0f} nodes and followers"),
        _disk(wanted, measured),
        _database(wanted, measured, writers),
        _store(wanted, measured),
    ]


def _machines(wanted: Wanted, checking: float, registering: float, followers: float) -> Need:
    """Return the machines: several nodes fit on one, and a follower has one to itself."""
    shared = registering if followers else registering + checking
    machines = ceil(shared / wanted.cores_per_node) + SPARES + followers
    cores = machines * wanted.cores_per_node
    return Need(
        "machines",
        machines,
        "",
        f"{shared:,.1f} cores of nodes, {followers:.0f} followers: {cores:,.0f} cores in all",
        f"{SPARES} more than needed",
    )


def _checking(wanted: Wanted, measured: Measured) -> Need:
    cost = measured.checks.at(wanted.batch)
    growth = max(1.0, measured.population.at(wanted.numbers) / measured.population.at(measured.numbers))
    calls = wanted.checks_per_s / wanted.batch
    return Need(
        "cores for checks",
        calls * cost * growth / BUSY,
        "",
        f"curve batch: {1e6 * cost:.2f} us a call of {wanted.batch:,}; curve population: times {growth:.2f} "
        f"for {wanted.numbers:,.0f} active numbers",
        f"{BUSY:.0%} busy at the peak",
        _together(measured.checks.warning(wanted.batch), measured.population.warning(wanted.numbers)),
    )


def _registering(wanted: Wanted, measured: Measured) -> Need:
    register = measured.registering.at(wanted.users)
    refreshes = PEAK * wanted.users / YEAR_S
    busy = wanted.registrations_per_s * (register + measured.completing_s) + refreshes * measured.refreshing_s
    return Need(
        "cores for registrations",
        busy / BUSY,
        "",
        f"curve registrations: {1e6 * register:.0f} us a Register; curve methods: "
        f"{1e6 * measured.completing_s:.0f} us a CompleteVerification, "
        f"{1e6 * measured.refreshing_s:.0f} us a RefreshRegistration, {refreshes:,.1f} a second",
        f"{BUSY:.0%} busy at the peak; {PEAK:.0f} times the year's mean of refreshes",
        measured.registering.warning(wanted.users),
    )


def _followers(wanted: Wanted, measured: Measured, cores: float) -> Need:
    own = wanted.cores_per_node - 1
    needed = 0 if cores <= own else ceil(cores / wanted.cores_per_node) + SPARES
    beyond = wanted.cores_per_node > measured.threads
    return Need(
        "followers",
        needed,
        "",
        f"checks need {cores:,.1f} cores; a machine has {own} beside Python's",
        "none while the nodes of one machine could answer all checks" if not needed else f"{SPARES} more than needed",
        f"extrapolated: measured with {measured.threads:.0f} event loops, a machine has {own}" if beyond else "",
    )


def _memory(wanted: Wanted, measured: Measured) -> Need:
    index, own = measured.index.at(wanted.numbers), measured.memory.at(wanted.numbers)
    return Need(
        "memory of a node",
        MEMORY_MARGIN * (own + INDEX_COPIES * index),
        "bytes",
        f"curve population: {own / 1e6:,.0f} MB beside {INDEX_COPIES} versions of an index of {index / 1e6:,.0f} MB",
        f"times {MEMORY_MARGIN}",
        measured.index.warning(wanted.numbers),
    )


def _disk(wanted: Wanted, measured: Measured) -> Need:
    index = measured.index.at(wanted.numbers)
    return Need(
        "disk of a node, for the index",
        INDEX_FILES * index,
        "bytes",
        f"curve population: {index / 1e6:,.0f} MB",
        f"{INDEX_FILES} versions of it",
        measured.index.warning(wanted.numbers),
    )


def _database(wanted: Wanted, measured: Measured, writers: int) -> Need:
    commits = ceil(wanted.registrations_per_s / GROUP)
    slow = commits * measured.sync_s > DISK_BUSY
    is_shared = writers > 1 or slow
    warning = "the cores of PostgreSQL, and its commits, are in no curve: measure its machine" if is_shared else ""
    disk = f"{commits:,} commits a second of up to {GROUP}; one takes {1e3 * measured.sync_s:.2g} ms of this disk"
    return Need(
        "PostgreSQL" if is_shared else "SQLite, and a back-up for the node that is spare",
        float(is_shared),
        "",
        f"{writers} writing; {disk}",
        f"the disk busy with them for {DISK_BUSY:.0%} of the time at most",
        warning,
    )


def _store(wanted: Wanted, measured: Measured) -> Need:
    size = measured.registration_size
    return Need(
        "disk of the store",
        STORE_MARGIN * size * wanted.users,
        "bytes",
        f"curve registrations: {size:,.0f} bytes a registration",
        f"times {STORE_MARGIN:.0f}: a year's events, and what is not yet merged",
        _warning(measured.registration_count, wanted.users),
    )


def _together(*warnings: str) -> str:
    return "; ".join(warning for warning in warnings if warning)


NEEDED_METHODS = frozenset({CHECK_NUMBERS, REGISTER, COMPLETE, REFRESH, GET_REGISTRATION})
NEEDED_CURVES = frozenset({"batch", "population", "registrations", "methods", "threads"})
"""The figures that a report has to have, to plan from."""
