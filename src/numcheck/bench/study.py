"""The study of a machine: which loads are put on a node, one curve after the other, and what else is looked at.

Each curve changes one thing. A curve that needs another node, of other threads or numbers, starts one.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from numcheck.bench import workloads
from numcheck.bench.generator import LACKING
from numcheck.bench.measure import Figure, Load, measure
from numcheck.bench.node import Node, started
from numcheck.bench.resources import Cores, cores_here, machine, resident_size, share_cores, sync_s
from numcheck.bench.workloads import CHECK_NUMBERS, GET_REGISTRATION, REGISTER, WORKLOADS, World
from numcheck.client import CheckClient, Numbers, PushClient
from numcheck.client.push import DELTA
from numcheck.offline.demo import SEED, fill_demo
from numcheck.serving.publishing import index_directory
from numcheck.timestamps import timestamp
from numcheck.v1 import numbering_pb2

Tell = Callable[[str, float], None]

BATCHES = (1, 10, 100, 1_000, 10_000, 65_536)
CONNECTIONS = (1, 4, 16, 64, 256)
IN_FLIGHT = (1, 2, 4, 8, 16, 32)
SHARES_OF_CAPACITY = (0.1, 0.25, 0.5, 0.7, 0.9, 1.1)
ALONE, BUSY = (1, 1), (8, 16)
LARGE = 10_000  # numbers a call of the curve over populations
LARGE_FROM = 1_000  # numbers a call from which few calls fill everything
PUSHED = 1_000
USERS = 1_000  # that methods of users are asked about

CURVES = {
    "batch": "CheckNumbers, numbers a call",
    "connections": "CheckNumbers of one number, connections with one call each",
    "in-flight": "CheckNumbers of one number, calls in flight on each of 4 connections",
    "rate": "calls that are due at a rate: latency by load",
    "registrations": "Register and GetRegistration, registrations in the store",
    "population": "CheckNumbers of 10,000 numbers, active numbers in the index",
    "threads": "CheckNumbers of one number, event loops of the node",
    "methods": "every method, one call at a time and 128 in flight",
}
"""By curve, its question."""
OF_OTHERS = frozenset({"methods", "batch", "connections", "in-flight", "rate"})
"""Curves that a node can be asked for which the command has not started."""
OF_PLAIN = frozenset(CURVES) - {"rate"}
"""Curves that a plain client can measure: it keeps to no rate."""


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    numbers: int = 10_000_000
    seconds: float = 1.0
    registrations: int = 20_000
    curves: frozenset[str] = frozenset(CURVES)
    writes: bool = True
    """Methods that change the node's data are measured as well."""
    methods: frozenset[str] | None = None
    """Those of the curve "methods"; None: every one."""

    @property
    def measured_methods(self) -> list[str]:
        """The methods of the curve "methods"."""
        able = workloads.measured_methods(writes=self.writes, streams=LACKING is None)
        return [path for path in able if self.methods is None or path in self.methods]


@dataclass
class Study:
    """The figures of a machine, and who asked it."""

    machine: dict[str, str]
    options: Options
    cores: Cores
    figures: list[Figure] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """The figures that no load tells: sizes, memory, the time of a sync and of a push."""


def study_own(directory: Path, options: Options, tell: Tell) -> Study:
    """Study this machine with a node on data that is made up in an empty directory."""
    available = cores_here()
    cores = share_cores(available, max(1, len(available) // 2))
    options = _able(options)
    study = Study(machine(), options, cores, facts={"load_average": os.getloadavg()[0]})
    data_dir = directory / "var"
    _fill(data_dir, options.numbers, tell)
    study.facts["sync_s"] = sync_s(data_dir)
    with started(data_dir, cores, workloads.NODE_SETTINGS) as node:
        study.facts["door"] = node.door
        world = workloads.world_of(node.target)
        if {"methods", "rate"} & options.curves:
            workloads.add_users(world, USERS)
        study.facts["push_s"] = _push_s(node, world)
        _collect(study, _asked(node, world, options), tell)
        if "registrations" in options.curves:
            _collect(study, _by_registrations(study, data_dir, node, world, options), tell)
    if "population" in options.curves:
        _collect(study, _by_population(study, directory, cores, options), tell)
    if "threads" in options.curves:
        _collect(study, _by_threads(data_dir, available, options), tell)
    return study


def study_other(node: Node, options: Options, tell: Tell) -> Study:
    """Study a node that was not started here; of methods that write, nothing unless the options say so."""
    options = _able(replace(options, curves=options.curves & OF_OTHERS))
    study = Study(machine(), options, node.cores)
    world = workloads.world_of(node.target)
    if options.writes:
        workloads.add_users(world, USERS)
    _collect(study, _asked(node, world, options), tell)
    return study


def _able(options: Options) -> Options:
    """Return the options as far as this build can follow them."""
    return options if LACKING is None else replace(options, curves=options.curves & OF_PLAIN)


def figure_count(options: Options, cores: Cores) -> int:
    """Return how many figures a study has, about: for its progress."""
    counts = {
        "methods": 2 * len(options.measured_methods),
        "batch": len(BATCHES),
        "connections": len(CONNECTIONS),
        "in-flight": len(IN_FLIGHT),
        "rate": (1 + len(SHARES_OF_CAPACITY)) * len(_rated(options)),
        "registrations": 2 * len(_steps(options.registrations)),
        "population": len(_steps(options.numbers)),
        "threads": len(_thread_counts(cores)),
    }
    return sum(counts[name] for name in options.curves)


def _collect(study: Study, figures: Iterator[Figure], tell: Tell) -> None:
    expected = max(figure_count(study.options, study.cores), 1)
    for figure in figures:
        study.figures.append(figure)
        tell("measuring", min(len(study.figures) / expected, 1.0))


def _fill(data_dir: Path, numbers: int, tell: Tell) -> None:
    fill_demo(data_dir, number_count=numbers, seed=SEED, now=datetime.now(UTC), progress=tell)


# --- curves of one node


def _asked(node: Node, world: World, options: Options) -> Iterator[Figure]:
    curves = {
        "batch": _by_batch,
        "connections": _by_connections,
        "in-flight": _by_in_flight,
        "rate": _by_rate,
        "methods": _by_method,
    }
    for name, measured in curves.items():
        if name in options.curves:
            yield from measured(node, world, options)


def _checks(connections: int, in_flight: int, size: int = 1) -> Load:
    return Load(CHECK_NUMBERS, connections, in_flight, items=size)


def _by_batch(node: Node, world: World, options: Options) -> Iterator[Figure]:
    for size in BATCHES:
        load = _checks(8, 16 if size < LARGE_FROM else 2, size)
        yield measure(node, "batch", size, load, workloads.bodies_of_checks(world, size), options.seconds)


def _by_connections(node: Node, world: World, options: Options) -> Iterator[Figure]:
    bodies = workloads.bodies_of_checks(world, 1)
    for count in CONNECTIONS:
        yield measure(node, "connections", count, _checks(count, 1), bodies, options.seconds)


def _by_in_flight(node: Node, world: World, options: Options) -> Iterator[Figure]:
    bodies = workloads.bodies_of_checks(world, 1)
    for count in IN_FLIGHT:
        yield measure(node, "in-flight", count, _checks(4, count), bodies, options.seconds)


def _rated(options: Options) -> list[str]:
    return [CHECK_NUMBERS, *([GET_REGISTRATION, REGISTER] if options.writes else [])]


def _by_rate(node: Node, world: World, options: Options) -> Iterator[Figure]:
    for path in _rated(options):
        load = _load_of(path, BUSY)
        able = measure(node, "capacity", 0, load, _bodies(world, path, options.seconds), options.seconds)
        yield able
        for share in SHARES_OF_CAPACITY:
            rate = max(share * able.calls_per_s, 1.0)
            bodies = _bodies(world, path, options.seconds)
            yield measure(node, "rate", rate, replace(load, rate=rate), bodies, options.seconds)


def _by_method(node: Node, world: World, options: Options) -> Iterator[Figure]:
    for path in options.measured_methods:
        for place in (ALONE, BUSY):
            if place == ALONE or not WORKLOADS[path].alone:
                bodies = _bodies(world, path, options.seconds, alone=place == ALONE)
                if bodies:
                    yield measure(node, "methods", place[0] * place[1], _load_of(path, place), bodies, options.seconds)


def _load_of(path: str, place: tuple[int, int]) -> Load:
    workload = WORKLOADS[path]
    return Load(
        path, *place, items=workload.items, by_python=workloads.by_python(path), writes=workload.writes,
        once=workload.once,
    )  # fmt: skip


def _bodies(world: World, path: str, seconds: float, *, alone: bool = False) -> list[bytes]:
    """Bodies for a run; one call at a time needs a tenth of those that can be sent once."""
    return WORKLOADS[path].bodies(world, seconds / 10 if alone else seconds)


def _by_registrations(study: Study, data_dir: Path, node: Node, world: World, options: Options) -> Iterator[Figure]:
    count, sizes = 0, []
    for wanted in _steps(options.registrations):
        before = _size_of(data_dir)
        workloads.add_users(world, wanted - count)
        sizes.append([wanted - count, _size_of(data_dir) - before])
        count = wanted
        for path in (GET_REGISTRATION, REGISTER):
            bodies = _bodies(world, path, options.seconds)
            yield measure(node, "registrations", len(world.users), _load_of(path, BUSY), bodies, options.seconds)
    study.facts["store_sizes"] = sizes


def _size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


# --- curves over nodes


def _steps(largest: int) -> list[int]:
    """Return a hundredth, a tenth and all of it."""
    return sorted({max(largest // 100, 1), max(largest // 10, 1), largest})


def _by_population(study: Study, directory: Path, cores: Cores, options: Options) -> Iterator[Figure]:
    sizes = study.facts.setdefault("index_sizes", [])
    memory = study.facts.setdefault("node_memory", [])
    for numbers in _steps(options.numbers):
        data_dir = directory / ("var" if numbers == options.numbers else f"population-{numbers}")
        if not data_dir.exists():
            _fill(data_dir, numbers, lambda *_: None)
        with started(data_dir, cores, workloads.NODE_SETTINGS) as node:
            bodies = workloads.bodies_of_checks(World(node.target), LARGE)
            yield measure(node, "population", numbers, _checks(8, 2, LARGE), bodies, options.seconds)
            sizes.append([numbers, _size_of(index_directory(data_dir))])
            memory.append([numbers, resident_size(node.pid) if node.pid else None])


def _thread_counts(cores: Cores) -> list[int]:
    total = len(set(cores.node) | set(cores.client))
    return [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= max(total, 1)]


def _by_threads(data_dir: Path, available: Sequence[int], options: Options) -> Iterator[Figure]:
    for count in _thread_counts(share_cores(list(available), max(1, len(available) // 2))):
        with started(data_dir, share_cores(list(available), count), workloads.NODE_SETTINGS) as node:
            bodies = workloads.bodies_of_checks(World(node.target), 1)
            yield measure(node, "threads", count, _checks(8 * count, 16), bodies, options.seconds)


# --- a push


def _push_s(node: Node, world: World) -> float:
    """Return how long a push of new numbers takes, from its beginning until it is answered from."""
    operator_id, inactive = largest_operator(node, world)
    with _clients(node) as (push, check):
        header = header_of_delta(push, operator_id)
        began = perf_counter()
        pushed = push.push_active(header, lambda: [Numbers(add=inactive)])
        while check.check_number(f"+{world.active[0]}").index_version < pushed.index_version:
            pass  # asking again is what a client does
        return perf_counter() - began


@contextmanager
def _clients(node: Node) -> Iterator[tuple[PushClient, CheckClient]]:
    target = node.target
    with PushClient(target.address, target.security) as push, CheckClient(target.address, target.security) as check:
        yield push, check


def header_of_delta(push: PushClient, operator_id: int) -> numbering_pb2.PushHeader:
    """Return the header of a push of what changes now of an operator's numbers."""
    return numbering_pb2.PushHeader(
        operator_id=operator_id,
        mode=DELTA,
        base_version=push.state(operator_id, digest=False).version,
        data_time=timestamp(datetime.now(UTC)),
    )


def largest_operator(node: Node, world: World) -> tuple[int, list[int]]:
    """Return the operator of the most numbers among some at random, and those of them that are not in service."""
    asked = workloads.ask_about(node.target, sorted(set(world.random_numbers(workloads.SAMPLE_SIZE))))
    inactive: dict[int, list[int]] = {}
    for number, operator_id in asked.inactive:
        inactive.setdefault(operator_id, []).append(number)
    largest = max(inactive, key=lambda operator_id: len(inactive[operator_id]))
    return largest, inactive[largest][:PUSHED]
