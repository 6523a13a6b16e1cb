"""Question: what does a push cost: acknowledged, visible, and in other callers' checks meanwhile?

A node over the reference population (285 million active numbers); its largest operator pushes deltas of 1,000 and of
1,000,000 numbers at random, and waits until both doors show them, while another process asks for one number after
the other; beside it, what the same checks take when nobody pushes and as many processes as the machine has cores only
count. Then a snapshot of NUMCHECK_BENCH_SNAPSHOT numbers (50 million) over the stream, and NUMCHECK_BENCH_PORTINGS
portings (30 million).
"""

import multiprocessing
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pyroaring import BitMap

from benchmarks.population import Numbers, Population
from numcheck._bits import CHUNK_NUMBERS
from numcheck.store import Store
from numcheck.v1 import check_pb2, check_pb2_grpc, numbering_pb2, numbering_pb2_grpc

NUMBERS_PER_MESSAGE = 100_000
IDLE_S = float(os.environ.get("NUMCHECK_BENCH_IDLE_S", "3"))
SETTLING_S = IDLE_S / 3  # for processes to start
REPETITIONS = int(os.environ.get("NUMCHECK_BENCH_REPETITIONS", "7"))
DELTA_SIZES = tuple(map(int, os.environ.get("NUMCHECK_BENCH_DELTAS", "1000,1000000").split(",")))
SNAPSHOT_COUNT = int(os.environ.get("NUMCHECK_BENCH_SNAPSHOT", "50000000"))
PORTINGS_COUNT = int(os.environ.get("NUMCHECK_BENCH_PORTINGS", "30000000"))
P99_CALLS_MIN = 100
ADDRESS = re.compile(r"\"ready on (\S+)")


class Node(NamedTuple):
    """A node under way."""

    data_dir: Path
    address: str
    pid: int

    @property
    def memory_max(self) -> int:
        """The most memory that it ever had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1_024  # type: ignore[index]


@contextmanager
def serving(data_dir: Path) -> Iterator[Node]:
    """A node of the data directory."""
    command = [sys.executable, "-m", "numcheck", "serve", "--data-dir", str(data_dir)]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    try:
        ready = (ADDRESS.search(line) for line in process.stderr)
        address = next(match[1] for match in ready if match)
        drain = threading.Thread(target=_drain, args=(process.stderr,), daemon=True)
        drain.start()
        yield Node(data_dir, address, process.pid)
    finally:
        process.terminate()
        process.wait()
        drain.join()
        process.stderr.close()


def _drain(lines: Any) -> None:
    for _ in lines:
        pass


@pytest.fixture
def node(reference: Population, tmp_path: Path) -> Iterator[Node]:
    data_dir = shutil.copytree(reference.data_dir, tmp_path / "var")
    with serving(data_dir) as one:
        yield one
    shutil.rmtree(data_dir)


def ask(address: str, number: int, stop: Any, latencies: Any) -> None:
    """Ask for one number after the other; hand over (moment, seconds) of each call when told to stop."""
    found = []
    with grpc.insecure_channel(address) as channel:
        check = check_pb2_grpc.CheckServiceStub(channel).CheckNumbers
        request = check_pb2.CheckNumbersRequest(numbers=[number])
        while not stop.is_set():
            begun = time.monotonic()
            check(request)
            found.append((begun, time.monotonic() - begun))
    latencies.put(found)


def keep_busy(stop: Any) -> None:
    """Take all of a core until told to stop."""
    while not stop.is_set():
        for _ in range(10_000):
            pass


@contextmanager
def busy_cores(context: Any) -> Iterator[None]:
    """As many busy processes as there are cores: what waits here waits for the scheduler, not for numcheck."""
    stop = context.Event()
    processes = [context.Process(target=keep_busy, args=(stop,)) for _ in range(os.cpu_count() or 1)]
    for one in processes:
        one.start()
    try:
        yield
    finally:
        stop.set()
        for one in processes:
            one.join()


def span(duration_s: float) -> list[tuple[float, float]]:
    """Let that much time go by; the first and the last moment of it."""
    begun = time.monotonic()
    time.sleep(duration_s)
    return [(begun, time.monotonic())]


def p99_of(latencies: list[tuple[float, float]], spans: list[tuple[float, float]]) -> str:
    """Return the 99th percentile of the calls that began in the spans, or say that they are too few to have one."""
    inside = [took for begun, took in latencies if any(first <= begun <= last for first, last in spans)]
    if len(inside) < P99_CALLS_MIN:
        return f"none: only {len(inside)} calls"
    return f"{1_000 * statistics.quantiles(inside, n=100)[98]:.2f} ms"


class Pusher:
    """Pushes deltas of one operator, and waits until the node shows them."""

    def __init__(self, address: str, operator_id: int, ranges: list[tuple[int, int]]) -> None:
        channel = grpc.insecure_channel(address)
        self._numbering = numbering_pb2_grpc.NumberingServiceStub(channel)
        self._check = check_pb2_grpc.CheckServiceStub(channel)
        self._operator_id, self._ranges, self._chance = operator_id, ranges, random.Random(1)

    def delta(self, size: int) -> tuple[float, float]:
        """Seconds until a delta of that many numbers at random is acknowledged, and until it is visible."""
        messages = self._messages(size)
        begun = time.monotonic()
        pushed = self._numbering.PushActiveNumbers(iter(messages))
        acknowledged = time.monotonic() - begun
        wait(self._check, pushed.index_version)
        return acknowledged, time.monotonic() - begun

    def acknowledged(self, size: int) -> tuple[float, int]:
        """When a delta of that many numbers at random was acknowledged, and the version that shows it."""
        pushed = self._numbering.PushActiveNumbers(iter(self._messages(size)))
        return time.monotonic(), pushed.index_version

    def _messages(self, size: int) -> list[numbering_pb2.PushActiveNumbersRequest]:
        chosen = self._chance.choices(self._ranges, k=size)
        numbers = [first + self._chance.randrange(last - first + 1) for first, last in chosen]
        parts = [numbers[start : start + NUMBERS_PER_MESSAGE] for start in range(0, size, NUMBERS_PER_MESSAGE)]
        state = self._numbering.GetOperatorState(
            numbering_pb2.GetOperatorStateRequest(operator_id=self._operator_id, without_digest=True)
        )
        data_time = Timestamp()
        data_time.GetCurrentTime()
        header = numbering_pb2.PushHeader(
            operator_id=self._operator_id,
            mode=numbering_pb2.PUSH_MODE_DELTA,
            base_version=state.version,
            data_time=data_time,
        )
        messages = [numbering_pb2.PushActiveNumbersRequest(header=header)]
        return [*messages, *(numbering_pb2.PushActiveNumbersRequest(add=part) for part in parts)]


def wait(check: check_pb2_grpc.CheckServiceStub, index_version: int) -> None:
    """Until the node answers from that version."""
    request = check_pb2.CheckNumbersRequest(numbers=[79_000_000_000], min_index_version=index_version)
    while True:
        try:
            check.CheckNumbers(request)
        except grpc.RpcError:
            time.sleep(0.002)
        else:
            return


def largest(data_dir: Path) -> tuple[int, list[tuple[int, int]]]:
    """The operator with the most mobile numbers, and its ranges."""
    with Store(data_dir, read_only=True) as store:
        ranges = [held for held in store.ranges() if held.mobile]
    sizes: Counter[int] = Counter()
    for held in ranges:
        sizes[held.operator_id] += held.last - held.first + 1
    operator_id = sizes.most_common(1)[0][0]
    return operator_id, [(held.first, held.last) for held in ranges if held.operator_id == operator_id]


def measured(pusher: Pusher, size: int) -> tuple[float, float, float, list[tuple[float, float]]]:
    """Push deltas of one size: the medians until acknowledged and until visible, the worst, and the spans of time."""
    spans, times = [], []
    for _ in range(REPETITIONS):
        begun = time.monotonic()
        times.append(pusher.delta(size))
        spans.append((begun, time.monotonic()))
        time.sleep(0.2)
    acknowledged, visible = (statistics.median(one) for one in zip(*times, strict=True))
    return acknowledged, visible, max(one for _, one in times), spans


@pytest.mark.benchmark(group="push")
def test_deltas_become_visible_and_stall_nobody(benchmark, node: Node) -> None:
    """Prints seconds until acknowledged and visible for each size, and the p99 of one-number checks meanwhile."""
    operator_id, ranges = largest(node.data_dir)
    pusher = Pusher(node.address, operator_id, ranges)
    context = multiprocessing.get_context("spawn")
    stop, latencies = context.Event(), context.Queue()
    asking = context.Process(target=ask, args=(node.address, ranges[0][0], stop, latencies))
    asking.start()
    pusher.delta(1)
    spans = {"idle": span(IDLE_S)}
    with busy_cores(context):
        time.sleep(SETTLING_S)
        spans["every core busy otherwise"] = span(IDLE_S)

    def deltas() -> None:
        for size in DELTA_SIZES:
            acknowledged, visible, worst, spans[f"{size:,}"] = measured(pusher, size)
            print(f"delta of {size:,}: acknowledged {acknowledged:.3f} s, visible {visible:.3f} s (worst {worst:.3f})")

    benchmark.pedantic(deltas, rounds=1, iterations=1)
    stop.set()
    found = latencies.get()
    asking.join()
    for name, some in spans.items():
        benchmark.extra_info[f"p99 {name}"] = p99_of(found, some)
        print(f"one-number checks, {name}: p99 {p99_of(found, some)}")


def some_of(ranges: Sequence[tuple[int, int]], count: int, seed: int) -> Numbers:
    """So many numbers of the ranges at random, each once; all if there are not so many."""
    firsts, lasts = np.array(ranges, dtype=np.int64).T
    ends = np.cumsum(lasts - firsts + 1)
    places = np.random.default_rng(seed).choice(ends[-1], min(count, int(ends[-1])), replace=False)
    held = np.searchsorted(ends, places, side="right")
    return (lasts[held] + 1 - (ends[held] - places)).astype(np.uint64)


def pieces(numbers: Numbers, make: Any) -> list[bytes]:
    """Messages of a push, each with its numbers, as they go over the wire."""
    parts = np.array_split(numbers, max(len(numbers) // NUMBERS_PER_MESSAGE, 1))
    return [make(array("Q", part.astype(np.uint64).tobytes())).SerializeToString() for part in parts]


def send(address: str, method: str, header: Any, messages: Sequence[bytes], response: Any) -> Any:
    """Stream what is serialised already, as the client's own cost is not the question."""
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_unary(f"/numcheck.v1.NumberingService/{method}", None, response.FromString)
        return call(iter([header.SerializeToString(), *messages]))


@pytest.mark.benchmark(group="push")
def test_a_snapshot_is_taken(benchmark, node: Node) -> None:
    """Prints numbers a second until acknowledged (or held, as it replaces the set), and the node's memory."""
    operator_id, ranges = largest(node.data_dir)
    numbers = some_of(ranges, SNAPSHOT_COUNT, seed=3)
    messages = pieces(numbers, lambda part: numbering_pb2.PushActiveNumbersRequest(add=part))
    header = numbering_pb2.PushHeader(operator_id=operator_id, mode=numbering_pb2.PUSH_MODE_SNAPSHOT)
    header.data_time.GetCurrentTime()
    first, before = numbering_pb2.PushActiveNumbersRequest(header=header), node.memory_max
    args = (node.address, "PushActiveNumbers", first, messages, numbering_pb2.PushActiveNumbersResponse)
    begun = time.monotonic()
    made = benchmark.pedantic(send, args=args, rounds=1, iterations=1)
    took_s = time.monotonic() - begun
    assert made.number_count == len(numbers)
    print(f"snapshot of {len(numbers):,}: {len(numbers) / took_s / 1e6:.2f} million a second")
    print(f"memory of the node at most: {before / 1e6:.0f} MB before, {node.memory_max / 1e6:.0f} MB after")
    if made.confirmation_token:
        confirm = numbering_pb2.ConfirmPushRequest(operator_id=operator_id, confirmation_token=made.confirmation_token)
        begun = time.monotonic()
        with grpc.insecure_channel(node.address) as channel:
            numbering_pb2_grpc.NumberingServiceStub(channel).ConfirmPush(confirm)
        print(f"confirmed in {time.monotonic() - begun:.1f} s")


@pytest.mark.benchmark(group="push")
def test_many_numbers_are_ported(benchmark, node: Node, reference: Population) -> None:
    """Prints the time until visible, and the index's size beside Roaring's for the same active and ported numbers."""
    operator_id, _ = largest(node.data_dir)
    with Store(node.data_dir, read_only=True) as store:
        others = [(held.first, held.last) for held in store.ranges() if held.mobile and held.operator_id != operator_id]
    numbers = some_of(others, PORTINGS_COUNT, seed=4)
    messages = pieces(
        numbers,
        lambda part: numbering_pb2.PushPortingsRequest(
            ported=[numbering_pb2.PortedNumbers(operator_id=operator_id, numbers=part)]
        ),
    )
    header = numbering_pb2.PortingsHeader(mode=numbering_pb2.PUSH_MODE_SNAPSHOT)
    header.data_time.GetCurrentTime()

    def port() -> None:
        first = numbering_pb2.PushPortingsRequest(header=header)
        made = send(node.address, "PushPortings", first, messages, numbering_pb2.PushPortingsResponse)
        with grpc.insecure_channel(node.address) as channel:
            wait(check_pb2_grpc.CheckServiceStub(channel), made.index_version)

    begun = time.monotonic()
    benchmark.pedantic(port, rounds=1, iterations=1)
    took_s = time.monotonic() - begun
    size = sum(file.stat().st_size for file in (node.data_dir / "index").iterdir())
    ported = np.sort(numbers)
    chunks = np.split(ported, np.flatnonzero(np.diff(ported // CHUNK_NUMBERS)) + 1)
    roaring = reference.roaring_size + sum(len(_roaring(chunk)) for chunk in chunks)
    print(f"{len(numbers):,} portings: visible after {took_s:.1f} s; index {size / 1e6:.1f} MB, ", end="")
    print(f"{size / roaring:.2f} of the same sets as Roaring bitmaps ({roaring / 1e6:.1f} MB)")


def _roaring(numbers: Numbers) -> bytes:
    bitmap = BitMap((numbers % CHUNK_NUMBERS).astype(np.uint32))
    bitmap.run_optimize()
    return bitmap.serialize()
