"""Question: what does CheckNumbers over the plain door cost beside a handler that does nothing?

The node and the empty server are processes of their own on one core, asked from the other, one call at a time. Between
two calls to the node come one to `empty`, which answers with no byte, and one of the kernel alone: all see the same
moments of the machine. `ratio` is the node's median over the sum of both; `server_us_a_call` is its processor time.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter

import grpc
import pytest

from benchmarks.population import Population, pin, to_request
from benchmarks.processes import cpu_seconds, server

REQUESTS = 100
ROUNDS = int(os.environ.get("NUMCHECK_BENCH_ROUNDS", "1500"))
SIZES = (1, 100, 1_000, 10_000, 65_536)
METHOD = "/numcheck.v1.CheckService/CheckNumbers"


@pytest.fixture(scope="module")
def node(reference: Population):
    with server("-m", "numcheck", "serve", "--data-dir", reference.data_dir, "--listen", "127.0.0.1:0") as started:
        yield started


@pytest.fixture(scope="module")
def empty():
    with server(Path(__file__).with_name("empty_server.py")) as (address, _):
        yield address


def requests_of(reference: Population, size: int) -> list[bytes]:
    """Requests that differ, as real ones do: the same one again would find its lines in the cache."""
    numbers = reference.random_numbers(size * REQUESTS, seed=2)
    return [to_request(numbers[start : start + size]) for start in range(0, len(numbers), size)]


@contextmanager
def peers(reference: Population, address: str, size: int):
    """Peers that a call is compared with, by name."""
    table = reference.index.table
    with grpc.insecure_channel(address) as channel:
        yield {
            "empty": channel.unary_unary(METHOD),
            "kernel": lambda request: table.check_numbers(request, numbers_per_call_max=size),
        }


@pytest.mark.parametrize("size", SIZES)
def test_check_numbers(benchmark, reference, node, empty, size):
    address, pid = node
    following, times = cycle(requests_of(reference, size)), defaultdict(list)
    pin(1)
    benchmark.group = "by numbers a call"

    def timed(name: str, ask: Callable[[bytes], bytes], request: bytes) -> None:
        start = perf_counter()
        ask(request)
        times[name].append(perf_counter() - start)

    def ask_peers():
        for name, ask in others.items():
            timed(name, ask, next(following))
        return (next(following),), {}

    with peers(reference, empty, size) as others, grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)
        call(next(following))
        spent = cpu_seconds(pid)
        benchmark.pedantic(call, setup=ask_peers, rounds=ROUNDS)
        spent = cpu_seconds(pid) - spent
    if benchmark.stats is None:  # only tried, not measured
        return
    medians = {name: median(taken) * 1e6 for name, taken in times.items()}
    own = benchmark.stats["median"] * 1e6
    benchmark.extra_info.update({f"{name}_us": round(one, 1) for name, one in medians.items()})
    benchmark.extra_info["server_us_a_call"] = round(spent / ROUNDS * 1e6, 1)
    benchmark.extra_info["ratio"] = round(own / (medians["empty"] + medians["kernel"]), 3)
