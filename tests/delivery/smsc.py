"""The SMSC of smsc.js as tests use it."""

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

SCRIPT = Path(__file__).with_suffix(".js")
PACKAGE = "smpp@0.5.1"
PATIENCE_S = 20.0


def left_out(reason: str) -> NoReturn:
    """Skip the test, unless every stranger has to be there, as in .ci/run."""
    if os.environ.get("NUMCHECK_TEST_STRANGERS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def install(directory: Path) -> None:
    """Put npm's smpp there; skip where it cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        left_out("node and npm are not installed")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", PACKAGE]
    try:
        subprocess.run(command, cwd=directory, check=True, timeout=100, capture_output=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        left_out(f"{PACKAGE} cannot be installed here")
    shutil.copy(SCRIPT, directory)


class Smsc:
    """A running SMSC: what it tells, and what it is told to do."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._told: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port: int = self.next("listening")["port"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(json.loads(line))

    def next(self, event: str) -> dict[str, Any]:
        """The next event of this kind; those before it are passed over."""
        while True:
            told = self._told.get(timeout=PATIENCE_S)
            if told["event"] == event:
                return told

    def untold(self) -> list[dict[str, Any]]:
        """What it told that nobody asked for."""
        left = []
        while not self._told.empty():
            left.append(self._told.get())
        return left

    def order(self, **order: Any) -> list[dict[str, Any]]:
        """Have it do something; what it told before it had done it."""
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        before = []
        while (told := self._told.get(timeout=PATIENCE_S))["event"] != "done":
            before.append(told)
        return before

    def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def smsc_running(directory: Path) -> Iterator[Smsc]:
    """An SMSC from where its package was installed."""
    process = subprocess.Popen(
        ["node", "smsc.js"], cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    one = Smsc(process)
    try:
        yield one
    finally:
        one.end()
