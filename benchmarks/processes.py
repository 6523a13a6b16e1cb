"""Servers as processes of their own, on the first core, and what they cost."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from benchmarks.population import CORES, pin

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
START_MAX_S = 60.0


@contextmanager
def server(*command: str | PathLike[str]) -> Iterator[tuple[str, int]]:
    """Run a Python program; yields its address and pid once it says that it is ready."""
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
    pin(0, process.pid)
    try:
        ready = next(line for line in process.stderr if "ready on " in line)
        yield ready.split("ready on ")[1].split()[0], process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stderr.close()


@contextmanager
def pinned(command: Sequence[str], address: str) -> Iterator[int]:
    """Run any program on the first core; yields its pid once the address takes connections."""
    on_core = ["taskset", "-c", str(CORES[0])] if shutil.which("taskset") else []
    process = subprocess.Popen([*on_core, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_port(address, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def _await_port(address: str, process: subprocess.Popen[bytes]) -> None:
    host, port = address.split(":")
    end = time.monotonic() + START_MAX_S
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} takes no connections on {address}")


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far; 0 where the system does not say."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
