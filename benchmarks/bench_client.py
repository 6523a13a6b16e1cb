"""Question: how many checks of one number a second does one Python client get, which batches by itself?

A node on the first core, the client on the last. `tasks` tasks, or threads, each ask for one number after the other.
Beside it, in the same run: the same tasks with a call for each number, as a client without batches makes them; and one
task alone, where a batch is one number and has to cost no more than the bare call.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from statistics import quantiles
from time import perf_counter
from typing import Any

import grpc.aio
import pytest

from benchmarks.population import Population, pin
from benchmarks.processes import cpu_seconds, server
from numcheck.client import AsyncCheckClient, CheckClient
from numcheck.v1 import check_pb2, check_pb2_grpc

SECONDS = float(os.environ.get("NUMCHECK_BENCH_CLIENT_S", "4"))
TASKS = (1, 16, 256, 2_000)
THREADS = (1, 16, 64)

Ask = Callable[[int], Awaitable[Any]]


@pytest.fixture(scope="module")
def node(reference: Population):
    words = ("-m", "numcheck", "serve", "--data-dir", reference.data_dir, "--listen", "127.0.0.1:0", "--threads", "1")
    with server(*words) as started:
        yield started


class Waits:
    """The waits of each check, in seconds."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self.until = perf_counter() + SECONDS

    def add(self, began: float) -> bool:
        """Note a wait; False once the time is over."""
        now = perf_counter()
        self.found.append(now - began)
        return now < self.until

    @property
    def p99_ms(self) -> float:
        """The 99th percentile, in milliseconds; 0 where there were too few."""
        return quantiles(self.found, n=100)[98] * 1_000 if len(self.found) > 100 else 0.0


async def ask_by_tasks(ask: Ask, count: int, numbers: list[int]) -> Waits:
    """Have each task ask for one number after the other."""
    waits = Waits()

    async def task(place: int) -> None:
        going_on, at = True, place
        while going_on:
            began = perf_counter()
            await ask(numbers[at % len(numbers)])
            going_on, at = waits.add(began), at + count

    await asyncio.gather(*(task(place) for place in range(count)))
    return waits


async def both(address: str, count: int, numbers: list[int]) -> tuple[Waits, Waits]:
    """Measure the batching client, and then calls of one number."""
    async with AsyncCheckClient(address) as client:
        await client.check(numbers[0])
        batched = await ask_by_tasks(client.check, count, numbers)
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = check_pb2_grpc.CheckServiceStub(channel)

        def ask(number: int) -> Awaitable[Any]:
            return stub.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[number]), timeout=10)  # type: ignore[no-any-return]

        await ask(numbers[0])
        return batched, await ask_by_tasks(ask, count, numbers)


@pytest.mark.benchmark(group="client")
@pytest.mark.parametrize("tasks", TASKS)
def test_tasks_check_one_number_each(benchmark, reference: Population, node: tuple[str, int], tasks: int) -> None:
    """Print checks a second and the 99th percentile of waiting, with batches and without, and the node's own time."""
    address, pid = node
    numbers = reference.random_numbers(100_000, seed=5).tolist()
    pin(1)
    spent = cpu_seconds(pid)
    batched, single = benchmark.pedantic(lambda: asyncio.run(both(address, tasks, numbers)), rounds=1, iterations=1)
    spent = cpu_seconds(pid) - spent
    rate, other = (len(waits.found) / SECONDS for waits in (batched, single))
    print(
        f"{tasks:,} tasks: {rate:,.0f} checks a second, p99 {batched.p99_ms:.2f} ms; "
        f"by a call each {other:,.0f}, p99 {single.p99_ms:.2f} ms: {rate / other:.1f} times; node {spent:.2f} s"
    )


@pytest.mark.benchmark(group="client")
@pytest.mark.parametrize("count", THREADS)
def test_threads_check_one_number_each(benchmark, reference: Population, node: tuple[str, int], count: int) -> None:
    """Print checks a second and the 99th percentile of waiting of a client that threads share."""
    numbers = reference.random_numbers(100_000, seed=6).tolist()
    pin(1)
    with CheckClient(node[0]) as client:
        client.check(numbers[0])
        waits: list[Waits] = []

        def run() -> None:
            mine = Waits()
            waits.append(mine)
            going_on, at = True, len(waits)
            while going_on:
                began = perf_counter()
                client.check(numbers[at % len(numbers)])
                going_on, at = mine.add(began), at + count

        def run_all() -> None:
            threads = [threading.Thread(target=run) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        benchmark.pedantic(run_all, rounds=1, iterations=1)
    total = Waits()
    total.found = [one for mine in waits for one in mine.found]
    print(f"{count:,} threads: {len(total.found) / SECONDS:,.0f} checks a second, p99 {total.p99_ms:.2f} ms")
