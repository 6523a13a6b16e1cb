"""Keeps a node busy for long, and looks at what it takes: `python -m benchmarks.soak --seconds 3600`.

Every method of the mix is asked at its share of what the node can do of it, all at the same time, in rounds: new
connections, new users, as many erased, a push, and one who watches registrations all along. After each round the node's
memory, descriptors and threads are counted. Exit status 1 and why, if an answer was no answer, if the watch ended, or
if the node has more of anything in the last quarter of the rounds than in the second.
"""

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from google.rpc import code_pb2

from numcheck.bench import workloads
from numcheck.bench.charts import Axis, Series, line_chart
from numcheck.bench.generator import load_on
from numcheck.bench.node import Node, started
from numcheck.bench.outcome import Outcome
from numcheck.bench.report import STYLE
from numcheck.bench.resources import cores_here, machine, resident_size, share_cores
from numcheck.bench.study import header_of_delta, largest_operator
from numcheck.bench.workloads import CHECK_NUMBERS, COMPLETE, GET_REGISTRATION, REFRESH, REGISTER, WORKLOADS, World
from numcheck.client import Numbers, PushClient, RegistrationClient
from numcheck.offline.demo import SEED, fill_demo
from numcheck.v1 import registration_pb2 as pb

DELETE = f"{workloads.REGISTRATION}/DeleteRegistration"
RECYCLED = f"{workloads.CHECK}/CheckRecycled"
STREAM = f"{workloads.CHECK}/StreamCheckNumbers"
MIX = (CHECK_NUMBERS, STREAM, RECYCLED, GET_REGISTRATION, REFRESH, COMPLETE, REGISTER)
"""The methods that are asked for, besides erasures: of these there are as many as new users."""

ONCE = {path for path in (*MIX, DELETE) if WORKLOADS[path].once}
SHOWN = (CHECK_NUMBERS, GET_REGISTRATION, REGISTER)

CONNECTIONS, IN_FLIGHT = 4, 16
USERS, BODIES_MAX = 20_000, 4_096
CAPACITY_S, ROUND_S, PATIENCE_S = 2.0, 10.0, 60.0
PASSING = frozenset({f"status {code_pb2.RESOURCE_EXHAUSTED}", "never_begun"})
MOST: Mapping[str, Callable[[float], float]] = {
    "memory": lambda before: 1.05 * before + 16 * 2**20,
    "descriptors": lambda before: before + 16,
    "threads": lambda before: before + 4,
}
"""How much there may be in the last quarter, by what there was in the second."""
SVG = "http://www.w3.org/2000/svg"


@dataclass
class Round:
    """The outcome of a round, and what the node takes after it."""

    at_s: float
    memory: int
    """Bytes that are the process's own."""
    descriptors: int
    threads: int
    stored: int
    """Bytes of the data directory."""
    answered: dict[str, int]
    failures: dict[str, dict[str, int]]
    p99_s: dict[str, float]


class Watcher:
    """One who watches registrations until the end, and counts the events."""

    def __init__(self, node: Node) -> None:
        self._client = RegistrationClient(node.target.address, workloads.SERVICE, node.target.security)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.count, self.error = 0, ""

    def _run(self) -> None:
        try:
            for _ in self._client.watch():
                self.count += 1
        except Exception as error:
            self.error = str(error)
        if self._ending.is_set():
            self.error = ""
        elif not self.error:
            self.error = "the watch ended"

    @contextmanager
    def watching(self) -> Iterator["Watcher"]:
        """Watch during the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._ending.set()
            self._client.close()
            self._thread.join()


class Pusher:
    """Puts some numbers of one operator into service, and out of it again with the next push."""

    def __init__(self, node: Node, world: World) -> None:
        self._operator_id, self._numbers = largest_operator(node, world)
        self._target, self._active = node.target, False

    def push(self) -> None:
        """Push once."""
        with PushClient(self._target.address, self._target.security) as client:
            change = Numbers(remove=self._numbers) if self._active else Numbers(add=self._numbers)
            client.push_active(header_of_delta(client, self._operator_id), lambda: [change])
        self._active = not self._active


class Mix:
    """The calls of a round, made before it begins: users who were registered in one round are erased in the next."""

    def __init__(self, node: Node, share: float, round_s: float) -> None:
        self._round_s = round_s
        self.world = workloads.world_of(node.target)
        # A refresh ends the verification that a proof is about to be given for: nobody is asked to do both.
        self._proving = replace(self.world, users=[])
        for world in (self.world, self._proving):
            workloads.add_users(world, USERS)
        self._node, self._registered = node, list[str]()
        able = {path: self._ability(path) for path in MIX}
        able[DELETE] = able[REGISTER]
        self.rates = {path: rate * share / len(able) for path, rate in able.items()}
        """By method, calls a second: all together take this share of the node's time."""

    def bodies(self) -> dict[str, list[bytes]]:
        """Return the bodies of a round by method."""
        requests = {path: self._requests(path, int(self.rates[path] * self._round_s)) for path in MIX}
        requests[DELETE] = [
            pb.DeleteRegistrationRequest(service=workloads.SERVICE, user_id=user_id) for user_id in self._registered
        ]
        self._registered = [request.user_id for request in requests[REGISTER]]
        return {path: [workloads.body_of(one) for one in some] for path, some in requests.items() if some}

    def ask(self, path: str, bodies: list[bytes]) -> Outcome:
        """Make the calls of a round of one method, over connections of their own."""
        return self._asked(path, bodies, self._round_s, self.rates[path])

    def _asked(self, path: str, bodies: list[bytes], seconds: float, rate: float) -> Outcome:
        cores = self._node.cores.client
        load = load_on(self._node.target, path, connections=CONNECTIONS, in_flight=IN_FLIGHT, cores=cores)
        return load.run(bodies, seconds, rate=rate, once=path in ONCE, patience_s=PATIENCE_S)

    def _requests(self, path: str, wanted: int) -> list[Any]:
        workload = WORKLOADS[path]
        return workload.requests(self._world(path), max(1, wanted) if workload.once else min(wanted, BODIES_MAX))

    def _world(self, path: str) -> World:
        return self._proving if path == COMPLETE else self.world

    def _ability(self, path: str) -> float:
        outcome = self._asked(path, WORKLOADS[path].bodies(self._world(path), CAPACITY_S), CAPACITY_S, 0.0)
        return outcome.in_time / min(outcome.wall_s, CAPACITY_S)


def counted(node: Node, data_dir: Path, at_s: float, outcomes: Mapping[str, Outcome]) -> Round:
    """Return what the node takes now, and what became of the calls."""
    process = Path(f"/proc/{node.pid}")
    return Round(
        at_s,
        resident_size(node.pid or 0) or 0,
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        sum(path.stat().st_size for path in data_dir.rglob("*") if path.is_file()),
        {workloads.short(path): found.statuses.get(0, 0) for path, found in outcomes.items()},
        {workloads.short(path): found.failures for path, found in outcomes.items() if found.failures},
        {workloads.short(path): found.percentile_s(0.99) for path, found in outcomes.items()},
    )


def run_rounds(node: Node, data_dir: Path, mix: Mix, seconds: float) -> Iterator[Round]:
    """Yield what each round came to, for so long."""
    pusher, began = Pusher(node, mix.world), monotonic()
    with ThreadPoolExecutor(len(mix.rates)) as threads:
        while (passed := monotonic() - began) < seconds:
            bodies = mix.bodies()
            asked = {path: threads.submit(mix.ask, path, some) for path, some in bodies.items()}
            pusher.push()
            yield counted(node, data_dir, passed, {path: one.result() for path, one in asked.items()})


def judged(rounds: Sequence[Round], watcher: Watcher) -> list[str]:
    """Return what was not as it should be. A call that is refused for now, or finds no room, is as it should be."""
    found = [
        f"{path}: {failures}" for one in rounds for path, failures in one.failures.items() if failures.keys() - PASSING
    ]
    if watcher.error or not watcher.count:
        found.append(f"the watch saw {watcher.count} events: {watcher.error}")
    quarter = len(rounds) // 4
    if not quarter:
        return [*found, "there were too few rounds to compare any"]
    for name, most in MOST.items():
        before, after = (
            median(getattr(one, name) for one in some) for some in (rounds[quarter : 2 * quarter], rounds[-quarter:])
        )
        if after > most(before):
            found.append(f"{name}: {before:.0f} in the second quarter, {after:.0f} in the last")
    return found


def told(one: Round) -> str:
    """Return a line about a round."""
    line = (
        f"{one.at_s:6.0f} s: {one.memory / 2**20:.0f} MiB, {one.descriptors} descriptors, {one.threads} threads, "
        f"{one.stored / 2**20:.0f} MiB stored, {sum(one.answered.values())} answers"
    )
    return f"{line}, failed {one.failures}" if one.failures else line


def drawn(title: str, y: str, series: Sequence[Series]) -> str:
    """Return a chart as a file of its own, in the colours of the capacity report."""
    chart = line_chart(title, Axis("minutes"), Axis(y), series).replace("<svg ", f'<svg xmlns="{SVG}" ', 1)
    return chart.replace(">", f">\n<style>{STYLE}</style>", 1)


def write(directory: Path, rounds: Sequence[Round], share: float) -> None:
    """Write the rounds, and their memory and latency as charts."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = {"machine": machine(), "share": share, "rounds": [asdict(one) for one in rounds]}
    (directory / "soak.json").write_text(json.dumps(whole, indent=1) + "\n")
    memory = [(one.at_s / 60, one.memory / 2**20) for one in rounds]
    (directory / "soak-memory.svg").write_text(drawn("Memory of the node", "MiB", [Series("its own", memory)]))
    latency = [
        Series(path, [(one.at_s / 60, 1_000 * one.p99_s[path]) for one in rounds if path in one.p99_s])
        for path in map(workloads.short, SHOWN)
    ]
    (directory / "soak-latency.svg").write_text(drawn("99th percentile of latency", "ms", latency))


def options() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3_600)
    parser.add_argument("--numbers", type=int, default=10_000_000, help="active numbers of the node")
    parser.add_argument("--round", type=float, default=ROUND_S, help="seconds of a round")
    parser.add_argument("--share", type=float, default=0.5, help="of what the node can do")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="where the figures go")
    return parser.parse_args()


def main() -> int:
    """Run the soak; return the exit status."""
    asked, rounds = options(), list[Round]()
    available = cores_here()
    cores = share_cores(available, max(1, len(available) // 2))
    with tempfile.TemporaryDirectory() as directory:
        data_dir = Path(directory) / "var"
        fill_demo(data_dir, number_count=asked.numbers, seed=SEED, now=datetime.now(UTC), progress=lambda *_: None)
        with started(data_dir, cores, workloads.NODE_SETTINGS) as node, Watcher(node).watching() as watcher:
            for one in run_rounds(node, data_dir, Mix(node, asked.share, asked.round), asked.seconds):
                rounds.append(one)
                print(told(one), flush=True)
                write(asked.out, rounds, asked.share)
    found = judged(rounds, watcher)
    print(*found or ["nothing grew, and every call was answered"], sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
