"""Question: how long does the index take to open and to build from the store, and how much does it take up?"""

import shutil

import pytest

from numcheck.index import open_index
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.store import Store


@pytest.mark.benchmark(group="index, whole")
def test_open(benchmark, reference):
    """Map every file and compare every checksum."""
    benchmark(open_index, index_directory(reference.data_dir))
    benchmark.extra_info["index_size"] = reference.index.size
    benchmark.extra_info["roaring_size"] = reference.roaring_size
    benchmark.extra_info["ratio"] = round(reference.index.size / reference.roaring_size, 3)


@pytest.mark.benchmark(group="index, whole")
def test_rebuild(benchmark, reference, tmp_path):
    """Read the store, lay every page out, write and synchronise the files."""
    with Store(reference.data_dir, read_only=True) as store:
        benchmark.pedantic(rebuild_index, args=(store, tmp_path), rounds=3)
    shutil.rmtree(tmp_path)
