"""Question: what do numcheck's listeners answer beside gRPC C++, nghttpd, Redis and PostgreSQL, in one run?

    python -m benchmarks.peers [--small] [--seconds 2] [--out docs]

Every server is a process of its own on the first core; h2load, or a client of ours, is on the last. All servers run the
whole time and are asked in turn, case by case, so that all see the same minutes of the machine. What is not installed
is left out, and a line says so. Writes peers.md and figures/peers.svg and .json into the directory. Linux alone.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.peers import servers, stores
from benchmarks.peers.load import Refused, Result, Target, measure, measure_paced
from benchmarks.peers.report import write_report
from benchmarks.peers.servers import TRANSPORTS, Missing, Transport
from benchmarks.population import REFERENCE_COUNT, Population, pin, population, to_request

SMALL_COUNT = 300_000
PACED_CONNECTIONS = 64


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long each."""

    active_count: int
    sizes: tuple[int, ...]
    connections: tuple[int, ...]
    seconds: float
    paced_seconds: float


FULL = Plan(REFERENCE_COUNT, (1, 100, 1_000, 10_000, 65_536), (1, 4, 64, 1_000), 2.0, 5.0)
SMALL = Plan(SMALL_COUNT, (1, 1_000), (1, 4), 0.1, 0.2)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def targets(data: Population, requests: dict[int, bytes], transport: Transport) -> Iterator[list[Target]]:
    """Every server that can be had here, each asked once whether it answers as it should."""
    answers = servers.answers_of(data.index, requests)
    sizes = {numbers: servers.PREFIX_SIZE + len(answer) for numbers, answer in answers.items()}
    index = servers.index_of(data)
    empty = dict.fromkeys(sizes, servers.PREFIX_SIZE)
    found: list[Target] = []
    with ExitStack() as stack:
        for same, starting in (
            (True, servers.numcheck(data.data_dir, transport, sizes)),
            (True, servers.grpc_cpp(index, transport, sizes)),
            (False, servers.grpc_cpp(None, transport, empty)),
            (False, servers.nghttpd(answers, transport)),
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


def compare(plan: Plan, data: Population, transport: Transport) -> Iterator[Result]:
    """Every case for every server, then each at half of what it reached."""
    if shutil.which("h2load") is None:
        say("left out: h2load is missing: apt install nghttp2-client")
        return
    requests = {size: to_request(data.random_numbers(size, seed=size)) for size in plan.sizes}
    with targets(data, requests, transport) as found, tempfile.TemporaryDirectory() as directory:
        bodies = {size: Path(directory, str(size)) for size in plan.sizes}
        for size, body in bodies.items():
            body.write_bytes(framed(requests[size]))
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
    parser.add_argument("--seconds", type=float, help="how long each case is measured")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="where the report goes")
    parser.add_argument("--transport", choices=TRANSPORTS, default="plaintext")
    options = parser.parse_args()
    plan = SMALL if options.small else FULL
    plan = replace(plan, active_count=int(os.environ.get("NUMCHECK_BENCH_NUMBERS", plan.active_count)))
    plan = replace(plan, seconds=options.seconds or plan.seconds)
    directory = Path(os.environ.get("NUMCHECK_BENCH_DIR", "build/bench"))
    directory.mkdir(parents=True, exist_ok=True)
    data = population(directory, plan.active_count)
    pin(1)
    results = []
    for comparing in (compare(plan, data, TRANSPORTS[options.transport]), compare_stores(plan, data)):
        for result in comparing:
            say(
                f"{result.server:26} {result.numbers:6} numbers {result.connections:5} connections: "
                f"{result.cpu_rate:11,.0f} calls/s of CPU, {result.wall_rate:11,.0f}/s, "
                f"{result.cpu_share:4.0%} CPU, p99 {result.percentiles_us[1]:,.0f} us"
            )
            results.append(result)
    write_report(options.out, results, transport=options.transport, active_count=plan.active_count)
    (options.out / "figures" / "peers.json").write_text(
        json.dumps([asdict(result) for result in results], indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
