"""h2load on the second core: how many calls a server answers, how long each takes, and what that costs the server."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.population import CORES
from benchmarks.processes import cpu_seconds

SERVER_CORE, GENERATOR_CORE = CORES[0], CORES[-1]
PATH = "/numcheck.v1.CheckService/CheckNumbers"
HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
PERCENTILES = (50, 99, 99.9)
ENOUGH_S = 0.2
LARGE = 1_000
CALLS_A_CONNECTION = 50
TIMEOUT_S = 120


@dataclass(frozen=True)
class Target:
    """A server that is asked. `answer_sizes` are those of its answers, with their gRPC prefix, by numbers a call."""

    name: str
    url: str
    pid: int
    answer_sizes: dict[int, int]


@dataclass(frozen=True)
class Result:
    """What came of a run. Rates are calls a second: of the clock, and of the server's processor time."""

    server: str
    numbers: int
    connections: int
    in_flight: int
    calls: int
    offered_per_s: float | None
    answered: float
    wall_rate: float
    cpu_rate: float
    cpu_share: float
    percentiles_us: tuple[float | None, ...]


class Refused(Exception):
    """Not every call was answered as it should be."""


def in_flight(numbers: int, connections: int) -> int:
    """Calls on a connection at once: up to 64 in all and 16 on one, of large ones 16 and 8; one on each of many.

    At its limit of 32 gRPC refuses a call that comes before it has forgotten the one that it has just answered.
    """
    together, on_one = (64, 16) if numbers <= LARGE else (16, 8)
    return max(1, min(on_one, together // connections))


def measure(target: Target, body: Path, numbers: int, connections: int, seconds: float) -> Result:
    """Load the server as it can take for about that long."""
    calls = 4 * connections * in_flight(numbers, connections)
    trial = run(target, body, numbers, connections, calls)
    while trial.calls / trial.wall_rate < min(ENOUGH_S, seconds / 2) and trial.calls < 10_000_000:
        trial = run(target, body, numbers, connections, 4 * trial.calls)
    # Making a connection is part of a run; over so many calls it hardly counts.
    least = CALLS_A_CONNECTION if numbers <= LARGE else 1
    calls = max(trial.calls, round(trial.wall_rate * seconds), least * connections)
    return run(target, body, numbers, connections, calls)


def measure_paced(target: Target, body: Path, numbers: int, connections: int, rate: float, seconds: float) -> Result:
    """Load the server at a rate, whether it keeps up or not."""
    calls = max(connections, round(rate * seconds))
    return run(target, body, numbers, connections, calls, offered_per_s=rate)


def run(
    target: Target, body: Path, numbers: int, connections: int, calls: int, *, offered_per_s: float | None = None
) -> Result:
    """One run of h2load; Refused if a call failed or the answers are not as long as they should be."""
    flying = in_flight(numbers, connections)
    pace = [] if offered_per_s is None else ["--rps", f"{offered_per_s / connections:.3f}"]
    with tempfile.NamedTemporaryFile() as log:
        before = cpu_seconds(target.pid)
        said = _h2load(
            *("-n", str(calls), "-c", str(connections), "-m", str(flying), "-d", str(body), "--log-file", log.name),
            *(*pace, *HEADERS, target.url + PATH),
        )
        spent = cpu_seconds(target.pid) - before
        times_us = _durations_us(Path(log.name))
    wall_rate = _wall_rate(said)
    answered = _share_of_answers(said, calls, target.answer_sizes[numbers])
    return Result(
        server=target.name,
        numbers=numbers,
        connections=connections,
        in_flight=flying,
        calls=calls,
        offered_per_s=offered_per_s,
        answered=answered,
        wall_rate=wall_rate,
        cpu_rate=calls / max(spent, 0.01),
        cpu_share=spent / (calls / wall_rate),
        percentiles_us=tuple(float(one) for one in np.percentile(times_us, PERCENTILES)),
    )


def _h2load(*arguments: str) -> str:
    command: Sequence[str] = ("taskset", "-c", str(GENERATOR_CORE), "h2load", *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout


def _wall_rate(said: str) -> float:
    found = re.search(r"([\d.]+) req/s", said)
    assert found is not None
    return float(found[1])


def _share_of_answers(said: str, calls: int, answer_size: int) -> float:
    """By the bytes of DATA that came: h2load sees HTTP's status and not gRPC's."""
    succeeded, data = re.search(r"(\d+) succeeded", said), re.search(r"\((\d+)\) data", said)
    assert succeeded is not None
    assert data is not None
    if int(succeeded[1]) != calls:
        raise Refused(f"{succeeded[1]} of {calls} calls were answered")
    return int(data[1]) / (calls * answer_size)


def _durations_us(log: Path) -> "np.typing.NDArray[np.int64]":
    """The third column of h2load's log: a line has the start, the HTTP status and how long the request took."""
    return np.fromstring(log.read_text(), dtype=np.int64, sep="\t").reshape(-1, 3)[:, 2]
