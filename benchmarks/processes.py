"""Servers as processes of their own, on the first core."""

import os
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
    environment = {**os.environ, "NUMCHECK_CHECK_LISTEN": "127.0.0.1:0"}
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, env=environment)
    pin(0, process.pid)
    try:
        ready = next(line for line in process.stderr if "ready on " in line)
        yield ready.split("ready on ")[1].split()[0], process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stderr.close()
