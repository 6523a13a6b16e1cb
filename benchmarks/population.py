"""The data that benchmarks run on: a data directory, and the same sets in the forms that the peers need."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from numcheck._bits import BITSET_SIZE, CHUNK_NUMBERS, set_members
from numcheck.active import ActiveSet, AllottedRange
from numcheck.index import Index, open_index
from numcheck.offline.demo import SEED, fill_demo
from numcheck.serving.publishing import index_directory
from numcheck.store import Store

FIRST, LAST = 79_000_000_000, 79_999_999_999  # all DEF codes
REFERENCE_COUNT = 285_000_000
BLOCK = 10_000

# Before anything is pinned.
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

Numbers = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Population:
    """A filled data directory and what is derived from it, each made when it is asked for."""

    data_dir: Path
    number_count: int

    @cached_property
    def index(self) -> Index:
        """The index under test."""
        return open_index(index_directory(self.data_dir))

    @cached_property
    def ranges(self) -> list[AllottedRange]:
        """The numbering plan."""
        with Store(self.data_dir, read_only=True) as store:
            return store.ranges()

    @cached_property
    def active_sets(self) -> dict[int, ActiveSet]:
        """Each operator's active set."""
        with Store(self.data_dir, read_only=True) as store:
            return {one.operator_id: store.sets.active_set(one.operator_id) for one in store.operators()}

    @cached_property
    def dense(self) -> npt.NDArray[np.uint8]:
        """One bit for each number from FIRST to LAST: 125 MB."""
        # Zeroed by NumPy, which asks the kernel for huge pages: the peer gets the best memory there is.
        bits = np.zeros((LAST - FIRST + 1) // 8, dtype=np.uint8)
        for active_set in self.active_sets.values():
            for chunk, bitmap in active_set.chunks():
                bitset = bytearray(BITSET_SIZE)
                set_members(bitset, bitmap.to_array())
                start = (chunk * CHUNK_NUMBERS - FIRST) // 8
                bits[start : start + BITSET_SIZE] |= np.frombuffer(bitset, dtype=np.uint8)
        return bits

    @cached_property
    def bitmap(self) -> BitMap:
        """All active numbers, less FIRST, as one Roaring bitmap."""
        everything = BitMap()
        for active_set in self.active_sets.values():
            for chunk, bitmap in active_set.chunks():
                everything |= bitmap.shift(chunk * CHUNK_NUMBERS - FIRST)
        everything.run_optimize()
        return everything

    @cached_property
    def roaring_size(self) -> int:
        """Bytes of the operators' sets as Roaring bitmaps, serialised chunk by chunk."""
        chunks = (bitmap for active_set in self.active_sets.values() for _, bitmap in active_set.chunks())
        return sum(len(bitmap.serialize()) for bitmap in chunks)

    @cached_property
    def operator_of_block(self) -> npt.NDArray[np.uint8]:
        """The operator of each block of 10,000; wrong for the few blocks that several operators share."""
        table = np.zeros((LAST - FIRST + 1) // BLOCK, dtype=np.uint8)
        for held in self.ranges:
            table[(held.first - FIRST) // BLOCK : (held.last - FIRST) // BLOCK + 1] = held.operator_id
        return table

    def random_numbers(self, count: int, seed: int) -> Numbers:
        """Numbers drawn from all that the plan allots, uniformly."""
        generator = np.random.default_rng(seed)
        firsts = np.array([held.first for held in self.ranges], dtype=np.uint64)
        sizes = np.array([held.last - held.first + 1 for held in self.ranges], dtype=np.int64)
        ends = np.cumsum(sizes)
        places = generator.integers(0, ends[-1], count)
        drawn = np.searchsorted(ends, places, side="right")
        return firsts[drawn] + (places - (ends - sizes)[drawn]).astype(np.uint64)

    def active_numbers(self, count: int, seed: int) -> Numbers:
        """Numbers drawn from all that are active, uniformly."""
        generator = np.random.default_rng(seed)
        chunks = [chunk for active_set in self.active_sets.values() for chunk in active_set.chunks()]
        sizes = np.array([len(bitmap) for _, bitmap in chunks])
        drawn = [
            np.uint64(chunk * CHUNK_NUMBERS) + generator.choice(np.array(bitmap.to_array(), dtype=np.uint64), wanted)
            for (chunk, bitmap), wanted in zip(chunks, generator.multinomial(count, sizes / sizes.sum()), strict=True)
        ]
        return generator.permutation(np.concatenate(drawn))


def population(directory: Path, number_count: int) -> Population:
    """The population of that many active numbers, made the first time."""
    data_dir = directory / f"population-{number_count}"
    if not data_dir.exists():
        fill_demo(data_dir, number_count=number_count, seed=SEED, now=datetime.now(UTC), progress=lambda *_: None)
    return Population(data_dir, number_count)


def to_request(numbers: Numbers) -> bytes:
    """A serialised CheckNumbersRequest."""
    size, varint = 8 * len(numbers), bytearray()
    while size >= 0x80:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    return b"\x0a" + bytes(varint) + bytes([size]) + numbers.astype("<u8").tobytes()


def pin(core: int, pid: int = 0) -> None:
    """Keep a process, by default this one, on one of the machine's cores, where the system can do that."""
    if CORES:
        os.sched_setaffinity(pid, {CORES[core % len(CORES)]})


def unpin() -> None:
    """Let this process use every core again."""
    if CORES:
        os.sched_setaffinity(0, CORES)
