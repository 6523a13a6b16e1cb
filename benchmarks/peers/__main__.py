"""Question: what do numcheck's door answer beside gRPC C++, nghttpd, Redis and PostgreSQL, in one run?

    python -m benchmarks.peers [--small] [--seconds 2] [--out docs]

Every server is a process of its own on the first core; h2load, or a client of ours, is on the last. All servers run the
whole time and are asked in turn, case by case, so that all see the same minutes of the machine: in plaintext, then over
TLS. What is not installed is left out, and a line says so. Writes peers.md and, for each transport, figures/peers-*.svg
and .json into the directory. Linux alone.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from benchmarks.peers import servers, stores
from benchmarks.peers.load import (
    BODIES_MAX,
    PERCENTILES,
    Refused,
    Result,
    Target,
    bodies_at_once,
    measure,
    measure_paced,
)
from benchmarks.peers.report import KERNEL, write_report
from benchmarks.peers.transports import NAMES, Missing, Transport, transport
from benchmarks.population import REFERENCE_COUNT, Population, pin, population, to_request

SMALL_COUNT = 300_000
PACED_CONNECTIONS = 64


@dataclass(frozen=True)
class Plan:
    """The measurements of a run, and how long each takes."""

    sizes: tuple[int, ...]
    connections: tuple[int, ...]
    seconds: float
    paced_seconds: float


FULL = {
    "plaintext": Plan((1, 100, 1_000, 10_000, 65_536), (1, 4, 64, 1_000), 2.0, 5.0),
    "TLS": Plan((1, 1_000, 10_000), (1, 4, 64, 1_000), 2.0, 5.0),
}
SMALL = {"plaintext": Plan((1, 1_000), (1, 4), 0.1, 0.2), "TLS": Plan((1, 1_000), (4,), 0.1, 0.2)}
KERNEL_S = 1.0
LARGEST = 65_536


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def targets(data: Population, requests: dict[int, bytes], spoken: Transport) -> Iterator[list[Target]]:
    """Every server that can be had here, each asked once whether it answers as it should."""
    answers = servers.answers_of(data.index, requests)
    sizes = {numbers: servers.PREFIX_SIZE + len(answer) for numbers, answer in answers.items()}
    index = servers.index_of(data)
    empty = dict.fromkeys(sizes, servers.PREFIX_SIZE)
    found: list[Target] = []
    with ExitStack() as stack:
        for same, starting in (
            (True, servers.numcheck(data.data_dir, spoken, sizes)),
            (True, servers.grpc_cpp(index, spoken, sizes)),
            (False, servers.grpc_cpp(None, spoken, empty)),
            (False, servers.nghttpd(answers, spoken)),
        ):
            try:
                started = stack.enter_context(starting)
            except Missing as missing:
                say(f"left out: {missing}")
                continue
            found += started
            for target in started if same else []:
                for numbers, request in requests.items():
                    servers.assert_same_answers(target, framed(request), answers[numbers])
        yield found


def framed(request: bytes) -> bytes:
    """As a message of gRPC."""
    return b"\0" + len(request).to_bytes(4, "big") + request


def compare(plan: Plan, data: Population, name: str) -> Iterator[Result]:
    """Every case for every server, then each at half of what it reached."""
    if shutil.which("h2load") is None:
        say("left out: h2load is missing: apt install nghttp2-client")
        return
    requests = {size: to_request(data.random_numbers(size, seed=size)) for size in plan.sizes}
    with (
        transport(name, data.data_dir) as spoken,
        targets(data, requests, spoken) as found,
        tempfile.TemporaryDirectory() as directory,
    ):
        bodies = {size: written(data, size, Path(directory)) for size in plan.sizes}
        capacity: dict[str, float] = {}
        for size in plan.sizes:
            for connections in plan.connections:
                for target in found:
                    if size not in target.answer_sizes:
                        continue
                    try:
                        result = measure(target, bodies[size], size, connections, plan.seconds)
                    except Refused as refused:
                        say(f"left out: {target.name}, {size} numbers, {connections} connections: {refused}")
                        continue
                    if size == 1:
                        capacity[target.name] = max(capacity.get(target.name, 0), result.wall_rate)
                    yield result
        for target in found:
            if 1 in target.answer_sizes:
                rate = capacity[target.name] / 2
                yield measure_paced(target, bodies[1], 1, PACED_CONNECTIONS, rate, plan.paced_seconds)


def written(data: Population, size: int, directory: Path) -> list[Path]:
    """Files of requests that differ, as many as are ever sent at once; the answers to all of them are equally long."""
    files = []
    for place in range(bodies_at_once(size, BODIES_MAX)):
        files.append(directory / f"{size}-{place}")
        files[-1].write_bytes(framed(request_of(data, size, place)))
    return files


def request_of(data: Population, size: int, place: int) -> bytes:
    return to_request(data.random_numbers(size, seed=size + 100_003 * place))


def compare_kernel(plan: Plan, data: Population) -> Iterator[Result]:
    """The same requests answered by the kernel alone, in this process: what a listener cannot be faster than."""
    pin(0)
    check = data.index.table.check_numbers
    for size in plan.sizes:
        for connections in plan.connections:
            count = bodies_at_once(size, connections)
            following = cycle([request_of(data, size, place) for place in range(count)])
            calls, start = 0, time.process_time()
            while time.process_time() - start < min(plan.seconds, KERNEL_S):
                for _ in range(max(1, LARGEST // size)):
                    check(next(following), numbers_per_call_max=size)
                    calls += 1
            rate = calls / (time.process_time() - start)
            yield Result(
                server=KERNEL, transport="plaintext", numbers=size, different=count, connections=connections,
                in_flight=1, calls=calls, offered_per_s=None, answered=1.0, wall_rate=rate, cpu_rate=rate,
                cpu_share=1.0,
                percentiles_us=(None,) * len(PERCENTILES),
            )  # fmt: skip
    pin(1)


def compare_stores(plan: Plan, data: Population) -> Iterator[Result]:
    """The same numbers from what a user would take instead."""
    for opening in (stores.redis, stores.postgresql):
        try:
            with opening(data) as store:
                if store.over_connections is not None:
                    for connections in plan.connections:
                        yield store.over_connections(connections, plan.seconds)
                for way in store.ways:
                    for size in plan.sizes:
                        yield stores.measure(way, data, size, plan.seconds)
        except Missing as missing:
            say(f"left out: {missing}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("--small", action="store_true", help="a minute's try, whose figures mean nothing")
    parser.add_argument(
        "--seconds", type=float, help="how long each case is measured: 2 unless told, some 15 minutes in all"
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), help="where the report goes")
    parser.add_argument("--transport", choices=NAMES, action="append", help="both unless told; may be repeated")
    options = parser.parse_args()
    directory = Path(os.environ.get("NUMCHECK_BENCH_DIR", "build/bench"))
    directory.mkdir(parents=True, exist_ok=True)
    active_count = int(os.environ.get("NUMCHECK_BENCH_NUMBERS", SMALL_COUNT if options.small else REFERENCE_COUNT))
    data = population(directory, active_count)
    pin(1)
    results = []
    for result in everything(options.transport or NAMES, data, small=options.small, seconds=options.seconds):
        say(
            f"{result.server:26} {result.transport:9} {result.numbers:6} numbers {result.connections:5} connections: "
            f"{result.cpu_rate:11,.0f} calls/s of CPU, {result.wall_rate:11,.0f}/s, "
            f"{result.cpu_share:4.0%} CPU, p99 {result.percentiles_us[1] or 0:,.0f} us"
        )
        results.append(result)
    write_report(options.out, results, active_count=active_count)


def everything(names: Sequence[str], data: Population, *, small: bool, seconds: float | None) -> Iterator[Result]:
    """All that is compared; a transport that cannot be had here is left out with a line."""
    plans = SMALL if small else FULL
    if seconds is not None:
        plans = {name: replace(plan, seconds=seconds, paced_seconds=2 * seconds) for name, plan in plans.items()}
    yield from compare_kernel(plans["plaintext"], data)
    for name in names:
        try:
            yield from compare(plans[name], data, name)
        except Missing as missing:
            say(f"left out: {missing}")
    yield from compare_stores(plans["plaintext"], data)


if __name__ == "__main__":
    main()
