"""The page of a run: one table and, where matplotlib is installed, one plot; and what follows from them."""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.libraries import KERNEL
from benchmarks.peers.peer import About
from benchmarks.peers.servers import GRPC_CPP, NATIVE
from numcheck.bench.measure import Figure
from numcheck.bench.resources import OTHERS_MUCH, machine

try:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot
except ImportError:
    mpl = None

NOWHERE = "KeyDB and DragonflyDB are in neither Debian nor PyPI"
BATCH = 10_000
BATCHES = (1, 1_000, BATCH)
COLOURS = ("#9ecae1", "#4292c6", "#08519c")

PAGE = """\
# Beside the others

`make bench-peers` writes this page, in some six minutes: do not edit it. [performance.md](performance.md) says what
follows from it, and `numcheck bench` measures numcheck alone ([benchmarking.md](benchmarking.md)).

{facts}

![Numbers a second of processor time, and memory, by peer](figures/peers.svg)

Million numbers a second of the answering process's processor time; *by the clock*. “Alone” is the median time of a call
of one number when no other is under way.

{table}
{lacking}
## How each is asked

- **The same numbers**, drawn at random from all that are allotted, in requests that differ, up to a million numbers in
  all. What answers is on the first core, what asks on the last. Peers are asked in turn, case by case; each figure is
  the median of {rounds} rounds of {seconds} s.
- **A call of 1 number**: 8 connections with 16 calls in flight each; 1,000: 8 with 2; 10,000: 4 with 2. A library has
  one caller and no network; *numcheck's kernel* is ours as a library.
- **Servers that speak gRPC** are asked by the generator of `numcheck bench`. *gRPC C++* and *grpcio* have numcheck's
  kernel and index behind them: another transport, and nothing else. *Empty answers* is that without work. *nghttpd*
  reads the request and sends a file of the answer's size: no lookup, no gRPC.
- **Redis and Valkey** hold a string of a bit a number, as a set of so many takes more memory than the machine has; a
  client of ours sends as many calls at once as the others have in flight, made before. *GETBIT* is a command a number,
  *BITFIELD* one a call.
- **PostgreSQL and SQLite** hold a table of blocks of 10,000 numbers, each with its operator and a bit a number: a row a
  number takes too long to load. PostgreSQL is asked over one connection, with 128 calls of one number in its pipeline.
  SQLite maps its file.
- **phonenumbers** reads text and says whether such a number may exist, from a table that it was made with.
- **Memory** is what the processes keep, mapped files as well, and shared pages once; an interpreter alone has 10 MB.
- **Every answer that can be compared is**, with numcheck's kernel, before anything is measured.

## What was promised

{promises}
## By connections, and over TLS

Thousand calls of one number a second of the server's processor time; *by the clock*. Over TLS both sides show
certificates, and the node asks whether the caller may call; nghttpd shows its own alone. In the last columns numbers
are million a second, 10,000 a call.

{transports}
Times of calls of one number that are due at half of the rate above, over 64 connections in plaintext; the round with
the median p99:

{times}"""


class Measured(NamedTuple):
    """A figure of a peer."""

    peer: str
    transport: str
    figure: Figure


@dataclass
class Report:
    """All that came of a run."""

    active_count: int
    rounds: int
    seconds: float
    load_average: float = field(default_factory=lambda: os.getloadavg()[0])
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    abouts: list[About] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes, by peer."""
    lacking: list[str] = field(default_factory=list)

    def figures(self, peer: str, transport: str = "plaintext") -> list[Figure]:
        """Return those of closed loops."""
        own = (one.figure for one in self.measured if (one.peer, one.transport) == (peer, transport))
        return [one for one in own if not one.offered_per_s]

    def busiest(self, peer: str, numbers: int, transport: str = "plaintext") -> Figure | None:
        """Return the figure of so many numbers a call with the most calls in flight on a connection."""
        found = [one for one in self.figures(peer, transport) if one.items == numbers]
        return max(found, key=lambda one: (one.in_flight, one.connections), default=None)

    def connected(self, peer: str, connections: int, transport: str = "plaintext") -> Figure | None:
        """Return the figure of one call of one number under way on each of so many connections."""
        wanted = (1, connections, 1)
        found = (one for one in self.figures(peer, transport) if (one.items, one.connections, one.in_flight) == wanted)
        return next(found, None)

    def paced(self) -> list[Measured]:
        """Return the figures of open loops."""
        return [one for one in self.measured if one.figure.offered_per_s]


def rate_of(figure: Figure) -> float:
    """Return the calls by a second of the processor time of what answered."""
    return figure.calls_per_core_s or 0.0


def write_report(directory: Path, report: Report) -> None:
    """Write peers.md, figures/peers.svg and figures/peers.json."""
    figures = directory / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "peers.json").write_text(json.dumps(_as_json(report), indent=1) + "\n")
    _plot(figures / "peers.svg", report)
    page = PAGE.format(
        facts=_facts(report),
        table=_table(report),
        lacking=_lacking(report),
        rounds=report.rounds,
        seconds=report.seconds,
        promises=_promises(report),
        transports=_transports(report),
        times=_times(report),
    )
    (directory / "peers.md").write_text(page)


def _as_json(report: Report) -> dict[str, object]:
    return {
        "at": report.at.isoformat(),
        "machine": machine(),
        "active_count": report.active_count,
        "load_average": report.load_average,
        "peers": [{**about._asdict(), "memory": report.memory[about.name]} for about in report.abouts],
        "figures": [{"peer": one.peer, "transport": one.transport, **one.figure.as_dict()} for one in report.measured],
        "left_out": report.lacking,
    }


def _facts(report: Report) -> str:
    known = machine()
    others = statistics.fmean(one.figure.others_cores or 0 for one in report.measured) if report.measured else 0.0
    busy = " It was busy: compare processor time alone." if others >= OTHERS_MUCH else ""
    return (
        f"{report.at:%Y-%m-%d}, {known['cores']} cores of {known['processor']}, {known['memory']}, {known['system']}, "
        f"Python {known['python']}. {report.active_count:,} active numbers. The load of the machine was "
        f"{report.load_average:.1f} when it began; others kept {others:.2f} cores busy meanwhile.{busy}"
    )


def _lacking(report: Report) -> str:
    return "".join(f"Left out: {one}.\n" for one in (*report.lacking, NOWHERE))


# --- tables


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _table(report: Report) -> str:
    head = ["", "asked", "tells", "memory, MB", "alone, ms", *(f"{numbers:,} a call" for numbers in BATCHES)]
    return _rows(head, [_row(report, about) for about in report.abouts])


def _row(report: Report, about: About) -> list[str]:
    alone = report.connected(about.name, 1)
    return [
        f"{about.name} {about.version}".strip(),
        about.asked,
        about.knows,
        f"{report.memory[about.name] / 1e6:,.0f}",
        _ms(alone.p50_s) if alone else "",
        *(_rates(report.busiest(about.name, numbers), numbers / 1e6) for numbers in BATCHES),
    ]


def _rates(figure: Figure | None, unit: float) -> str:
    """Return how many a second of processor time and by the clock; with an asterisk if calls failed."""
    if figure is None:
        return ""
    mark = "\\*" if figure.failures else ""
    return f"**{_short(unit * rate_of(figure))}**, *{_short(unit * figure.calls_per_s)}*{mark}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ms(seconds: float | None) -> str:
    return "never" if seconds is None else _short(1e3 * seconds)


def _transports(report: Report) -> str:
    """One row for each server and transport."""
    head = ["", "over", "8, 16 in flight", "64", "1,000", "10,000 a call"]
    rows = []
    for about in report.abouts:
        for transport in ("plaintext", "TLS"):
            figures = [
                report.busiest(about.name, 1, transport),
                *(report.connected(about.name, count, transport) for count in (64, 1_000)),
            ]
            if figures[1] is not None:
                cells = [_rates(one, 1e-3) for one in figures]
                rows.append(
                    [about.name, transport, *cells, _rates(report.busiest(about.name, BATCH, transport), BATCH / 1e6)]
                )
    return _rows(head, rows)


def _times(report: Report) -> str:
    head = ["", "calls a second", "p50, ms", "p99", "p99.9"]
    return _rows(
        head,
        [
            [
                one.peer,
                f"{one.figure.calls_per_s:,.0f}",
                *map(_ms, (one.figure.p50_s, one.figure.p99_s, one.figure.p999_s)),
            ]
            for one in report.paced()
        ],
    )


def _promises(report: Report) -> str:
    """Promises beside what came of them, in plaintext."""

    def rate(peer: str, numbers: int) -> float:
        figure = report.busiest(peer, numbers)
        return rate_of(figure) if figure else 0.0

    def beside(other: str, numbers: int) -> float | None:
        return rate(NATIVE, numbers) / rate(other, numbers) if rate(other, numbers) else None

    late = next((one.figure.p99_s for one in report.paced() if one.peer == NATIVE), None)
    rows: list[tuple[str, str, float | None, str]] = [
        ("calls of 1 number a second of CPU", "250,000", rate(NATIVE, 1), "{:,.0f}"),
        ("beside gRPC C++ with the same kernel", "5 times", beside(GRPC_CPP, 1), "{:.1f} times"),
        ("p99 of such calls at half of capacity, 64 connections", "2 ms", late and 1e3 * late, "{:,.1f} ms"),
        ("numbers a second of CPU, 10,000 a call", "50 million", BATCH * rate(NATIVE, BATCH) / 1e6, "{:.0f} million"),
        ("beside the kernel alone", "70%", beside(KERNEL, BATCH), "{:.0%}"),
        ("beside gRPC C++ with the same kernel", "1.3 times", beside(GRPC_CPP, BATCH), "{:.2f} times"),
    ]
    told = [[what, promised, "" if found is None else form.format(found)] for what, promised, found, form in rows]
    return _rows(["numcheck", "promised", "here"], told)


# --- the plot


def _plot(path: Path, report: Report) -> None:
    """Draw a row for each peer: its numbers a second by numbers a call, and its memory."""
    if mpl is None:
        return
    mpl.rcParams |= {"svg.hashsalt": "numcheck", "svg.fonttype": "none"}
    names = [about.name for about in report.abouts]
    figure, (rates, sizes) = pyplot.subplots(
        1, 2, figsize=(12, 1.2 + 0.36 * len(names)), sharey=True, width_ratios=(3, 1)
    )
    for numbers, colour in zip(BATCHES, COLOURS, strict=True):
        points = [
            (numbers * rate_of(found), place)
            for place, name in enumerate(names)
            if (found := report.busiest(name, numbers)) is not None and rate_of(found)
        ]
        if points:
            rates.plot(*zip(*points, strict=True), "o", color=colour, markersize=9, label=f"{numbers:,} a call")
    sizes.barh(range(len(names)), [report.memory[name] / 1e6 for name in names], color=COLOURS[1], height=0.5)
    for place, name in enumerate(names):
        sizes.text(report.memory[name] / 1e6, place, f" {report.memory[name] / 1e6:,.0f}", va="center", fontsize=9)
    rates.set_yticks(range(len(names)), names)
    rates.invert_yaxis()
    rates.set(xscale="log", xlabel="numbers a second of processor time")
    sizes.set(xlabel="memory, MB", xmargin=0.2)
    rates.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=3, frameon=False)
    for panel in (rates, sizes):
        panel.grid(visible=True, alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
