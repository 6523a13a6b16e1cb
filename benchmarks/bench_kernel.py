"""Question: how many numbers a second does the kernel answer on one core, beside what one would write without it?

Wire numbers in; status and serving operator of each out, as the response's bytes. The dense probe gets less to do: one
bit a number, no operator, no refusal of what is not a number. All are asked for the same numbers in one run.
"""

import os
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle

import numpy as np
import pytest

from benchmarks.population import BLOCK, FIRST, Numbers, Population, pin, population, to_request, unpin
from numcheck.status import NumberStatus
from numcheck.v1 import check_pb2

BATCH = 10_000
BATCHES = int(os.environ.get("NUMCHECK_BENCH_BATCHES", "200"))  # 2 million numbers: more lines than any cache holds
SHARES = tuple(map(float, os.environ.get("NUMCHECK_BENCH_SHARES", "0.03,0.3,1,1.7").split(",")))
SMALL_BATCHES = 2  # for the peers that take 200 ns a number and more

WORKLOADS = ("random", "hits", "sorted")


def batches_of(reference: Population, workload: str, count: int) -> list[Numbers]:
    if workload == "hits":
        numbers = reference.active_numbers(count * BATCH, seed=1)
    else:
        numbers = reference.random_numbers(count * BATCH, seed=1)
    if workload == "sorted":
        numbers = np.sort(numbers)
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]


def measure(benchmark, question, answer, batches) -> None:
    """Time one batch after the other; the table's unit is a batch of 10,000 numbers."""
    pin(0)
    benchmark.group = f"kernel, {question}, a batch of {BATCH:,}"
    following = cycle(batches)
    benchmark.pedantic(answer, setup=lambda: ((next(following),), {}), rounds=5 * len(batches))
    if benchmark.stats is None:  # only tried, not measured
        return
    benchmark.extra_info["ns_a_number"] = round(benchmark.stats["median"] / BATCH * 1e9, 2)


@pytest.fixture(params=WORKLOADS)
def workload(request) -> str:
    return request.param


def test_kernel(benchmark, reference, workload):
    table, batches = reference.index.table, batches_of(reference, workload, BATCHES)
    requests = [to_request(batch) for batch in batches]
    response = check_pb2.CheckNumbersResponse.FromString(table.check_numbers(requests[0], numbers_per_call_max=BATCH))
    bitmap = reference.bitmap
    assert [status == NumberStatus.ACTIVE for status in response.statuses] == [
        int(number) - FIRST in bitmap for number in batches[0]
    ]
    measure(benchmark, workload, lambda request: table.check_numbers(request, numbers_per_call_max=BATCH), requests)


def test_dense_probe(benchmark, reference, workload, dense_probe):
    dense, answers = reference.dense, np.zeros(BATCH, dtype=np.uint8)
    batches = batches_of(reference, workload, BATCHES)
    dense_probe(dense, batches[0], answers, FIRST)
    assert answers.tolist() == [int(number) - FIRST in reference.bitmap for number in batches[0]]
    measure(benchmark, workload, lambda batch: dense_probe(dense, batch, answers, FIRST), batches)


def test_numpy(benchmark, reference, workload):
    """A table of blocks and dense bits, vectorised: exact but for shared blocks."""
    dense, operators = reference.dense, reference.operator_of_block

    def answer(batch):
        places = batch - np.uint64(FIRST)
        active = dense[places >> np.uint64(3)] >> (places & np.uint64(7)).astype(np.uint8) & 1
        return active, operators[places // np.uint64(BLOCK)]

    measure(benchmark, workload, answer, batches_of(reference, workload, BATCHES))


def test_number_in_bitmap(benchmark, reference, workload):
    """`n in BitMap` for each number of a list: no operator."""
    bitmap = reference.bitmap
    lists = [(batch - np.uint64(FIRST)).tolist() for batch in batches_of(reference, workload, SMALL_BATCHES)]
    measure(benchmark, workload, lambda numbers: [number in bitmap for number in numbers], lists)


def test_bisect_and_bitmap(benchmark, reference, workload):
    """The range by bisection, then `n in` the operator's BitMap: exact, as one would write it in Python."""
    ranges, firsts = reference.ranges, [held.first for held in reference.ranges]
    bitmaps = reference.active_sets

    def answer(numbers):
        answers = []
        for number in numbers:
            held = ranges[bisect_right(firsts, number) - 1]
            allotted = number <= held.last
            answers.append((allotted and number in bitmaps[held.operator_id], held.operator_id if allotted else 0))
        return answers

    lists = [batch.tolist() for batch in batches_of(reference, workload, SMALL_BATCHES)]
    measure(benchmark, workload, answer, lists)


@pytest.mark.parametrize("share", SHARES)
def test_kernel_by_population(benchmark, reference, directory, share):
    """The curve over the size of the active sets, as shares of the reference population."""
    grown = population(directory, int(reference.number_count * share))
    requests = [to_request(batch) for batch in batches_of(grown, "random", BATCHES)]
    table = grown.index.table
    benchmark.extra_info.update(active_numbers=grown.number_count, index_size=grown.index.size)
    ask = partial(table.check_numbers, numbers_per_call_max=BATCH)
    measure(benchmark, "by active numbers", ask, requests)


@pytest.mark.parametrize("size", [1, 10, 100, 1_000, 10_000, 65_536])
def test_kernel_by_batch(benchmark, reference, size):
    """The curve over the numbers in a request."""
    pin(0)
    numbers, table = reference.random_numbers(BATCHES * BATCH, seed=1), reference.index.table
    requests = [to_request(numbers[start : start + size]) for start in range(0, len(numbers) - size + 1, size)][:2_000]
    following = cycle(requests or [to_request(numbers)])
    benchmark.group = "kernel by numbers in a request"
    benchmark(lambda: table.check_numbers(next(following), numbers_per_call_max=size))
    if benchmark.stats is not None:
        benchmark.extra_info["ns_a_number"] = round(benchmark.stats["median"] / size * 1e9, 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_kernel_by_threads(benchmark, reference, threads):
    """The curve over threads, each with batches of its own: the kernel holds no lock and no GIL."""
    table = reference.index.table
    requests = [to_request(batch) for batch in batches_of(reference, "random", BATCHES)]
    shares = [requests[thread::threads] for thread in range(threads)]

    def answer(share: list[bytes]) -> None:
        for request in share:
            table.check_numbers(request, numbers_per_call_max=BATCH)

    unpin()
    benchmark.group = f"kernel by threads, {BATCHES * BATCH:,} numbers"
    with ThreadPoolExecutor(threads) as pool:
        benchmark.pedantic(lambda: list(pool.map(answer, shares)), rounds=20, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info["million_a_second"] = round(BATCHES * BATCH / benchmark.stats["median"] / 1e6, 1)
