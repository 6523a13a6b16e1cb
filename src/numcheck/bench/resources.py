"""Resources that a run took: processor time of the node, the generator and others; waiting for the disk."""

import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import clock_gettime, perf_counter
from typing import NamedTuple

FULL = 0.9  # of a core, or of the cores that somebody has: then there is no more to be had
DISK_FULL = 0.5  # of the time that somebody waited for the disk
OTHERS_MUCH = 0.25  # of a core
SYNCS = 40
CPU_CLOCK = 2  # CPUCLOCK_SCHED of a whole process, as clock_getcpuclockid has it


class Reading(NamedTuple):
    """Counters at a moment, in seconds; None: the system does not tell."""

    at: float
    node_cpu: float | None
    machine_cpu: float | None
    disk_wait: float | None


def read_counters(node_pid: int | None) -> Reading:
    """Return the counters now; `node_pid` is None for a node on another machine."""
    node = None if node_pid is None else _node_cpu_s(node_pid)
    return Reading(perf_counter(), node, _machine_cpu_s(), _disk_wait_s())


def _node_cpu_s(pid: int) -> float | None:
    """Return the processor time of a process by its own clock, whose id Linux makes of the pid: to the nanosecond,
    where /proc counts ticks of 10 ms."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return clock_gettime(~pid << 3 | CPU_CLOCK)
    except OSError:
        return None


def _machine_cpu_s() -> float | None:
    """Return for how long cores have been busy: user, nice, system, irq, softirq and steal."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _disk_wait_s() -> float | None:
    """Return for how long some task of this machine has waited for a disk: Linux's pressure stall information."""
    pressure = Path("/proc/pressure/io")
    try:
        found = re.search(r"^some .*total=(\d+)", pressure.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) / 1e6


@dataclass(frozen=True, slots=True)
class Used:
    """The use of a run: cores that were busy on average, and the share of the time that the disk was waited for."""

    node: float | None
    client: float
    others: float | None
    disk: float | None

    @classmethod
    def between(cls, before: Reading, after: Reading, client_cpu_s: float) -> "Used":
        """Return what was used between two readings."""
        wall = max(after.at - before.at, 1e-9)

        def rate(start: float | None, end: float | None) -> float | None:
            return None if start is None or end is None else (end - start) / wall

        node, machine = rate(before.node_cpu, after.node_cpu), rate(before.machine_cpu, after.machine_cpu)
        client = client_cpu_s / wall
        others = None if machine is None else max(0.0, machine - (node or 0.0) - client)
        return cls(node, client, others, rate(before.disk_wait, after.disk_wait))


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of the node and of the client: they share them where there are not enough."""

    node: tuple[int, ...]
    client: tuple[int, ...]

    @property
    def shared(self) -> bool:
        """True if node and client take each other's time."""
        return bool(set(self.node) & set(self.client))


def share_cores(available: list[int], node_count: int) -> Cores:
    """Give the node the first cores and the client the others; at least one each, the same if there is one only."""
    node = tuple(available[:node_count])
    return Cores(node, tuple(available[node_count:]) or node[-1:])


def cores_here() -> list[int]:
    """Return the cores that this process may use; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def limit_of(used: Used, cores: Cores, *, by_python: bool, writes: bool) -> str:
    """Return what was full: the client, the node, the disk, others on this machine, or nothing.

    A client that was full has measured itself: that comes first. Python runs on one core at a time, whatever the node
    has.
    """
    found = []
    if used.client >= FULL * max(len(cores.client), 1):
        found.append("client")
    room = 1 if by_python else max(len(cores.node), 1)
    if used.node is not None and used.node >= FULL * room:
        found.append("node")
    if not found and writes and used.disk is not None and used.disk >= DISK_FULL:
        found.append("disk")
    if used.others is not None and used.others >= OTHERS_MUCH:
        found.append("others")
    return " and ".join(found) or "nothing"


def sync_s(directory: Path) -> float:
    """Return how long an append of 4 KiB takes in a directory until it is durable: the median of some."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(SYNCS):
            began = perf_counter()
            file.write(bytes(4_096))
            file.flush()
            os.fsync(file.fileno())
            times.append(perf_counter() - began)
    return median(times)


def resident_size(pid: int) -> int | None:
    """Return the bytes of memory of a process that are its own: of mapped files, the pages that were touched count
    elsewhere."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"^RssAnon:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return None if found is None else 1_024 * int(found[1])


def machine() -> dict[str, str]:
    """Return what is measured on."""
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
