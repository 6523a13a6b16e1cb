"""A node that is started to be measured: on cores of its own, with its data in a directory that was made for it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from numcheck.bench.generator import Target
from numcheck.bench.resources import Cores
from numcheck.client.channel import Security
from numcheck.nearby import token_for
from numcheck.serving.whereabouts import whereabouts_of

END_MAX_S = 60.0


@dataclass(frozen=True)
class Node:
    """A node, its process (None: it is not of this machine), and the cores of it and its clients."""

    target: Target
    pid: int | None
    cores: Cores
    door: str = ""


@contextmanager
def started(data_dir: Path, cores: Cores, settings: Mapping[str, str]) -> Iterator[Node]:
    """Start a node with an event loop for each of its cores, and these variables beside the defaults."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMCHECK_")}
    options = ("--data-dir", str(data_dir), "--listen", "127.0.0.1:0", "--threads", str(max(len(cores.node), 1)))
    with subprocess.Popen(
        [sys.executable, "-m", "numcheck", "serve", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, **settings},
    ) as process:
        assert process.stderr is not None
        try:
            if cores.node:
                os.sched_setaffinity(process.pid, cores.node)
            _await_ready(process.stderr)
            here = whereabouts_of(data_dir)
            if here is None:
                raise RuntimeError("the node ended before it was measured")
            threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
            token = token_for(here.address, data_dir)
            yield Node(Target(here.address, Security(data_dir=data_dir), token=token), process.pid, cores, here.door)
        finally:
            _end(process)


def _await_ready(log: IO[str]) -> None:
    if not any('"ready on ' in line for line in log):
        raise RuntimeError("the node ended before it was ready")


def _drain(log: IO[str]) -> None:
    """Read what the node logs, so that it never waits for room in the pipe."""
    for _ in log:
        pass


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_MAX_S)
    except subprocess.TimeoutExpired:
        process.kill()
