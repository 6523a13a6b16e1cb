"""Question: how many registrations a second do four nodes of one PostgreSQL make, beside one node?

A commit takes 10 ms, as with a standby that is some hundred kilometres away: `commit_delay` has PostgreSQL wait before
it synchronises its log. Each node has the same number of calls in flight, so that what is compared is the waiting: of
one node its calls wait for one commit after the other; four wait beside each other, as far as the chain of events lets
them. With many calls in flight the two cores of the machine, which nodes, database and clients share, are full before.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import psycopg
import pytest

from benchmarks.bench_registrations import METHOD, requests_of
from benchmarks.calling import Calls, call_each
from benchmarks.processes import cpu_seconds
from numcheck.serving.access import KEY_NAME
from numcheck.store import Store
from tests.registrations.world import small
from tests.store.engines import Server

COMMIT_DELAY_US = 10_000
NODES = 4
IN_FLIGHT = [int(one) for one in os.environ.get("NUMCHECK_BENCH_IN_FLIGHT", "8,16,32").split(",")]
CALLS = int(os.environ.get("NUMCHECK_BENCH_REGISTRATIONS", "20000")) // 10  # of a node


class Nodes(NamedTuple):
    """Nodes of one database: where each listens, and its process."""

    addresses: list[str]
    pids: list[int]

    def cpu_s(self) -> float:
        """Processor time of all of them so far."""
        return sum(map(cpu_seconds, self.pids))


@contextmanager
def nodes_of(directory: Path, url: str, count: int) -> Iterator[Nodes]:
    """So many nodes, each a process with a data directory of its own."""
    environment = {
        **os.environ,
        "NUMCHECK_VERIFICATION_METHODS": "operator",
        "NUMCHECK_EVIDENCE_AGE_MAX_S": "0",
        "NUMCHECK_DATABASE_URL": url,
        "NUMCHECK_KEYS_FILE": str(directory / "keys.json"),
    }
    nodes = Nodes([], [])
    with ExitStack() as stack:
        for number in range(count):
            data_dir = directory / f"node{number}"
            data_dir.mkdir()
            if number:
                shutil.copy(directory / "node0" / KEY_NAME, data_dir)
            command = [
                "-m",
                "numcheck",
                "serve",
                "--data-dir",
                str(data_dir),
                "--listen",
                "127.0.0.1:0",
                "--threads",
                "1",
            ]
            process = subprocess.Popen(
                [sys.executable, *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            ready = next(line for line in process.stderr or () if "ready on " in line)
            nodes.addresses.append(ready.split("ready on ")[1].split()[0])
            nodes.pids.append(process.pid)
        yield nodes


@pytest.fixture
def server():
    """A PostgreSQL that waits for its disk, and before that for 10 ms. Not in pytest's own directory: another run of
    pytest closes that to the server's user."""
    with tempfile.TemporaryDirectory(prefix="numcheck-nodes-", ignore_cleanup_errors=True) as directory:
        one = Server(Path(directory) / "data", fsync=True)
        one.configure(f"commit_delay = {COMMIT_DELAY_US}")
        one.configure("commit_siblings = 0")
        yield one
        one.close()


@pytest.mark.benchmark(group="nodes")
def test_four_nodes_beside_one(benchmark, server, tmp_path):
    """Rates of one node and of four, at the same number of calls in flight on each."""
    url = server.new_database()
    with Store(tmp_path / "filled", url=url) as store:
        small.fill_store(store)
    with psycopg.connect(url) as connection:
        commit_ms = 1_000 * timed_commits(connection)
    with nodes_of(tmp_path, url, NODES) as nodes:
        runs = iter(range(10**9))
        benchmark.pedantic(lambda: compare(nodes, runs, commit_ms), rounds=1)


def timed_commits(connection: psycopg.Connection) -> float:
    """Seconds that a commit takes here."""
    connection.execute("CREATE TABLE timed (one integer)")
    connection.commit()
    began = perf_counter()
    for _ in range(20):
        connection.execute("INSERT INTO timed VALUES (1)")
        connection.commit()
    return (perf_counter() - began) / 20


def compare(nodes: Nodes, runs: Iterator[int], commit_ms: float) -> None:
    print(f"a commit takes {commit_ms:.1f} ms")
    for in_flight in IN_FLIGHT:
        one = registered(nodes, nodes.addresses[:1], runs, in_flight)
        four = registered(nodes, nodes.addresses, runs, in_flight)
        print(
            f"{in_flight} in flight on a node: one node {one:,.0f} a second, four {four:,.0f}: {four / one:.2f} times"
        )


def registered(nodes: Nodes, addresses: Sequence[str], runs: Iterator[int], in_flight: int) -> float:
    """Registrations a second."""
    count = max(CALLS * len(addresses) * in_flight // 32, 64)
    requests, _ = requests_of(count, f"{next(runs)}-")
    began = nodes.cpu_s()
    calls: Calls = call_each(addresses, f"{METHOD}Register", requests, connections=1, in_flight=in_flight)
    assert len(calls.durations_s) == count
    p50_ms = 1_000 * sorted(calls.durations_s)[count // 2]
    cpu_us = 1e6 * (nodes.cpu_s() - began) / count
    print(f"  {len(addresses)} nodes: half within {p50_ms:.0f} ms, {cpu_us:.0f} microseconds of processor time each")
    return count / calls.took_s
