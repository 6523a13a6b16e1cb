"""Callers of much, in a process of their own: `python -m tests.edge.heavy KIND ADDRESS`, spoken to as hostile.py is.

KIND is how many they are. Each streams requests of 65,536 numbers for as long as it can, and reads what is answered.
"""

import json
import sys
import threading
from collections.abc import Iterator

import grpc

from tests.conformance.calls import STREAM_CHECK_NUMBERS, numbers

NUMBERS = 65_536
REQUEST = numbers(*range(79_161_000_000, 79_161_000_000 + 131 * NUMBERS, 131))[5:]

stopping, under_way = threading.Event(), threading.Event()
answered: list[int] = []


def requests() -> Iterator[bytes]:
    while not stopping.is_set():
        yield REQUEST


def ask(address: str) -> None:
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        for answer in channel.stream_stream(STREAM_CHECK_NUMBERS)(requests()):
            answered.append(len(answer))
            under_way.set()


def main() -> None:
    """Ask until the input ends."""
    count, address = sys.argv[1:]
    threads = [threading.Thread(target=ask, args=(address,)) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    under_way.wait()
    print("under way", flush=True)
    sys.stdin.read()
    stopping.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"answered": len(answered), "size": sum(answered)}), flush=True)


if __name__ == "__main__":
    main()
