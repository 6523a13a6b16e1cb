"""Question: what does numcheck answer, and what memory does it take, beside what one would take instead of it?

    python -m benchmarks.peers [--only NAME ...] [--small] [--seconds 0.7] [--rounds 3] [--out docs]

All peers run the whole time, servers and libraries on the first core; numcheck's own load generator, or a client of
ours for what speaks no gRPC, is on the last. They are asked in turn, case by case, so that all see the same minutes of
the machine, and the median of the rounds counts. What is not installed is left out, and the page says so. Writes
peers.md, figures/peers.svg and figures/peers.json. Linux alone.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers import libraries, servers, stores
from benchmarks.peers.peer import Missing, Opening, Peer, Shape
from benchmarks.peers.report import Measured, Report, rate_of, write_report
from benchmarks.peers.servers import Server
from benchmarks.peers.transports import Transport, transport
from benchmarks.population import REFERENCE_COUNT, Population, pin, population
from numcheck.bench.measure import Figure

ALONE, ONES = Shape(1, 1, 1), Shape(1, 8, 16)
THOUSANDS, TENS = Shape(1_000, 8, 2), Shape(10_000, 4, 2)
COMPARED = (ALONE, ONES, THOUSANDS, TENS)
"""The cases of every peer."""
SIZES = tuple(dict.fromkeys(shape.numbers for shape in COMPARED))
MANY, VERY_MANY = Shape(1, 64, 1), Shape(1, 1_000, 1)
OVER_TLS = (ONES, TENS)
CONNECTED = (MANY, VERY_MANY)
"""More cases of the servers that speak gRPC, in plaintext and over TLS."""
PACED_LONGER = 5  # times as long, as the slowest of a thousand calls are looked at
SMALL_COUNT = 300_000


class Way(NamedTuple):
    """How long a figure is measured, how often, and over how many connections beside those of the table."""

    seconds: float
    rounds: int
    connected: tuple[Shape, ...] = CONNECTED


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)


def speaking(data: Population, spoken: Transport) -> dict[str, Opening]:
    """Return the servers that speak gRPC, by the names of --only."""
    return {
        "numcheck": partial(servers.numcheck, data, spoken, SIZES),
        "grpc-c++": partial(servers.grpc_cpp, data, spoken, SIZES),
        "grpcio": partial(servers.grpcio, data, spoken, SIZES),
        "nghttpd": partial(servers.nghttpd, data, spoken, SIZES),
    }


def others(data: Population, directory: Path) -> dict[str, Opening]:
    """Return the stores and the libraries, by the names of --only."""
    return {
        "redis": partial(stores.redis, data),
        "valkey": partial(stores.valkey, data),
        "postgresql": partial(stores.postgresql, data),
        **{name: partial(libraries.library, name, data, directory) for name in libraries.ABOUT},
    }


def opened(openings: dict[str, Opening], only: Sequence[str], stack: ExitStack, lacking: list[str]) -> list[Peer]:
    """Return the peers that can be had here and are wanted; *lacking* gets a line for each that cannot."""
    found: list[Peer] = []
    for name, opening in openings.items():
        if only and name not in only:
            continue
        try:
            found += stack.enter_context(opening())
        except Missing as missing:
            say(f"left out: {missing}")
            lacking.append(str(missing))
    return found


def compare(peers: Sequence[Peer], shapes: Sequence[Shape], way: Way, spoken: str) -> Iterator[Measured]:
    """Measure every case in turn, round by round, and yield each peer's median."""
    for shape in shapes:
        found: dict[str, list[Figure]] = {}
        for _ in range(way.rounds):
            for peer in peers:
                figure = peer.measure(shape, way.seconds)
                if figure is not None:
                    found.setdefault(peer.about.name, []).append(figure)
        for name, figures in found.items():
            yield told(Measured(name, spoken, median_of(figures, rate_of)))


def paced(peers: Sequence[Server], measured: Sequence[Measured], way: Way, spoken: str) -> Iterator[Measured]:
    """Measure the times of calls that are due at half of the rate that each had over as many connections: in turn, as
    above, since one stall of the machine is the slowest hundredth of a round."""
    many = [one for one in measured if (one.transport, one.figure.connections) == (spoken, MANY.connections)]
    rates = {one.peer: one.figure.calls_per_s / 2 for one in many}
    found: dict[str, list[Figure]] = {}
    for _ in range(way.rounds):
        for peer in peers:
            name = peer.about.name
            found.setdefault(name, []).append(peer.measure(MANY, PACED_LONGER * way.seconds, rates[name]))
    for name, figures in found.items():
        yield told(Measured(name, spoken, median_of(figures, lambda one: one.p99_s or 0.0)))


def median_of(figures: Sequence[Figure], key: Callable[[Figure], float]) -> Figure:
    """Return the figure in the middle; the lower one of two."""
    return sorted(figures, key=key)[(len(figures) - 1) // 2]


def told(one: Measured) -> Measured:
    """Tell a figure as soon as it is there."""
    figure = one.figure
    say(
        f"{one.peer:26} {one.transport:9} {figure.items:6} numbers {figure.connections:5} connections: "
        f"{rate_of(figure):11,.0f} calls/s of CPU, {figure.calls_per_s:11,.0f}/s, others {figure.others_cores or 0:.2f}"
    )
    return one


def everything(data: Population, way: Way, only: Sequence[str]) -> Report:
    """Measure all that is wanted and can be had."""
    report = Report(data.number_count, way.rounds, way.seconds)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plaintext = stack.enter_context(transport("plaintext", data.data_dir))
        spoken = opened(speaking(data, plaintext), only, stack, report.lacking)
        peers = [*spoken, *opened(others(data, directory), only, stack, report.lacking)]
        report.abouts += [peer.about for peer in peers]
        report.measured += compare(peers, COMPARED, way, plaintext.name)
        report.memory |= {peer.about.name: peer.memory() for peer in peers}
        report.measured += compare(spoken, way.connected, way, plaintext.name)
        report.measured += paced([one for one in spoken if isinstance(one, Server)], report.measured, way, "plaintext")
    with ExitStack() as stack:
        tls = stack.enter_context(transport("TLS", data.data_dir))
        spoken = opened(speaking(data, tls), only, stack, [])
        report.measured += compare(spoken, (*OVER_TLS, *way.connected), way, tls.name)
    return report


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("--small", action="store_true", help="half a minute's try, whose figures mean nothing")
    parser.add_argument("--seconds", type=float, default=0.7, help="how long each figure is measured: 0.7 unless told")
    parser.add_argument("--rounds", type=int, default=3, help="how often, of which the median counts: 3 unless told")
    parser.add_argument("--only", metavar="NAME,NAME", default="", help="peers, such as numcheck,redis,numpy")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="where the page goes")
    options = parser.parse_args()
    if shutil.which("taskset") is None:
        sys.exit("peers are kept on a core by taskset: apt install util-linux")
    directory = Path(os.environ.get("NUMCHECK_BENCH_DIR", "build/bench"))
    directory.mkdir(parents=True, exist_ok=True)
    count = int(os.environ.get("NUMCHECK_BENCH_NUMBERS", SMALL_COUNT if options.small else REFERENCE_COUNT))
    way = Way(0.05, 1, (MANY,)) if options.small else Way(options.seconds, options.rounds)
    pin(1)
    write_report(
        options.out, everything(population(directory, count), way, options.only.split(",") if options.only else ())
    )


if __name__ == "__main__":
    main()
