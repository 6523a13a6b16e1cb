"""Nodes to be killed: each a process of its own over a data directory, its disk recorded where this machine can.

Beside the node that runs, the next one is kept ready: its modules imported, waiting for its order.
"""

import json
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import grpc

from numcheck.serving.keys import make_keys
from numcheck.v1 import check_pb2_grpc, numbering_pb2_grpc, registration_pb2_grpc
from tests.faults.disk import Disk, Keep
from tests.faults.ledger import Violation
from tests.faults.points import ARMED, REACHED
from tests.serving.command import FREE_PORT, READY, ROOT, environment

PATIENCE_S = 60.0
GIVEN_UP_EVERY_S = 0.2  # how often a wait asks whether it is still wanted
# Between one node's clock and the next one's: codes may be sent again, expire, and be guessed at for a whole day.
CLOCK_STEP_S = 90.0
SOURCE = Path(__file__).with_name("recorder.c")


def build_recorder(directory: Path) -> Path | None:
    """Compile the recorder; None where the machine has no preloading that we know, or no compiler."""
    if not sys.platform.startswith("linux"):
        return None
    library = directory / "recorder.so"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-lpthread"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return library


class Life:
    """A node's process, from its launch to its end."""

    def __init__(self, recorder: Path | None, env: Mapping[str, str]) -> None:
        """Launch it; it waits for `begin`."""
        preload = {} if recorder is None else {"LD_PRELOAD": str(recorder)}
        self.settings, self.data_dir, self._ahead_s = dict(env), Path(), 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**environment(env), **preload},
        )
        self.lines: list[str] = []
        self.channel: grpc.Channel | None = None
        self.ending = threading.Event()  # set just before it is killed: from then on no answer may come
        self.failed = threading.Event()  # set by a client that has found something
        self._address = ""
        self._ready, self._armed, self._reached = threading.Event(), threading.Event(), threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def begin(self, data_dir: Path, log: Path | None, plant: str, ahead_s: float) -> None:
        """Let it serve a data directory, by a clock that is ahead of ours as far as registrations go."""
        self.data_dir, self._ahead_s = data_dir, ahead_s
        order = {
            "data_dir": str(data_dir),
            "log": log and str(log),
            "plant": plant,
            "ahead_s": ahead_s,
            "arguments": ["serve", "--data-dir", str(data_dir), *FREE_PORT],
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        self._reader.start()

    def now_s(self) -> float:
        """The time by its clock, in seconds since 1970."""
        return time.time() + self._ahead_s

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.decode("utf-8", "replace").rstrip())
            if ready := READY.match(self.lines[-1]):
                self._address = ready[1]
                self._ready.set()
            elif ARMED in self.lines[-1]:
                self._armed.set()
            elif REACHED in self.lines[-1]:
                self._reached.set()
        for event in (self._ready, self._armed, self._reached):
            event.set()

    def connect(self) -> None:
        """Wait until it is ready, and make the stubs. Violation if it ends instead: a node must start after a kill."""
        if not self._ready.wait(PATIENCE_S) or not self._address:
            raise Violation(f"the node did not start: {self.lines[-5:]}")
        self.channel = grpc.insecure_channel(self._address)
        self.numbering = numbering_pb2_grpc.NumberingServiceStub(self.channel)
        self.check = check_pb2_grpc.CheckServiceStub(self.channel)
        self.registrations = registration_pb2_grpc.RegistrationServiceStub(self.channel)

    def arm(self, place: int) -> None:
        """Let its planted bug do harm at that moment and at no other; from now on it has done none."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{place}\n".encode())
        self.process.stdin.flush()
        if not self._armed.wait(PATIENCE_S):
            raise Violation("the node does not answer that it is armed")

    def wait_until_reached(self) -> None:
        """Return once its bug has done its harm, or once a client has given up; or when patience is over."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._reached.wait(GIVEN_UP_EVERY_S) and not self.failed.is_set() and time.monotonic() < deadline:
            pass

    def kill(self) -> None:
        """SIGKILL, and nothing of it is left."""
        self.process.kill()
        self.process.wait()
        if self._reader.ident is not None:
            self._reader.join(PATIENCE_S)
        if self.channel is not None:
            self.channel.close()
        for stream in (self.process.stdin, self.process.stderr):
            if stream is not None:
                stream.close()


class Machine:
    """The machine that the nodes live on, one after the other: its disk survives them, or loses what a disk may."""

    def __init__(
        self, directory: Path, recorder: Path | None, *, plant: str = "", env: Mapping[str, str] | None = None
    ):
        """`directory` is the campaign's own; the data directory is `data_dir` in it, to be filled by the caller."""
        self._directory, self._recorder, self._plant = directory, recorder, plant
        # The keys of registrations lie elsewhere, as they should: they are no part of the disk that loses its power.
        directory.mkdir(parents=True, exist_ok=True)
        make_keys(directory / "keys.json", datetime.now(UTC))
        self.env = {"NUMCHECK_KEYS_FILE": str(directory / "keys.json"), **(env or {})}
        self._life_count, self._ahead_s = 0, 0.0
        self.data_dir = directory / "0" / "var"
        self._next: Life | None = None
        self._disk: Disk | None = None

    @property
    def log(self) -> Path:
        """What the node under way did to its disk."""
        return self.data_dir.parent / "disk.log"

    def start(self) -> Life:
        """Let the node that was kept ready begin, and make the next one ready."""
        life = self._next or self._launch()
        self._disk = Disk(self.data_dir) if self._recorder is not None else None
        self._ahead_s += CLOCK_STEP_S
        life.begin(self.data_dir, self.log if self._disk else None, self._plant, self._ahead_s)
        self._next = self._launch()
        return life

    def _launch(self) -> Life:
        return Life(self._recorder, self.env)

    def kill(self, life: Life) -> None:
        """The process alone ends: what it wrote stays as it is."""
        life.kill()
        self.log.unlink(missing_ok=True)

    def lose_power(self, life: Life, keep: Keep) -> None:
        """The process ends and the disk is left with what it promised, and of the rest with what `keep` chooses."""
        life.kill()
        assert self._disk is not None, "this machine's disk is not recorded"
        if self.log.exists():  # else it was killed before it did anything
            self._disk.replay(self.log)
        self._disk.keep(keep)
        self._life_count += 1
        self.data_dir = self._directory / str(self._life_count) / "var"
        self._disk.write_to(self.data_dir)

    def close(self) -> None:
        """End the node that is kept ready."""
        if self._next is not None:
            self._next.kill()
