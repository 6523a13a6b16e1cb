"""Servers as processes of their own, on the first core."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from benchmarks.population import pin


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
