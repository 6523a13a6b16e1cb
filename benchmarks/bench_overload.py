"""Question: what becomes of calls when several times as many come as the node can answer?

A node on the first core, and on the last the generator of `numcheck bench`, which does not wait: calls are due at 2, 3
and 5 times the rate that the node has reached just before, with one call in flight on each of 64 connections. Printed
are goodput (answers beside that rate, and the same of the node's processor time), percentiles of what was answered and
refused, in milliseconds from when a call was due, how late and how busy the generator was itself (where its core is
full, times are its own as well), and the same at half of the rate, 2 seconds later. Beside each flood another client
asks for one thing after the other: its own 99th percentile shows whom the flood harms. Target: goodput 0.9, answers
within 150 ms, refusals within 10.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import grpc
import pytest

from benchmarks.population import CORES, pin
from benchmarks.processes import cpu_seconds, server
from numcheck.bench.generator import NativeLoad, Target, framed
from numcheck.bench.outcome import Outcome
from numcheck.door.native_door import LACKING
from numcheck.v1 import check_pb2, numbering_pb2
from numcheck.v1 import registration_pb2 as pb
from tests.registrations.world import ADDRESS, DATA, SERVICE, small

SECONDS = float(os.environ.get("NUMCHECK_BENCH_OVERLOAD_S", "8"))
FACTORS = (2, 3, 5)
CONNECTIONS = 64
STREAMS_MAX = 128  # of a connection: as many as the node takes
RATE_MAX = 20_000  # of calls that are made anew each time, with 64 in flight
RECOVERY_S = 2.0 if SECONDS > 1 else 0.0
REGISTRATION, CHECK = "/numcheck.v1.RegistrationService", "/numcheck.v1.CheckService"
STATE = "/numcheck.v1.NumberingService/GetOperatorState"
NUMBERS = 10_000

users = itertools.count()

pytestmark = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))


def register() -> bytes:
    """A registration of a new user."""
    return pb.RegisterRequest(
        service=SERVICE,
        user_id=f"u{next(users)}",
        number=f"+{small.ACTIVE}",
        network_address=pb.NetworkAddress(address=ADDRESS.address, port=ADDRESS.port),
        registration_data=DATA,
    ).SerializeToString()


def lookup() -> bytes:
    """The first user, who is registered before anything is measured."""
    return pb.GetRegistrationRequest(service=SERVICE, user_id="u0").SerializeToString()


def state() -> bytes:
    """An operator's state."""
    return numbering_pb2.GetOperatorStateRequest(operator_id=1).SerializeToString()


QUESTION = check_pb2.CheckNumbersRequest(numbers=[small.ACTIVE]).SerializeToString()
BATCH = check_pb2.CheckNumbersRequest(numbers=[small.ACTIVE] * NUMBERS).SerializeToString()
METHODS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "GetRegistration": (f"{REGISTRATION}/GetRegistration", lookup),
    "Register": (f"{REGISTRATION}/Register", register),
    "GetOperatorState": (STATE, state),
    "CheckNumbers": (f"{CHECK}/CheckNumbers", lambda: BATCH),
}
NEW_EACH_TIME = {"Register"}  # of which no request is sent twice


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A node of a small plan; the disk is the one of pytest's --basetemp."""
    data_dir = small.fill(tmp_path_factory.mktemp("node") / "var")
    options = ("--data-dir", data_dir, "--listen", "127.0.0.1:0", "--threads", "1")
    with server("-m", "numcheck", "serve", *options) as (address, pid):
        with grpc.insecure_channel(address) as channel:
            channel.unary_unary(METHODS["Register"][0])(register(), wait_for_ready=True, timeout=30)
        pin(1)
        yield address, pid


class Beside:
    """A client that makes one call after the other, of another kind than the flood, and how long each took."""

    def __init__(self, address: str, path: str, request: Callable[[], bytes]) -> None:
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._path, self._request, self._ended = path, request, threading.Event()
        self.waits: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        call = self._channel.unary_unary(self._path)
        while not self._ended.wait(0.01):
            start = time.perf_counter()
            try:
                call(self._request(), timeout=30)
            except grpc.RpcError as error:
                self.errors.append(error.code().name)
            self.waits.append(time.perf_counter() - start)

    @contextmanager
    def running(self) -> Iterator["Beside"]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            self._channel.close()


class Flood:
    """Calls of one method, and what they cost the node."""

    def __init__(self, address: str, pid: int, name: str) -> None:
        self._pid, (path, self._request), self._new = pid, METHODS[name], name in NEW_EACH_TIME
        self._loads = [
            NativeLoad(Target(address), path, connections=CONNECTIONS, in_flight=in_flight, cores=CORES[-1:])
            for in_flight in (1, STREAMS_MAX)
        ]
        for load in self._loads:
            assert load.connect() == CONNECTIONS

    def closed(self, seconds: float, rate_max: float) -> tuple[Outcome, float]:
        """Keep one call in flight on each connection, and return the outcome and the node's processor time."""
        return self._run(self._loads[0], seconds, rate_max, 0.0)

    def open(self, rate: float, seconds: float) -> tuple[Outcome, float]:
        """Have calls due at a rate, over many streams of each connection."""
        return self._run(self._loads[1], seconds, rate, rate)

    def _run(self, load: NativeLoad, seconds: float, rate_max: float, rate: float) -> tuple[Outcome, float]:
        count = int(rate_max * seconds) + 1 if self._new else 1
        bodies = [framed(self._request()) for _ in range(count)]
        spent = cpu_seconds(self._pid)
        outcome = load.run(bodies, seconds, rate=rate, once=self._new, patience_s=5.0)
        return outcome, max(cpu_seconds(self._pid) - spent, 0.01)


def percentile_ms(durations: Mapping[int, int], share: float) -> float:
    """The time that this share took at most; 0 of none."""
    rank = share * sum(durations.values())
    for duration in sorted(durations):
        rank -= durations[duration]
        if rank <= 0:
            return duration / 1e6
    return 0.0


def percentile(waits: list[float], share: float) -> float:
    """The same of single times in seconds."""
    ordered = sorted(waits)
    return 1_000 * ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def told(factor: float, found: Outcome, spent: float, rate: float, rate_of_cpu: float) -> str:
    return (
        f"{factor} times: goodput {found.in_time / SECONDS / rate:.2f}, of the processor's time "
        f"{found.in_time / spent / rate_of_cpu:.2f}, answered p50 {percentile_ms(found.answered, 0.5):.1f} "
        f"p99 {percentile_ms(found.answered, 0.99):.0f} ms, refused {sum(found.refused.values())} "
        f"p50 {percentile_ms(found.refused, 0.5):.1f} p99 {percentile_ms(found.refused, 0.99):.1f} ms, "
        f"without an answer {found.unanswered + found.never_begun}, "
        f"sent late p99 {percentile_ms(found.begun_late, 0.99):.1f} ms, "
        f"generator {found.cpu_s / found.wall_s:.0%} of its core"
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.benchmark(group="overload")
def test_more_calls_come_than_can_be_answered(benchmark, node: tuple[str, int], name: str) -> None:
    """Prints a line for each rate; a check beside a flood of others', or a lookup beside a flood of checks."""
    address, pid = node
    others = METHODS["GetRegistration"] if name == "CheckNumbers" else (f"{CHECK}/CheckNumbers", lambda: QUESTION)

    def measure() -> None:
        flood = Flood(address, pid, name)
        flood.closed(SECONDS / 4, RATE_MAX)
        able, spent = flood.closed(SECONDS / 2, RATE_MAX)
        rate, rate_of_cpu = able.in_time / able.wall_s, able.in_time / spent
        print(f"\n{name}: {rate:,.0f} a second with {CONNECTIONS} in flight")
        for factor in FACTORS:
            with Beside(address, *others).running() as beside:
                print(told(factor, *flood.open(factor * rate, SECONDS), rate, rate_of_cpu))
            print(f"  beside it: p99 {percentile(beside.waits, 0.99):.1f} ms, errors {len(beside.errors)}")
            time.sleep(RECOVERY_S)
            half, _ = flood.open(rate / 2, SECONDS / 4)
            refused = sum(half.refused.values())
            print(f"  half: answered p99 {percentile_ms(half.answered, 0.99):.0f} ms, refused {refused}")

    benchmark.pedantic(measure, rounds=1)
