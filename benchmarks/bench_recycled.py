"""Question: how many numbers a second does the record of withdrawals answer on one core, and how large is it?

Three years of withdrawals of the reference population's active numbers, drawn uniformly: a number may be withdrawn
again and again, as it is given to somebody else each time.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle

import numpy as np
import pytest
from pyroaring import BitMap

from benchmarks.population import REFERENCE_COUNT, Population, pin
from numcheck._recycled import Layer
from numcheck.index import Index, RecordSource
from numcheck.index.format import map_block_file
from numcheck.index.record import ChunkWithdrawals, write_record
from numcheck.v1 import check_pb2

DAYS = int(os.environ.get("NUMCHECK_BENCH_RECORD_DAYS", "1095"))
A_DAY = 230_000  # of the whole reference population; of a smaller one in proportion
DAY_S = 86_400
LAST_DAY_S = 1_764_547_200
BATCHES = int(os.environ.get("NUMCHECK_BENCH_BATCHES", "200"))
BATCH = 10_000


class Drawn:
    """Withdrawals of a population, made a chunk at a time: the same each time that they are asked for."""

    def __init__(self, reference: Population) -> None:
        self._sets = sorted(one for held in reference.active_sets.values() for one in held.chunks())
        self.count = round(DAYS * A_DAY * reference.number_count / REFERENCE_COUNT)
        self._share = self.count / sum(len(bitmap) for _, bitmap in self._sets)

    def counts(self, _revision: int) -> dict[int, int]:
        return {LAST_DAY_S - day * DAY_S: max(self.count // DAYS, 1) for day in range(DAYS)}

    def withdrawn(self, _revision: int) -> Iterator[tuple[int, ChunkWithdrawals]]:
        generator = np.random.default_rng(1)
        for chunk, members in self._sets:
            places = generator.choice(np.array(members.to_array()), round(self._share * len(members)))
            days = generator.integers(0, DAYS, len(places))
            order = np.argsort(days, kind="stable")
            bounds = np.searchsorted(days[order], np.arange(DAYS + 1))
            yield (
                chunk,
                [
                    (LAST_DAY_S - day * DAY_S, BitMap(places[order[bounds[day] : bounds[day + 1]]]))
                    for day in range(DAYS)
                ],
            )


@pytest.fixture(scope="module")
def recorded(reference, tmp_path_factory) -> tuple[Index, int]:
    """The reference index with the record, and how many withdrawals that has."""
    directory, drawn = tmp_path_factory.mktemp("record"), Drawn(reference)
    since = LAST_DAY_S - DAYS * DAY_S
    (written,) = write_record(directory, "record.idx", RecordSource(since, drawn.counts, drawn.withdrawn))
    payload = map_block_file(directory.joinpath, written)
    files = reference.index.files
    manifest = {**files.manifest, "record_since": since}
    return Index(replace(files, manifest=manifest, record=(payload,), layers=(Layer(payload),))), drawn.count


@pytest.mark.parametrize("moments", ["one", "each"])
@pytest.mark.parametrize("workload", ["random", "hits"])
def test_recycled(benchmark, reference, recorded, workload, moments):
    index, count = recorded
    draw = reference.random_numbers if workload == "random" else reference.active_numbers
    numbers = draw(BATCHES * BATCH, seed=1)
    since = LAST_DAY_S - np.random.default_rng(2).integers(0, DAYS * DAY_S, BATCHES * BATCH)
    requests = [
        check_pb2.CheckRecycledRequest(
            numbers=numbers[start : start + BATCH],
            since_unix_s=since[start : start + (BATCH if moments == "each" else 1)],
        ).SerializeToString()
        for start in range(0, len(numbers), BATCH)
    ]
    pin(0)
    following = cycle(requests)
    benchmark.group = f"recycled since, {workload}, a batch of {BATCH:,}"
    ask = partial(index.check_recycled, numbers_per_call_max=BATCH)
    benchmark.pedantic(ask, setup=lambda: ((next(following),), {}), rounds=3 * len(requests))
    size = sum(map(len, index.files.record))
    benchmark.extra_info.update(withdrawals=count, bytes_a_withdrawal=round(size / count, 3))
    if benchmark.stats is not None:
        benchmark.extra_info["ns_a_number"] = round(benchmark.stats["median"] / BATCH * 1e9, 2)
