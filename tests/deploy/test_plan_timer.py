"""The timer's script over a server of the regulator's files: what changed is imported, and what is refused is not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.serving.small import REGISTRY

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SCRIPT = UNITS / "numcheck-plan"

if shutil.which("curl") is None:
    pytest.skip("the script needs curl", allow_module_level=True)


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


class Machine:
    """The regulator's files, and the directory of the unit's state."""

    def __init__(self, directory: Path, url: str) -> None:
        self.published, self.state, self.calls = directory / "published", directory / "state", directory / "calls"
        self.command, self.refusing = directory / "numcheck", directory / "refusing"
        for one in (self.published, self.state):
            one.mkdir()
        # Stands for the command: it says what it was asked, and refuses an import if it is told to.
        self.command.write_text(
            f'#!/bin/sh\necho "$@" >> {self.calls}\n[ "$2" != import ] || [ ! -e {self.refusing} ] || exit 1\n'
        )
        self.command.chmod(0o755)
        self._environment = {
            "PATH": os.environ["PATH"],
            "STATE_DIRECTORY": str(self.state),
            "PLAN_URL": url,
            "PLAN_FILES": "DEF-9xx.csv ABC-3xx.csv",
            "PLAN_CONFIG": "plan.toml",
            "NUMCHECK": str(self.command),
        }

    def publish(self, name: str, content: str) -> None:
        (self.published / name).write_text(content, encoding="utf-8")

    def run(self, **environment: str) -> int:
        ended = subprocess.run(
            ["/bin/sh", SCRIPT], env=self._environment | environment, capture_output=True, timeout=60, check=False
        )
        return ended.returncode

    def asked(self) -> list[list[str]]:
        """Return the subcommands, with their files, that were called since this was last."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [[line.split()[1], *(word for word in line.split() if word.endswith(".csv"))] for line in lines]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "published")))
    thread = Thread(target=server.serve_forever)
    thread.start()
    one = Machine(tmp_path, f"http://127.0.0.1:{server.server_port}")
    one.publish("DEF-9xx.csv", REGISTRY)
    one.publish("ABC-3xx.csv", "3")
    yield one
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_changed_is_compared_and_imported_and_nothing_else(machine: Machine) -> None:
    assert machine.run() == 0
    assert machine.asked() == [["import", "new/DEF-9xx.csv", "new/ABC-3xx.csv"]]
    assert machine.run() == 0
    assert machine.asked() == []
    machine.publish("DEF-9xx.csv", f"{REGISTRY}\n")
    assert machine.run() == 0
    assert machine.asked() == [["diff", "imported/DEF-9xx.csv", "new/DEF-9xx.csv"], ["import", "new/DEF-9xx.csv"]]


def test_what_is_refused_fails_the_unit_and_is_tried_again(machine: Machine) -> None:
    assert machine.run() == 0
    machine.publish("ABC-3xx.csv", "4")
    machine.refusing.touch()
    machine.asked()
    for _ in range(2):
        assert machine.run() == 1
        assert machine.asked() == [["diff", "imported/ABC-3xx.csv", "new/ABC-3xx.csv"], ["import", "new/ABC-3xx.csv"]]
        assert (machine.state / "imported/ABC-3xx.csv").read_text() == "3"
    machine.refusing.unlink()
    assert machine.run() == 0
    assert (machine.state / "imported/ABC-3xx.csv").read_text() == "4"


def test_nothing_is_imported_if_a_file_does_not_come(machine: Machine) -> None:
    (machine.published / "ABC-3xx.csv").unlink()
    assert machine.run() != 0
    assert machine.asked() == []
    assert not (machine.state / "new/ABC-3xx.csv").exists()


def test_the_command_takes_what_the_script_asks_it(tmp_path: Path, machine: Machine) -> None:
    """The real command, on a data directory that no node has."""
    config = tmp_path / "plan.toml"
    config.write_text(f'data_dir = "{tmp_path / "var"}"\n')
    command = tmp_path / "real"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m numcheck "$@"\n')
    command.chmod(0o755)
    changes = {"NUMCHECK": str(command), "PLAN_CONFIG": str(config), "PLAN_FILES": "DEF-9xx.csv"}
    assert machine.run(**changes) == 0
    machine.publish("DEF-9xx.csv", "\n".join(REGISTRY.splitlines()[:4]) + "\n")  # most of the series is gone
    assert machine.run(**changes) == 1
    assert (machine.state / "imported/DEF-9xx.csv").read_text(encoding="utf-8") == REGISTRY


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in ("numcheck-plan.service", "numcheck-plan.timer"):
        text = (UNITS / unit).read_text().replace("/usr/local/lib/numcheck/numcheck-plan", str(SCRIPT))
        (tmp_path / unit).write_text(text)
    ended = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, tmp_path.glob("numcheck-plan.*")))],
        capture_output=True,
        text=True,
        check=False,
    )
    about_ours = [line for line in (ended.stdout + ended.stderr).splitlines() if "numcheck-plan" in line]
    assert (ended.returncode, about_ours) == (0, [])
