"""What a push costs: acknowledged, visible, and what it does to other callers' checks meanwhile.

`python -m benchmarks.bench_push DATA_DIR`, a data directory that `numcheck demo --numbers 285000000` filled; it is
changed. One operator pushes, the largest; another process asks the native listener for one number at a time.
"""

import multiprocessing
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.store import Store
from numcheck.v1 import check_pb2, check_pb2_grpc, numbering_pb2, numbering_pb2_grpc

NUMBERS_PER_MESSAGE = 100_000
IDLE_S = 3.0
REPETITIONS = 7
ADDRESS = re.compile(r"listener ready on (\S+)")


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


def p99_ms(latencies: list[tuple[float, float]], spans: list[tuple[float, float]]) -> float:
    """The 99th percentile of the calls that began in the spans, in milliseconds."""
    inside = [took for begun, took in latencies if any(first <= begun <= last for first, last in spans)]
    return 1_000 * statistics.quantiles(inside, n=100)[98]


class Pusher:
    """Pushes deltas of one operator, and waits until both listeners show them."""

    def __init__(self, api: str, native: str, operator_id: int, ranges: list[tuple[int, int]]) -> None:
        self._numbering = numbering_pb2_grpc.NumberingServiceStub(grpc.insecure_channel(api))
        self._checks = [check_pb2_grpc.CheckServiceStub(grpc.insecure_channel(one)) for one in (api, native)]
        self._operator_id, self._ranges, self._chance = operator_id, ranges, random.Random(1)

    def delta(self, size: int) -> tuple[float, float]:
        """Seconds until a delta of that many numbers at random is acknowledged, and until it is visible."""
        chosen = self._chance.choices(self._ranges, k=size)
        numbers = [first + self._chance.randrange(last - first + 1) for first, last in chosen]
        parts = [numbers[start : start + NUMBERS_PER_MESSAGE] for start in range(0, size, NUMBERS_PER_MESSAGE)]
        state = self._numbering.GetOperatorState(numbering_pb2.GetOperatorStateRequest(operator_id=self._operator_id))
        data_time = Timestamp()
        data_time.GetCurrentTime()
        header = numbering_pb2.PushHeader(
            operator_id=self._operator_id,
            mode=numbering_pb2.PUSH_MODE_DELTA,
            base_version=state.version,
            data_time=data_time,
        )
        messages = [numbering_pb2.PushActiveNumbersRequest(header=header)]
        messages += [numbering_pb2.PushActiveNumbersRequest(add=part) for part in parts]
        begun = time.monotonic()
        pushed = self._numbering.PushActiveNumbers(iter(messages))
        acknowledged = time.monotonic() - begun
        for check in self._checks:
            self._wait(check, pushed.index_version)
        return acknowledged, time.monotonic() - begun

    def _wait(self, check: check_pb2_grpc.CheckServiceStub, index_version: int) -> None:
        request = check_pb2.CheckNumbersRequest(numbers=[self._ranges[0][0]], min_index_version=index_version)
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


def measure(pusher: Pusher, size: int, say: Callable[[str], None]) -> list[tuple[float, float]]:
    """Push deltas of one size; say the medians; return the spans of time that they took."""
    spans, times = [], []
    for _ in range(REPETITIONS):
        begun = time.monotonic()
        times.append(pusher.delta(size))
        spans.append((begun, time.monotonic()))
        time.sleep(0.2)
    acknowledged, visible = (statistics.median(one) for one in zip(*times, strict=True))
    worst = max(one for _, one in times)
    say(
        f"delta of {size:,}: acknowledged {acknowledged:.3f} s, visible on both listeners {visible:.3f} s ({worst:.3f})"
    )
    return spans


def main() -> None:
    """Run it."""
    data_dir = Path(sys.argv[1])
    operator_id, ranges = largest(data_dir)
    command = [sys.executable, "-m", "numcheck", "serve", "--data-dir", str(data_dir)]
    ports = ["--api-listen", "127.0.0.1:0", "--check-listen", "127.0.0.1:0"]
    node = subprocess.Popen([*command, *ports], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert node.stderr is not None
        ready = (ADDRESS.search(line) for line in node.stderr)
        addresses = [match[1] for match in (next(one for one in ready if one), next(one for one in ready if one))]
        pusher = Pusher(*addresses, operator_id, ranges)
        stop, latencies = multiprocessing.Event(), multiprocessing.Queue()
        asking = multiprocessing.Process(target=ask, args=(addresses[1], ranges[0][0], stop, latencies))
        asking.start()
        pusher.delta(1)
        idle_from = time.monotonic()
        time.sleep(IDLE_S)
        idle = [(idle_from, time.monotonic())]
        small, large = measure(pusher, 1_000, print), measure(pusher, 1_000_000, print)
        stop.set()
        found = latencies.get()
        asking.join()
        named = {"idle": idle, "during deltas of 1,000": small, "during deltas of 1,000,000": large}
        for name, spans in named.items():
            print(f"one-number checks, {name}: p99 {p99_ms(found, spans):.2f} ms")
    finally:
        node.terminate()
        node.wait()


if __name__ == "__main__":
    main()
