"""The report of a run: tables in Markdown and, where matplotlib is installed, a plot."""

import json
import platform
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.load import Result

try:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot
except ImportError:
    mpl = None

CONNECTIONS_OF_BATCHES = 4
BATCH = 10_000
KERNEL, NATIVE, GRPC = "the kernel alone", "native door", "gRPC C++, the same kernel"

PREAMBLE = """\
# Beside the others

`make bench-peers` writes this page: do not edit it. [performance.md](performance.md) says what follows from it.

{facts}

- **Rates are a second of the server's processor time** (`/proc/PID/stat`, 10 ms ticks), as the generator's core is full
  first for the fastest; *in italics by the clock*. A server whose core is idle at times finds fewer calls at once when
  it wakes, and each costs it more.
- Servers are on the first core, h2load on the last, and asked in turn, case by case. Calls in flight: up to 64 together
  and 16 a connection; of 10,000 numbers and more 16 and 8. From 1,000 numbers a call on each connection, up to 64, asks
  for numbers of its own, drawn at random from all that are allotted, so that 64 connections ask for 640,000 different
  numbers at 10,000 a call; with fewer connections more of the index stays in the cache. Smaller calls are all the same.
- *The kernel alone* answers those same requests in a loop, on the same core, with no listener: nobody can be faster.
- *gRPC C++, the same kernel* is numcheck's own kernel and index behind gRPC's generic callback service: another
  transport and nothing else. *Empty answers* is that service with no work. *nghttpd* reads the request and sends a file
  of the answer's size: no lookup, no gRPC.
- Redis and PostgreSQL are asked by a client of ours over one connection, one batch at a time, and the batches differ;
  one number over connections by redis-benchmark, always the same. Redis knows whether a number is active, from one
  string of a bit a number. PostgreSQL joins the numbers with a table of blocks of 10,000, each with its operator and a
  bit a number. Neither tells what is invalid, unallotted, no mobile number, ported, or out of date.
- Every answer that could be compared was, with numcheck's kernel, before anything was measured. An asterisk: less than
  99% of the calls were answered, the others refused.
- Over TLS both sides show certificates, and the node asks whether the caller may call; nghttpd shows its own alone.
"""


def write_report(directory: Path, results: Sequence[Result], *, active_count: int) -> None:
    """Write peers.md and, for each transport, figures/peers-*.svg and .json."""
    figures = directory / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    parts = [PREAMBLE.format(facts=_facts(active_count)), _promises(results)]
    for transport in dict.fromkeys(result.transport for result in results):
        own = [result for result in results if result.transport == transport]
        name = f"peers-{transport.lower()}"
        (figures / f"{name}.json").write_text(json.dumps([asdict(result) for result in own], indent=1) + "\n")
        parts.append("## In plaintext\n" if transport == "plaintext" else f"## Over {transport}\n")
        if _plot(figures / f"{name}.svg", own):
            parts.append(f"![Rates and times by server](figures/{name}.svg)\n")
        parts += _tables(own)
    (directory / "peers.md").write_text("\n".join(parts).rstrip() + "\n")


def _tables(results: Sequence[Result]) -> list[str]:
    """Of one transport."""
    steady = [result for result in results if result.offered_per_s is None]
    single = [result for result in steady if result.numbers == 1 and result.server != KERNEL]
    parts = [
        "### One number a call\n\nThousand calls a second of processor time; *by the clock*.\n",
        _table(single, lambda one: one.connections, "connections", _thousands),
        "### Times of one-number calls, as fast as the server can\n\np50 / p99 / p99.9 in milliseconds.\n",
        _table(single, lambda one: one.connections, "connections", _times),
        "### Times of one-number calls at half of that\n\nHalf of the highest rate by the clock; 64 connections.\n",
        _paced_table([result for result in results if result.offered_per_s is not None]),
    ]  # fmt: skip
    for connections in sorted({result.connections for result in steady}):
        own = [result for result in steady if result.connections == connections]
        parts += [
            f"### Numbers a call, {connections:,} connection{'s' if connections > 1 else ''}\n\n"
            "Million numbers a second of processor time; *by the clock*; p50 / p99 / p99.9 of a call in ms.\n",
            _table(own, lambda one: one.numbers, "numbers a call", lambda one: f"{_millions(one)}<br>{_times(one)}"),
        ]
    return parts


def _promises(results: Sequence[Result]) -> str:
    """Promises beside what came of them, in plaintext."""
    steady = [result for result in results if result.offered_per_s is None and result.transport == "plaintext"]

    def best(server: str, numbers: int) -> float:
        return max((one.cpu_rate for one in steady if (one.server, one.numbers) == (server, numbers)), default=0.0)

    def beside(server: str, other: str, numbers: int) -> float:
        """The median of the ratios at each number of connections: both were asked in the same minute."""
        rates = {(one.server, one.connections): one.cpu_rate for one in steady if one.numbers == numbers}
        ratios = [
            rate / rates[other, at] for (who, at), rate in rates.items() if who == server and (other, at) in rates
        ]
        return statistics.median(ratios) if ratios else 0.0

    paced = [one for one in results if one.offered_per_s is not None and one.transport == "plaintext"]
    late = next((one.percentiles_us[1] for one in paced if one.server == NATIVE), None)
    batch = max((one.numbers for one in steady if one.numbers <= BATCH), default=BATCH)
    held = batch * best(NATIVE, batch) / 1e6
    lines = [
        "| the native door | promised | here |",
        "|---|---|---|",
        f"| calls of 1 number a second of CPU | 250,000 | {best(NATIVE, 1):,.0f} |",
        f"| beside gRPC C++ with the same kernel | 5 times | {beside(NATIVE, GRPC, 1):.1f} times |",
        f"| p99 of such calls at half of capacity | 2 ms | {'–' if late is None else f'{late / 1e3:.2g} ms'} |",
        f"| numbers a second of CPU, {batch:,} a call | 50 million | {held:,.0f} million |",
        f"| beside the kernel alone, the same requests | 70% | {beside(NATIVE, KERNEL, batch):.0%} |",
        f"| beside gRPC C++ with the same kernel | 1.3 times | {beside(NATIVE, GRPC, batch):.2f} times |",
    ]
    return "## What was promised\n\n" + "\n".join(lines) + "\n"


def _facts(active_count: int) -> str:
    used = [f"numcheck {version('numcheck')}", f"Python {platform.python_version()}", _version("h2load", "--version")]
    used += [_version("nghttpd", "--version"), _version("redis-server", "--version"), _grpc_version()]
    known = ", ".join(one for one in used if one)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {platform.system()} {platform.release()}; {known}. "
        f"{active_count:,} active numbers."
    )


def _version(program: str, argument: str) -> str:
    if shutil.which(program) is None:
        return ""
    said = subprocess.run([program, argument], capture_output=True, text=True, check=False).stdout.strip()
    return " ".join(said.split()[:3]).replace(" server ", " ").rstrip(",")


def _grpc_version() -> str:
    said = subprocess.run(
        ["pkg-config", "--modversion", "grpc++"], capture_output=True, text=True, check=False
    ).stdout.strip() if shutil.which("pkg-config") else ""  # fmt: skip
    return f"gRPC C++ {said}" if said else ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()


# --- tables -----------------------------------------------------------------------------------------------------


def _table(chosen: Sequence[Result], column: Callable[[Result], int], what: str, cell: Callable[[Result], str]) -> str:
    columns = sorted({column(result) for result in chosen})
    cells = {(result.server, column(result)): cell(result) for result in chosen}
    lines = [f"| {what} | " + " | ".join(f"{one:,}" for one in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for server in dict.fromkeys(result.server for result in chosen):
        lines.append(f"| {server} | " + " | ".join(cells.get((server, one), "") for one in columns) + " |")
    return "\n".join(lines) + "\n"


def _paced_table(results: Sequence[Result]) -> str:
    lines = ["| server | calls a second | processor | p50 / p99 / p99.9, ms |", "|---|---|---|---|"]
    for one in results:
        lines.append(f"| {one.server} | {one.wall_rate:,.0f} | {one.cpu_share:.0%} | {_times(one)} |")
    return "\n".join(lines) + "\n"


def _times(result: Result) -> str:
    return " / ".join("–" if time is None else f"{time / 1e3:.3g}" for time in result.percentiles_us)


def _thousands(result: Result) -> str:
    return f"**{result.cpu_rate / 1e3:,.3g}**, *{result.wall_rate / 1e3:,.3g}*{_mark(result)}"


def _millions(result: Result) -> str:
    numbers = result.numbers * result.answered / 1e6
    return f"**{numbers * result.cpu_rate:,.3g}**, *{numbers * result.wall_rate:,.3g}*{_mark(result)}"


def _mark(result: Result) -> str:
    return "" if result.answered > 0.99 else "\\*"


# --- the plot ---------------------------------------------------------------------------------------------------


def _plot(path: Path, results: Sequence[Result]) -> bool:
    if mpl is None:
        return False
    mpl.rcParams |= {"svg.hashsalt": "numcheck", "svg.fonttype": "none"}
    figure, (calls, numbers, times) = pyplot.subplots(1, 3, figsize=(15, 5))
    servers = list(dict.fromkeys(result.server for result in results))
    colours = dict(zip(servers, pyplot.get_cmap("tab10").colors, strict=False))
    steady = [result for result in results if result.offered_per_s is None]
    for server in servers:
        own = [result for result in steady if result.server == server]
        by_connections = sorted((one.connections, one.cpu_rate) for one in own if one.numbers == 1)
        most = CONNECTIONS_OF_BATCHES if any(one.connections == CONNECTIONS_OF_BATCHES for one in own) else 1
        by_numbers = sorted(
            (one.numbers, one.numbers * one.answered * one.cpu_rate) for one in own if one.connections == most
        )
        if len(by_connections) > 1:
            calls.plot(*zip(*by_connections, strict=True), marker="o", color=colours[server])
        numbers.plot(*zip(*by_numbers, strict=True), marker="o", color=colours[server], label=server)
    paced = [result for result in results if result.offered_per_s is not None]
    for place, result in enumerate(paced):
        half_to_most = [time / 1e3 for time in result.percentiles_us if time is not None]
        times.plot(half_to_most, [place] * len(half_to_most), marker="o", color=colours[result.server])
    times.set_yticks(range(len(paced)), [result.server for result in paced])
    times.set(xscale="log", xlabel="p50, p99, p99.9 in ms", title="One-number calls at half of capacity")
    calls.set(xscale="log", yscale="log", xlabel="connections", title="One-number calls a second of server CPU")
    numbers.set(xscale="log", yscale="log", xlabel="numbers a call", title="Numbers a second of server CPU")
    for panel in (calls, numbers, times):
        panel.grid(visible=True, alpha=0.3)
    figure.legend(loc="lower center", ncols=4)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True
