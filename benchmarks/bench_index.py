"""Question: how long does the index take to open and to build from the store, and how much does it take up?"""

import os
import shutil
from statistics import median
from time import perf_counter

import pytest

from benchmarks.processes import server
from numcheck.index import open_index
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.store import Store

STARTS = int(os.environ.get("NUMCHECK_BENCH_STARTS", "7"))


@pytest.mark.benchmark(group="index")
def test_open(benchmark, reference):
    """Map every file and compare every checksum."""
    benchmark(open_index, index_directory(reference.data_dir))
    benchmark.extra_info["index_size"] = reference.index.size
    benchmark.extra_info["roaring_size"] = reference.roaring_size
    benchmark.extra_info["ratio"] = round(reference.index.size / reference.roaring_size, 3)


@pytest.mark.benchmark(group="index")
def test_start(benchmark, reference):
    """From the start of the process to the line that says that the node is ready, with a built index."""

    def start() -> float:
        began = perf_counter()
        with server("-m", "numcheck", "serve", "--data-dir", reference.data_dir, "--listen", "127.0.0.1:0"):
            return perf_counter() - began

    times = [start() for _ in range(STARTS)]
    benchmark.extra_info["ready_after_ms"] = round(median(times) * 1e3, 1)
    benchmark.pedantic(start, rounds=1)  # counts the stop as well


@pytest.mark.benchmark(group="index")
def test_rebuild(benchmark, reference, tmp_path):
    """Read the store, lay every page out, write and synchronise the files."""
    with Store(reference.data_dir, read_only=True) as store:
        benchmark.pedantic(rebuild_index, args=(store, tmp_path), rounds=3)
    shutil.rmtree(tmp_path)
