"""Question: what does a call of a method that Python answers cost behind the native door, and behind grpcio's?

A node of each door in turn on the first core, h2load on the last, with 8 connections of 16 calls each. Both answer the
same, which is looked at first. Printed are calls a second of the server's processor time.
"""

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import grpc
import pytest

from benchmarks.population import CORES, Population
from benchmarks.processes import cpu_seconds, server
from numcheck.door.native_door import LACKING
from numcheck.v1 import check_pb2

CALLS = 10 * int(os.environ.get("NUMCHECK_BENCH_ROUNDS", "1500"))
WITHOUT_EDGE = 'import sys; sys.modules["numcheck._edge"] = None; from numcheck.cli import main; main()'
DOORS = {"native": ("-m", "numcheck"), "plain": ("-c", WITHOUT_EDGE)}
OPTIONS = ("--listen", "127.0.0.1:0", "--threads", "1")
IN_FLIGHT = ("-c", "8", "-m", "16")
HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
NOT_A_NUMBER = check_pb2.CheckNumberRequest(number="+7916 000 xx xx").SerializeToString()
CALLED = {
    "health, spelt so that Python answers": ("/grpc.health.v1.Health/Check", b"\x0a\x00"),
    "ListOperators": ("/numcheck.v1.CheckService/ListOperators", b""),
    "CheckNumber of text that is no number": ("/numcheck.v1.CheckService/CheckNumber", NOT_A_NUMBER),
}

pytestmark = pytest.mark.skipif(
    LACKING is not None or shutil.which("h2load") is None, reason="needs both doors, and h2load (nghttp2-client)"
)


def answer_of(address: str, path: str, request: bytes) -> bytes | str:
    """The response, or the text of the refusal."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer: bytes = channel.unary_unary(path)(request, timeout=30)
        except grpc.RpcError as error:
            return str(error.details())
        return answer


def rate(address: str, pid: int, path: str, body: Path) -> float:
    """Calls a second of the server's processor time."""
    before = cpu_seconds(pid)
    core = ("taskset", "-c", str(CORES[-1]), "h2load")
    command = [*core, *IN_FLIGHT, *HEADERS, "-n", str(CALLS), "-d", str(body), f"http://{address}{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    answered = re.search(r"(\d+) succeeded", said)
    assert answered is not None, said
    assert int(answered[1]) == CALLS, said
    return CALLS / max(cpu_seconds(pid) - before, 0.01)


def rates_of_both(data_dir: Path, body: Path) -> dict[str, list[float]]:
    """The rate of each method, behind the native door and then behind the plain one."""
    answers: dict[str, list[bytes | str]] = {}
    rates: dict[str, list[float]] = {}
    for command in DOORS.values():
        with server(*command, "serve", "--data-dir", data_dir, *OPTIONS) as (address, pid):
            for name, (path, request) in CALLED.items():
                answers.setdefault(name, []).append(answer_of(address, path, request))
                body.write_bytes(b"\0" + struct.pack(">I", len(request)) + request)
                rates.setdefault(name, []).append(rate(address, pid, path, body))
    assert all(native == plain for native, plain in answers.values())
    return rates


@pytest.mark.benchmark(group="door")
def test_methods_of_python(benchmark, reference: Population, tmp_path: Path) -> None:
    """Prints the rate of each method behind each door, and how many times grpcio's the native one is."""
    rates = benchmark.pedantic(rates_of_both, (reference.data_dir, tmp_path / "body"), rounds=1, iterations=1)
    for name, (native, plain) in rates.items():
        print(f"{name}: {native:,.0f} and {plain:,.0f} a second, {native / plain:.1f} times")
