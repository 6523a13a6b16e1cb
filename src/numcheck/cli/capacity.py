"""The capacity of this machine: of the kernel in this process, and of a node in another, asked as a client asks it.

A node is measured by what its client sees and by the processor time that it took itself: one client in Python is far
slower than the door, so its own rate is a lower bound, and a second of a core is what to plan with.
"""

import os
import platform
import random
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import NamedTuple, TypeVar

from numcheck.client import CheckClient, Numbers, PushClient, RegistrationClient
from numcheck.client.push import DELTA
from numcheck.index import Index, open_index
from numcheck.serving.publishing import index_directory
from numcheck.serving.whereabouts import whereabouts_of
from numcheck.timestamps import timestamp
from numcheck.v1 import check_pb2, number_pb2, numbering_pb2
from numcheck.v1 import registration_pb2 as pb

FIRST, LAST = 79_000_000_000, 79_999_999_999  # every mobile number of the bundled plan, and those between its ranges
BATCH = 10_000
BATCHES = 50  # that differ: the same one again would find its lines in the cache
PUSHED = 1_000
REGISTERING_THREADS = 32
SERVICE = "bench"

T = TypeVar("T")
Report = Callable[[str, float], None]


class Measured(NamedTuple):
    """A measurement: its subject, its value and its unit."""

    what: str
    value: float
    unit: str


class Sample(NamedTuple):
    """Random numbers in batches, and those of one operator that are not in service."""

    batches: list[list[int]]
    mobile: list[int]
    operator_id: int
    inactive: list[int]


def measure(data_dir: Path, seconds: float, report: Report) -> list[Measured]:
    """Measure over a data directory that was made for it, each thing for so many seconds."""
    opened = perf_counter()
    index = open_index(index_directory(data_dir))
    found = [
        Measured("the index", index.size / 1e6, "MB"),
        Measured("opening it, every checksum compared", 1e3 * (perf_counter() - opened), "ms"),
    ]
    sample = _sample(index)
    report("kernel", 0)
    found += _kernel(index, sample, seconds)
    with _node(data_dir) as pid:
        here = whereabouts_of(data_dir)
        if here is None:
            raise RuntimeError("the node ended before it was measured")
        report("checks", 0.2)
        with CheckClient(here.address) as client:
            found += _calls(client, here.door, pid, sample, seconds)
            found += _batches(client, here.door, pid, sample, seconds)
        report("a push, and registrations", 0.9)
        found += [_push(here.address, sample), _registrations(here.address, sample, seconds)]
    report("done", 1)
    return found


def _sample(index: Index) -> Sample:
    chance = random.Random(1)
    batches = [chance.choices(range(FIRST, LAST + 1), k=BATCH) for _ in range(BATCHES)]
    held: dict[int, list[int]] = {}
    for batch in batches:
        answer = check_pb2.CheckNumbersResponse.FromString(_ask(index, _request(batch)))
        for number, status, operator_id in zip(batch, answer.statuses, answer.operator_ids, strict=True):
            if operator_id and status == number_pb2.NUMBER_STATUS_INACTIVE:
                held.setdefault(operator_id, []).append(number)
    largest = max(held, key=lambda operator_id: len(held[operator_id]))
    mobile = [number for numbers in held.values() for number in numbers]
    return Sample(batches, mobile, largest, sorted(set(held[largest])))


def _request(numbers: Sequence[int]) -> bytes:
    return check_pb2.CheckNumbersRequest(numbers=numbers).SerializeToString()


def _ask_one_of(index: Index, requests: list[bytes], turn: int) -> bytes:
    return _ask(index, requests[turn % len(requests)])


def _ask(index: Index, request: bytes) -> bytes:
    answer: bytes = index.table.check_numbers(request, numbers_per_call_max=BATCH)
    return answer


# --- the parts


def _kernel(index: Index, sample: Sample, seconds: float) -> list[Measured]:
    found = []
    for name, order in (("at random", list), ("ascending", sorted)):
        requests = [_request(order(batch)) for batch in sample.batches]
        asked, spent = _repeat(partial(_ask_one_of, index, requests), seconds)
        found.append(Measured(f"kernel, one core, {name}", asked * BATCH / spent, "numbers/s"))
    return found


def _calls(client: CheckClient, name: str, pid: int, sample: Sample, seconds: float) -> list[Measured]:
    texts, times = [f"+{number}" for number in sample.mobile], list[float]()

    def call(turn: int) -> None:
        began = perf_counter()
        client.check_number(texts[turn % len(texts)])
        times.append(perf_counter() - began)

    used, (count, spent) = _cpu_of(pid, lambda: _repeat(call, seconds))
    found = [
        Measured(f"{name}, one number a call, one client", count / spent, "calls/s"),
        Measured(f"{name}, the same, half of the calls within", 1e6 * median(times), "us"),
        Measured(f"{name}, the same, 99% within", 1e6 * quantiles(times, n=100)[-1], "us"),
    ]
    return found + ([Measured(f"{name}, the same, a second of one core", count / used, "calls/s")] if used else [])


def _batches(client: CheckClient, name: str, pid: int, sample: Sample, seconds: float) -> list[Measured]:
    end = perf_counter() + seconds

    def wanted() -> Iterator[list[int]]:
        turn = 0
        while perf_counter() < end:
            yield sample.batches[turn % BATCHES]
            turn += 1

    began = perf_counter()
    used, count = _cpu_of(pid, lambda: sum(1 for _ in client.check_batches(wanted())))
    what = f"{name}, {BATCH:,} numbers a message"
    found = [Measured(f"{what}, one client", count * BATCH / (perf_counter() - began), "numbers/s")]
    return found + ([Measured(f"{what}, a second of one core", count * BATCH / used, "numbers/s")] if used else [])


def _push(address: str, sample: Sample) -> Measured:
    with PushClient(address) as client, CheckClient(address) as check:
        header = numbering_pb2.PushHeader(
            operator_id=sample.operator_id,
            mode=DELTA,
            base_version=client.state(sample.operator_id, digest=False).version,
            data_time=timestamp(datetime.now(UTC)),
        )
        began = perf_counter()
        pushed = client.push_active(header, lambda: [Numbers(add=sample.inactive[:PUSHED])])
        while check.check_number(f"+{FIRST}").index_version < pushed.index_version:
            pass  # asking again is what a client does
        took_ms = 1e3 * (perf_counter() - began)
    return Measured(f"a push of {PUSHED:,} numbers, until it is answered from", took_ms, "ms")


def _registrations(address: str, sample: Sample, seconds: float) -> Measured:
    place = pb.NetworkAddress(address="127.0.0.1", port=1)
    with RegistrationClient(address, SERVICE) as client, ThreadPoolExecutor(REGISTERING_THREADS) as threads:

        def register(turn: int) -> None:
            number = f"+{sample.mobile[turn % len(sample.mobile)]}"
            data = {"name": "bench"}
            user_id = str(uuid.uuid4())
            client.register(
                pb.RegisterRequest(user_id=user_id, number=number, network_address=place, registration_data=data)
            )

        began = perf_counter()
        counts = threads.map(lambda _: _repeat(register, seconds)[0], range(REGISTERING_THREADS))
        return Measured("durable registrations, 32 callers", sum(counts) / (perf_counter() - began), "registrations/s")


# --- the means


def _repeat(work: Callable[[int], object], seconds: float) -> tuple[int, float]:
    """Do the work again and again for so long; how often, and how long it took."""
    began, turn = perf_counter(), 0
    while turn == 0 or perf_counter() - began < seconds:
        work(turn)
        turn += 1
    return turn, perf_counter() - began


def _cpu_of(pid: int, work: Callable[[], T]) -> tuple[float, T]:
    """Return the processor time that a process took meanwhile, 0 where the system does not say; and what the work
    gave."""
    before = _cpu_seconds(pid)
    done = work()
    return _cpu_seconds(pid) - before, done


def _cpu_seconds(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _node(data_dir: Path) -> Iterator[int]:
    """Yield a node with the settings' defaults, on free ports; its pid."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMCHECK_")}
    options = ("--data-dir", str(data_dir), "--listen", "127.0.0.1:0")
    with subprocess.Popen(
        [sys.executable, "-m", "numcheck", "serve", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stderr is not None
        try:
            if not any('"ready on ' in line for line in process.stderr):
                raise RuntimeError("the node ended before it was ready")
            yield process.pid
        finally:
            process.terminate()


def machine() -> dict[str, str]:
    """Return what was measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.1f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
        "numcheck": version("numcheck"),
    }
