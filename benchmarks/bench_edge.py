"""How many calls and numbers a second of server CPU do the two listeners answer?

    .venv/bin/numcheck serve --threads 1 & .venv/bin/python benchmarks/bench_edge.py --pid $!

The node is pinned to one core and h2load to another. A rate is per second of the node's CPU time, as h2load's core may
be full first. `--pid` is the node's own process; h2load is nghttp2's (apt install nghttp2-client). It counts HTTP
statuses and no grpc-status: the tests say that the answers are right.
"""

import argparse
import os
import random
import re
import struct
import subprocess
import tempfile
from pathlib import Path

PATH = "/numcheck.v1.CheckService/CheckNumbers"
HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
# What is asked: numbers a call, calls in flight on each of four connections, and how many calls each listener gets.
CASES = [(1, 16, {"native": 1_000_000, "API": 15_000}), (10_000, 8, {"native": 10_000, "API": 2_000})]


def varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def request(count: int) -> bytes:
    rng = random.Random(count)
    numbers = b"".join(struct.pack("<Q", 79_000_000_000 + rng.randrange(10**9)) for _ in range(count))
    body = b"\x0a" + varint(len(numbers)) + numbers
    return struct.pack(">BI", 0, len(body)) + body


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(address: str, numbers: int, in_flight: int, calls: int, pid: int) -> dict[str, str]:
    with tempfile.NamedTemporaryFile() as body:
        body.write(request(numbers))
        body.flush()
        before = cpu_seconds(pid)
        command = ["taskset", "-c", "1", "h2load", "-n", str(calls), "-c", "4", "-m", str(in_flight), "-d", body.name]
        said = subprocess.run(
            [*command, *HEADERS, f"http://{address}{PATH}"], check=True, capture_output=True, text=True, timeout=120
        ).stdout
        spent = cpu_seconds(pid) - before
    if f"{calls} succeeded" not in said:
        raise SystemExit(said)
    wall = re.search(r"([\d.]+) req/s", said)
    mean = re.search(r"time for request: +(\S+) +(\S+) +(\S+)", said)
    assert wall
    assert mean
    return {
        "calls/s": f"{float(wall[1]):,.0f}",
        "calls a CPU second": f"{calls / spent:,.0f}",
        "numbers a CPU second": f"{numbers * calls / spent:,.0f}",
        "mean": mean[3],
        "worst": mean[2],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--native", default="127.0.0.1:50052")
    parser.add_argument("--api", default="127.0.0.1:50051")
    options = parser.parse_args()
    for thread in Path(f"/proc/{options.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {0})
    for numbers, in_flight, calls in CASES:
        for name, address in (("native", options.native), ("API", options.api)):
            found = load(address, numbers, in_flight, calls[name], options.pid)
            print(
                f"{name:6} {numbers:6} numbers a call: " + ", ".join(f"{what} {much}" for what, much in found.items())
            )


if __name__ == "__main__":
    main()
