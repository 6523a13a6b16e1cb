"""The report of a run: tables in Markdown and, where matplotlib is installed, a plot."""

import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
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

PREAMBLE = """\
# Beside the others

`make bench-peers` writes this page: do not edit it. [performance.md](performance.md) says what follows from it.

{facts}

- **Rates are a second of the server's processor time** (`/proc/PID/stat`, 10 ms ticks), as the generator's core is full
  first for the fastest; *in italics by the clock*. A server whose core is idle at times finds fewer calls at once when
  it wakes, and each costs it more.
- Servers are on the first core, h2load on the last, and asked in turn, case by case. Calls in flight: up to 64 together
  and 16 a connection; of 10,000 numbers and more 16 and 8. Each case asks the same request again and again.
- *gRPC C++, the same kernel* is numcheck's own kernel and index behind gRPC's generic callback service: another
  transport and nothing else. *Empty answers* is that service with no work. *nghttpd* reads the request and sends a file
  of the answer's size: no lookup, no gRPC.
- Redis and PostgreSQL are asked by a client of ours over one connection, one batch at a time, and the batches differ;
  one number over connections by redis-benchmark, always the same. Redis knows whether a number is active, from one
  string of a bit a number. PostgreSQL joins the numbers with a table of blocks of 10,000, each with its operator and a
  bit a number. Neither tells what is invalid, unallotted, no mobile number, ported, or out of date.
- Every answer that could be compared was, with numcheck's kernel, before anything was measured. An asterisk: less than
  99% of the calls were answered, the others refused.
"""


def write_report(directory: Path, results: Sequence[Result], *, transport: str, active_count: int) -> None:
    """Write peers.md and figures/peers.svg."""
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    parts = [PREAMBLE.format(facts=_facts(transport, active_count))]
    if _plot(directory / "figures" / "peers.svg", results):
        parts.append("![Rates and times by server](figures/peers.svg)\n")
    steady = [result for result in results if result.offered_per_s is None]
    parts += [
        "## One number a call\n\nThousand calls a second of processor time; *by the clock*.\n",
        _table(steady, lambda one: one.numbers == 1, lambda one: one.connections, "connections", _thousands),
        "## Times of one-number calls, as fast as the server can\n\np50 / p99 / p99.9 in milliseconds.\n",
        _table(steady, lambda one: one.numbers == 1, lambda one: one.connections, "connections", _times),
        "## Times of one-number calls at half of that\n\nHalf of the highest rate by the clock, over 64 connections.\n",
        _paced_table([result for result in results if result.offered_per_s is not None]),
    ]  # fmt: skip
    for connections in sorted({result.connections for result in steady}):
        parts += [
            f"## Numbers a call, {connections:,} connection{'s' if connections > 1 else ''}\n\n"
            "Million numbers a second of processor time; *by the clock*; p50 / p99 / p99.9 of a call in ms.\n",
            _table(
                steady,
                lambda one, connections=connections: one.connections == connections,
                lambda one: one.numbers,
                "numbers a call",
                lambda one: f"{_millions(one)}<br>{_times(one)}",
            ),
        ]
    (directory / "peers.md").write_text("\n".join(parts).rstrip() + "\n")


def _facts(transport: str, active_count: int) -> str:
    used = [f"numcheck {version('numcheck')}", f"Python {platform.python_version()}", _version("h2load", "--version")]
    used += [_version("nghttpd", "--version"), _version("redis-server", "--version"), _grpc_version()]
    known = ", ".join(one for one in used if one)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {platform.system()} {platform.release()}; {known}. "
        f"{active_count:,} active numbers, {transport}."
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


def _table(
    results: Sequence[Result],
    wanted: Callable[[Result], bool],
    column: Callable[[Result], int],
    what: str,
    cell: Callable[[Result], str],
) -> str:
    chosen = [result for result in results if wanted(result)]
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
