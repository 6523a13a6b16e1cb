"""Question: how soon after its acknowledgement does a push show on followers, what do they fetch for it, and how fast
does one start while its node is away?

A node over the reference population (285 million active numbers) and NUMCHECK_BENCH_FOLLOWERS followers (8) on one
machine, each of which fetches from the node; its largest operator pushes deltas of 1,000 numbers at random. A follower
shows a version from the moment on at which it tells of its edition. Then the node is killed, and a follower started.
"""

import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import grpc
import pytest

from benchmarks.bench_push import REPETITIONS, Node, Pusher, largest, node, wait
from numcheck.v1 import check_pb2_grpc, edition_pb2, edition_pb2_grpc

FOLLOWERS = int(os.environ.get("NUMCHECK_BENCH_FOLLOWERS", "8"))
DELTA_SIZE = 1_000
PATIENCE_S = 120.0
READY = re.compile(r"\"ready on (\S+)")

__all__ = ["node"]  # the fixture


@contextmanager
def following(data_dir: Path, source: str) -> Iterator[str]:
    """The address of a follower, once it answers."""
    command = [sys.executable, "-m", "numcheck", "follow", "--data-dir", str(data_dir), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--threads", "1", source], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        ready = (READY.search(line) for line in process.stderr)
        address = next(match[1] for match in ready if match)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield address
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


class Watch:
    """When each version came to a follower or a node, and the files that it named."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self.shown_at: dict[int, float] = {}
        self.files: dict[int, dict[bytes, int]] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stub = edition_pb2_grpc.EditionServiceStub(self._channel)
        try:
            for message in stub.WatchEditions(edition_pb2.WatchEditionsRequest()):
                self._take(time.monotonic(), edition_pb2.Edition.FromString(message.edition))
        except grpc.RpcError:
            return  # the follower has ended

    def _take(self, now: float, edition: edition_pb2.Edition) -> None:
        with self._changed:
            self.shown_at.setdefault(edition.index_version, now)
            self.files[edition.index_version] = {file.sha256: file.size for file in edition.files}
            self._changed.notify_all()

    def wait_for(self, version: int) -> float:
        """Wait for a version or a later one; when it came."""
        with self._changed:
            assert self._changed.wait_for(lambda: max(self.shown_at, default=0) >= version, PATIENCE_S)
            return min(at for one, at in self.shown_at.items() if one >= version)

    def fetched_size(self) -> list[int]:
        """Bytes of the files that each version had and the one before had not."""
        versions = sorted(self.files)
        return [
            sum(size for sha256, size in self.files[version].items() if sha256 not in self.files[before])
            for before, version in pairwise(versions)
        ]


@pytest.mark.benchmark(group="followers")
def test_a_push_shows_on_every_follower(benchmark, node: Node, tmp_path: Path) -> None:
    """Prints seconds from the acknowledgement until all show it, bytes fetched, and a start without a node."""
    operator_id, ranges = largest(node.data_dir)
    pusher = Pusher(node.address, operator_id, ranges)
    with ExitStack() as stack:
        begun = time.monotonic()
        addresses = [
            stack.enter_context(following(tmp_path / f"follower{place}", node.address)) for place in range(FOLLOWERS)
        ]
        print(f"{FOLLOWERS} followers, one after the other, with all files to fetch: {time.monotonic() - begun:.1f} s")
        watches = [Watch(address) for address in addresses]

        def deltas() -> list[tuple[float, float]]:
            return [delta(pusher, watches) for _ in range(REPETITIONS)]

        times = benchmark.pedantic(deltas, rounds=1, iterations=1)
        first, last = (sorted(one) for one in zip(*times, strict=True))
        print(
            f"delta of {DELTA_SIZE:,}: {statistics.median(first):.3f} s until the first follower shows it, "
            f"{statistics.median(last):.3f} s until all {FOLLOWERS} do (worst {last[-1]:.3f})"
        )
        sizes = watches[0].fetched_size()
        print(f"each follower fetches {statistics.median(sizes) / 1e6:.2f} MB a delta (most {max(sizes) / 1e6:.2f})")
    start_without_a_node(tmp_path / "follower0")


def delta(pusher: Pusher, watches: list[Watch]) -> tuple[float, float]:
    """Push a delta; seconds from its acknowledgement until the first follower and until the last one show it."""
    acknowledged_at, version = pusher.acknowledged(DELTA_SIZE)
    shown = [watch.wait_for(version) - acknowledged_at for watch in watches]
    return min(shown), max(shown)


def start_without_a_node(data_dir: Path) -> None:
    """Print how long a follower takes to its first answer from its own directory."""
    begun = time.monotonic()
    with following(data_dir, "127.0.0.1:1") as address, grpc.insecure_channel(address) as channel:
        wait(check_pb2_grpc.CheckServiceStub(channel), 0)
        print(f"a follower starts without its node, to the first answer: {time.monotonic() - begun:.2f} s")
