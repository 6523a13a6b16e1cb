"""The real command in processes of its own: run to its end, or a node that ends with the test."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.serving.preloaded import AVAILABLE, Forked

ROOT = Path(__file__).parents[2]
NUMCHECK = (str(Path(sys.executable).with_name("numcheck")),)
AS_MODULE = (sys.executable, "-m", "numcheck")
PATIENCE_S = 240.0  # more than any machine needs
READ_WHILE_LOADED = {"GRPC_VERBOSITY", "GRPC_TRACE"}  # by modules, once
WITHOUT_EDGE = 'import sys; sys.modules["numcheck._edge"] = None; from numcheck.cli import main; main()'
PLAIN = (sys.executable, "-c", WITHOUT_EDGE)
"""The command in a build without the native door: grpcio carries the calls."""
FREE_PORT = ("--listen", "127.0.0.1:0")
# What has no address of its own: whatever node listens on the default ports of this machine is no test's.
FREE = {"NUMCHECK_LISTEN": "127.0.0.1:0"}
READY = re.compile(r".*?\bready on (\S+) \(")


class Result(NamedTuple):
    """How a command ended; what it wrote, with bytes that are not UTF-8 escaped."""

    status: int
    out: str
    err: str


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tests' environment without settings of numcheck."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMCHECK_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **(changes or {})}


def run(
    *arguments: object,
    command: tuple[str, ...] = NUMCHECK,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Result:
    """Run a command to its end."""
    pipe = subprocess.PIPE
    process = started([*command, *map(str, arguments)], env=env, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = (text.decode("utf-8", "surrogateescape") for text in process.communicate(stdin, PATIENCE_S))
    assert process.returncode is not None
    return Result(process.returncode, out, err)


def started(
    line: list[str], *, env: Mapping[str, str] | None, cwd: Path | None, **streams: int
) -> "Forked | subprocess.Popen[bytes]":
    """A command that was started: `numcheck` with its modules loaded, everything else by itself."""
    whole = environment(env if "--config" in line else {**FREE, **(env or {})})
    if AVAILABLE and line[0] == NUMCHECK[0] and not READ_WHILE_LOADED & whole.keys():
        return Forked(line, env=whole, cwd=cwd, **streams)
    return subprocess.Popen(line, env=whole, cwd=cwd, **streams)


class Process:
    """A running command whose standard error is read line by line; `lines` are those written so far."""

    def __init__(self, line: list[str], env: Mapping[str, str] | None, cwd: Path | None) -> None:
        none = subprocess.DEVNULL
        self._process = started(line, env=env, cwd=cwd, stdin=none, stdout=none, stderr=subprocess.PIPE)
        self.lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the command."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            for line in stderr:
                with self._changed:
                    self.lines.append(line.decode("utf-8", "surrogateescape").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def line_with(self, text: str, *, after: int = 0) -> str:
        """Wait until a line that holds the text has been written, after so many others."""
        with self._changed:
            self._changed.wait_for(lambda: self._find(text, after) or self._ended, PATIENCE_S)
        found = self._find(text, after)
        assert found is not None, f"no line with {text!r}: {self.lines}"
        return found

    def _find(self, text: str, after: int) -> str | None:
        return next((line for line in self.lines[after:] if text in line), None)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end and for the last line; the exit status."""
        status = self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def end(self) -> None:
        """End it, if it runs: asked first, killed only if it does not listen."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.wait()


@contextmanager
def running(
    *arguments: object,
    command: tuple[str, ...] = NUMCHECK,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Process]:
    """A command under way."""
    process = Process([*command, *map(str, arguments)], env, cwd)
    try:
        yield process
    finally:
        process.end()


class Node(NamedTuple):
    """A node that is ready."""

    address: str
    process: Process


@contextmanager
def serving(
    data_dir: Path,
    *arguments: object,
    command: tuple[str, ...] = (*NUMCHECK, "serve"),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Node]:
    """A node of a data directory, on free ports."""
    with running("--data-dir", data_dir, *FREE_PORT, *arguments, command=command, env=env, cwd=cwd) as process:
        ready = READY.match(process.line_with('"ready on '))
        assert ready is not None
        yield Node(ready[1], process)
