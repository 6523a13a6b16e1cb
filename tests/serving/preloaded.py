"""Commands in processes that are copies of one which has every module loaded: to start one takes milliseconds.

A command that runs so is a process as any other, with its own arguments, environment, directory and pipes. Only what
is decided while modules are loaded is decided before: where that is what a test is about, it starts an interpreter.

The process that is copied has one thread and has called nothing, so that copies of it are sound. Each command has a
supervisor, which waits for it and tells how it ended.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
AVAILABLE = sys.platform == "linux"  # elsewhere, to copy a process that has loaded the system's libraries is not sound
MESSAGE_SIZE_MAX = 1 << 17
STATUS = struct.Struct("=i")
STREAMS = 3
LOADED_LATE = (
    "alembic.command",
    "alembic.config",
    "alembic.ddl",
    "sqlalchemy.dialects.postgresql.psycopg",
    "typer.rich_utils",
)


class Forked:
    """A command under way: what tests use of `subprocess.Popen`, with the same names."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.PIPE,
    ) -> None:
        self.returncode: int | None = None
        self._lock = threading.Lock()
        theirs, ours = zip(
            *(_stream(one, writes=place > 0) for place, one in enumerate((stdin, stdout, stderr))), strict=True
        )
        self.stdin, self.stdout, self.stderr = ours
        self._status, status = socket.socketpair()
        with status:
            order = json.dumps([list(arguments), dict(env), str(cwd or Path.cwd())]).encode()
            socket.send_fds(_loaded(), [order], [*theirs, status.fileno()])
        for one in theirs:
            os.close(one)
        (self.pid,) = STATUS.unpack(self._status.recv(STATUS.size, socket.MSG_WAITALL))

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit status, or the negative number of the signal that ended it."""
        with self._lock:
            if self.returncode is None:
                self._status.settimeout(timeout)
                try:
                    (self.returncode,) = STATUS.unpack(self._status.recv(STATUS.size, socket.MSG_WAITALL))
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired("numcheck", timeout or 0) from None
                self._status.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and its status is on its way
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, given: bytes, timeout: float) -> tuple[bytes, bytes]:
        """Write to its input and read its outputs, until it has ended."""
        assert self.stdin is not None
        assert self.stdout is not None
        assert self.stderr is not None
        written = [b"", b""]

        def give(stream: IO[bytes]) -> None:
            with contextlib.suppress(BrokenPipeError), stream:
                stream.write(given)

        def take(place: int, stream: IO[bytes]) -> None:
            with stream:
                written[place] = stream.read()

        threads = [
            threading.Thread(target=give, args=(self.stdin,)),
            *(threading.Thread(target=take, args=(place, one)) for place, one in enumerate((self.stdout, self.stderr))),
        ]
        for one in threads:
            one.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            for one in threads:
                one.join()
        return written[0], written[1]


def _stream(kind: int, *, writes: bool) -> tuple[int, IO[bytes] | None]:
    """Return the command's end of a stream, and ours."""
    if kind == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_WRONLY if writes else os.O_RDONLY), None
    assert kind == subprocess.PIPE
    reading, writing = os.pipe()
    if writes:
        return writing, os.fdopen(reading, "rb")
    return reading, os.fdopen(writing, "wb")


@functools.cache
def _loaded() -> socket.socket:
    """Start the process that is copied; it ends when the tests do."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        line = [sys.executable, "-m", __name__, str(theirs.fileno())]
        process = subprocess.Popen(line, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# --- in the process that is copied


def _load() -> None:
    os.environ["GRPC_VERBOSITY"] = "NONE"  # as the command sets it, before it loads grpc
    import numcheck  # noqa: PLC0415

    modules = [one.name for one in pkgutil.walk_packages(numcheck.__path__, "numcheck.")]
    for name in (*modules, *LOADED_LATE):
        if not name.endswith("__main__") and ".migrations." not in name:  # alembic runs those by itself
            with contextlib.suppress(ImportError):  # what a build lacks, commands do without
                importlib.import_module(name)


def _copy(order: bytes, given: list[int]) -> bool:
    """Make a supervisor and its command; return True in the command."""
    if os.fork():
        for one in given:
            os.close(one)
        return False
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        _supervise(pid, given)
    _become(order, given)
    return True


def _supervise(pid: int, given: list[int]) -> None:
    """Tell how the command ends. Of its streams this keeps none, so that they end with it."""
    *streams, status = given
    for one in (*streams, *range(STREAMS)):
        os.close(one)
    os.write(status, STATUS.pack(pid))
    _, ended = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        os.write(status, STATUS.pack(os.waitstatus_to_exitcode(ended)))
    os._exit(0)


def _become(order: bytes, given: list[int]) -> None:
    """Be the command."""
    *streams, status = given
    os.close(status)
    for place, one in enumerate(streams):
        os.dup2(one, place)
        os.close(one)
    arguments, env, cwd = json.loads(order)
    sys.argv = arguments
    sys.modules["__main__"].__package__ = None  # Click names a program by its package, if it has one
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(_unbuffered(place), encoding="utf-8", errors=errors, write_through=True)
        for place, errors in ((1, "strict"), (2, "backslashreplace"))
    )


def _unbuffered(descriptor: int) -> IO[bytes]:
    return os.fdopen(descriptor, "wb", buffering=0, closefd=False)


def _serve(control: socket.socket) -> bool:
    """Make copies until the tests end; return True in a copy."""
    while True:
        order, given, _, _ = socket.recv_fds(control, MESSAGE_SIZE_MAX, STREAMS + 1)
        if not order:
            return False
        if _copy(order, given):
            return True


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tests are told, and end this
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _load()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a process with threads cannot be copied"
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        if not _serve(control):
            return
    from numcheck.cli import main  # noqa: PLC0415

    main()


if __name__ == "__main__":
    _main()
