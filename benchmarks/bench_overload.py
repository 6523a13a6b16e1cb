"""Question: what becomes of calls when several times as many come as the node can answer?

A node on the first core, and on the last a generator that does not wait: it makes calls at 2, 3 and 5 times the rate
that the node has reached just before, with 64 calls in flight. Printed are goodput (answers beside that rate), the 99th
percentile of what was answered and of what was refused, in milliseconds, and the same at half of the rate, 2 seconds
later. Beside each flood another client asks for one thing after the other: its own 99th percentile shows whom the flood
harms. Target: goodput 0.9, answers within 150 ms, refusals within 10.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import grpc
import pytest

from benchmarks.open_loop import OpenLoop, Outcomes, percentile
from benchmarks.population import pin
from benchmarks.processes import server
from numcheck.door.native_door import LACKING
from numcheck.v1 import check_pb2, numbering_pb2
from numcheck.v1 import registration_pb2 as pb
from tests.registrations.world import ADDRESS, DATA, SERVICE, small

SECONDS = float(os.environ.get("NUMCHECK_BENCH_OVERLOAD_S", "8"))
FACTORS = (2, 3, 5)
IN_FLIGHT = 64
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


def told(what: str, found: Outcomes, able: Outcomes) -> str:
    return (
        f"{what}: goodput {found.rate / able.rate:.2f}, of the processor's time "
        f"{found.rate_of_cpu / able.rate_of_cpu:.2f}, answered p50 {percentile(found.answered, 0.5):.1f} "
        f"p99 {percentile(found.answered, 0.99):.0f} ms, refused {len(found.refused)} "
        f"p99 {percentile(found.refused, 0.99):.1f} ms, without an answer {found.unanswered}"
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.benchmark(group="overload")
def test_more_calls_come_than_can_be_answered(benchmark, node: tuple[str, int], name: str) -> None:
    """Prints a line for each rate; a check beside a flood of others', or a lookup beside a flood of checks."""
    (path, request), (address, pid) = METHODS[name], node
    others = METHODS["GetRegistration"] if name == "CheckNumbers" else (f"{CHECK}/CheckNumbers", lambda: QUESTION)

    def measure() -> None:
        with closing(OpenLoop(address, pid, path, request)) as load:
            load.closed(IN_FLIGHT, SECONDS / 4)
            able = load.closed(IN_FLIGHT, SECONDS / 2)
            print(f"\n{name}: {able.rate:,.0f} a second with {IN_FLIGHT} in flight")
            for factor in FACTORS:
                with Beside(address, *others).running() as beside:
                    print(told(f"{factor} times", load.open(factor * able.rate, SECONDS), able))
                print(f"  beside it: p99 {percentile(beside.waits, 0.99):.1f} ms, errors {len(beside.errors)}")
                time.sleep(RECOVERY_S)
                half = load.open(able.rate / 2, SECONDS / 4)
                print(f"  half: answered p99 {percentile(half.answered, 0.99):.0f} ms, refused {len(half.refused)}")

    benchmark.pedantic(measure, rounds=1)
