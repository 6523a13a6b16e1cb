"""The watch over a primary's disk, beside a Patroni of the test's own: `make failovers` has it beside a real one."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import pytest

from tests.serving.command import ROOT

SCRIPT = ROOT / "deploy/patroni/disk_watch.py"
PATIENCE_S = 30.0
HEIR = {"name": "two", "role": "quorum_standby", "state": "streaming"}


class Patroni(ThreadingHTTPServer):
    """Says what it is told to say, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.leads, self.members = True, list[dict[str, str]]()
        self._asked, self._turn = Counter[str](), Condition()
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        with self._turn:
            self._asked[path] += 1
            self._turn.notify_all()
        return {"/primary": (200 if self.leads else 503, {}), "/cluster": (200, {"members": self.members})}[path]

    def wait_until_asked(self, path: str, count: int) -> None:
        with self._turn:
            wanted = self._asked[path] + count
            assert self._turn.wait_for(lambda: self._asked[path] >= wanted, PATIENCE_S)


class Asked(BaseHTTPRequestHandler):
    """One question."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Patroni)
        status, said = self.server.answer(self.path)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory where nothing can be written: the name of what the watch writes is taken."""
    (tmp_path / "pgsql_tmp_disk_watch").mkdir()
    return tmp_path


@pytest.fixture
def postgres(data: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Stands for PostgreSQL: a process that runs in its data directory, and ends by SIGQUIT, though whoever runs the
    tests has that ignored."""
    with subprocess.Popen(["env", "--default-signal=QUIT", "sleep", "600"], cwd=data) as process:
        (data / "postmaster.pid").write_text(f"{process.pid}\n{data}\n")
        yield process
        process.kill()


@pytest.fixture
def patroni(data: Path) -> Iterator[Patroni]:
    """A Patroni, and the watch beside it."""
    with Patroni() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        command = [sys.executable, "-S", str(SCRIPT), "--patroni", url, "--data", str(data), "--every", "0.01"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as watch:
            yield server
            watch.kill()
        server.shutdown()


def test_a_primary_is_ended_once_a_standby_could_take_over(
    postgres: "subprocess.Popen[bytes]", patroni: Patroni
) -> None:
    patroni.wait_until_asked("/cluster", 3)
    assert postgres.poll() is None
    patroni.members = [{"name": "one", "role": "leader", "state": "running"}, HEIR]
    assert postgres.wait(PATIENCE_S) == -signal.SIGQUIT


def test_a_standby_and_a_disk_that_takes_what_is_written_are_left_alone(
    data: Path, postgres: "subprocess.Popen[bytes]", patroni: Patroni
) -> None:
    patroni.leads, patroni.members = False, [HEIR]
    patroni.wait_until_asked("/primary", 5)
    (data / "pgsql_tmp_disk_watch").rmdir()
    patroni.leads = True
    patroni.wait_until_asked("/primary", 5)
    assert postgres.poll() is None
