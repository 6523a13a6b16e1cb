"""h2load on the second core: how many calls a server answers, how long each takes, and what that costs the server.

h2load sends one body again and again. So that numbers are not always the same, several of it run at once, each with a
body and connections of its own.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peers.transports import Transport
from benchmarks.population import CORES
from benchmarks.processes import cpu_seconds

SERVER_CORE, GENERATOR_CORE = CORES[0], CORES[-1]
PATH = "/numcheck.v1.CheckService/CheckNumbers"
HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
PERCENTILES = (50, 99, 99.9)
ENOUGH_S = 0.2
LARGE = 1_000
BODIES_MAX = 64
CALLS_A_CONNECTION = 50
TIMEOUT_S = 120


@dataclass(frozen=True)
class Target:
    """A server that is asked. `answer_sizes` are those of its answers, with their gRPC prefix, by numbers a call."""

    name: str
    transport: Transport
    url: str
    pid: int
    answer_sizes: dict[int, int]


@dataclass(frozen=True)
class Result:
    """The outcome of a run with so many different requests. Rates are calls a second: of the clock, and of the server's
    processor time."""

    server: str
    transport: str
    numbers: int
    different: int
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


def bodies_at_once(numbers: int, connections: int) -> int:
    """How many requests differ. Small ones do not: sending them costs more than looking up their numbers."""
    return min(connections, BODIES_MAX) if numbers >= LARGE else 1


def measure(target: Target, bodies: Sequence[Path], numbers: int, connections: int, seconds: float) -> Result:
    """Load the server as it can take for about that long."""
    calls = 4 * connections * in_flight(numbers, connections)
    trial = run(target, bodies, numbers, connections, calls)
    while trial.calls / trial.wall_rate < min(ENOUGH_S, seconds / 2) and trial.calls < 10_000_000:
        trial = run(target, bodies, numbers, connections, 4 * trial.calls)
    # Making a connection is part of a run; over so many calls it hardly counts.
    least = CALLS_A_CONNECTION if numbers <= LARGE else 1
    calls = max(trial.calls, round(trial.wall_rate * seconds), least * connections)
    return run(target, bodies, numbers, connections, calls)


def measure_paced(
    target: Target, bodies: Sequence[Path], numbers: int, connections: int, rate: float, seconds: float
) -> Result:
    """Load the server at a rate, whether it keeps up or not."""
    calls = max(connections, round(rate * seconds))
    return run(target, bodies, numbers, connections, calls, offered_per_s=rate)


def run(
    target: Target,
    bodies: Sequence[Path],
    numbers: int,
    connections: int,
    calls: int,
    *,
    offered_per_s: float | None = None,
) -> Result:
    """One run of h2load; Refused if a call failed or the answers are not as long as they should be."""
    flying, count = in_flight(numbers, connections), bodies_at_once(numbers, connections)
    pace = [] if offered_per_s is None else ["--rps", f"{offered_per_s / connections:.3f}"]
    own_connections, own_calls = shares(connections, count), shares(calls, count)
    with ExitStack() as stack:
        logs = [Path(stack.enter_context(tempfile.NamedTemporaryFile()).name) for _ in range(count)]
        before = cpu_seconds(target.pid)
        said = _h2load(
            target,
            [
                [*("-n", str(own_calls[i]), "-c", str(own_connections[i]), "-m", str(flying)), *pace,
                 *("-d", str(bodies[i]), "--log-file", str(logs[i]))]
                for i in range(count)
            ],
        )  # fmt: skip
        spent = cpu_seconds(target.pid) - before
        starts_us, times_us = np.concatenate([_times_us(log) for log in logs], axis=1)
    wall = float((starts_us + times_us).max() - starts_us.min()) / 1e6
    return Result(
        server=target.name,
        transport=target.transport.name,
        numbers=numbers,
        different=count,
        connections=connections,
        in_flight=flying,
        calls=calls,
        offered_per_s=offered_per_s,
        answered=_share_of_answers(said, calls, target.answer_sizes[numbers]),
        wall_rate=calls / wall,
        cpu_rate=calls / max(spent, 0.01),
        cpu_share=spent / wall,
        percentiles_us=tuple(float(one) for one in np.percentile(times_us, PERCENTILES)),
    )


def shares(whole: int, count: int) -> list[int]:
    """So many parts, as equal as can be."""
    return [whole // count + (place < whole % count) for place in range(count)]


def _h2load(target: Target, arguments: Sequence[Sequence[str]]) -> list[str]:
    """The words of each of those that run at once."""
    command = ("taskset", "-c", str(GENERATOR_CORE), "h2load", *HEADERS)
    environment = {**os.environ, **target.transport.h2load}
    running = [
        subprocess.Popen(
            [*command, *own, target.url + PATH], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )
        for own in arguments
    ]  # fmt: skip
    try:
        return [one.communicate(timeout=TIMEOUT_S)[0] for one in running]
    finally:
        for one in running:
            one.kill()


def _share_of_answers(said: Sequence[str], calls: int, answer_size: int) -> float:
    """By the bytes of DATA that came: h2load sees HTTP's status and not gRPC's."""
    succeeded = sum(int(found[1]) for one in said if (found := re.search(r"(\d+) succeeded", one)))
    size = sum(int(found[1]) for one in said if (found := re.search(r"\((\d+)\) data", one)))
    if succeeded != calls:
        raise Refused(f"{succeeded} of {calls} calls were answered")
    return size / (calls * answer_size)


def _times_us(log: Path) -> "np.typing.NDArray[np.int64]":
    """When each request began and how long it took: h2load's log has a line of both, with the HTTP status between."""
    return np.fromstring(log.read_text(), dtype=np.int64, sep="\t").reshape(-1, 3)[:, ::2].T
