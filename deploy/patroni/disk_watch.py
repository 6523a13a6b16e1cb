#!/usr/bin/env python3
"""Ends a primary whose disk takes nothing any more, so that Patroni makes a standby the primary: docs/cluster.md.

PostgreSQL goes on with a disk that is full (it refuses each change that needs room), that hangs or that has become slow
(each waits), and Patroni renews the lease of a PostgreSQL that answers: so nobody else takes over. This runs beside
each Patroni, as PostgreSQL's user. Where that leads, it writes and synchronises a megabyte each second in the
directories that PostgreSQL writes to. Once that failed TRIES times in a row, and a standby is there that could take
over, it has PostgreSQL end at once, as in a crash.

Python's own library is all that it needs.
"""

import argparse
import json
import logging
import os
import signal
import threading
import time
import urllib.request
from pathlib import Path

TRIES = 3
ASK_S = 2.0
ENDS_WITHIN_S = 5.0
SIZE = 1_000_000
# As PostgreSQL's own temporary files are called: copies of a data directory leave those out.
NAME = "pgsql_tmp_disk_watch"
HEIRS = ("quorum_standby", "sync_standby")

log = logging.getLogger("disk_watch")


class Disk:
    """A directory, and what became of the last attempt to write there."""

    def __init__(self, directory: Path, slow_s: float) -> None:
        """`slow_s`: how long an attempt may take."""
        self._file, self._slow_s = directory / NAME, slow_s
        self._attempt: threading.Thread | None = None
        self._error: OSError | None = None

    def fault(self) -> str:
        """Write, and return what is wrong, or nothing. An attempt that hangs is left, and none is begun beside it."""
        if self._attempt is None or not self._attempt.is_alive():
            self._error, self._attempt = None, threading.Thread(target=self._write, daemon=True)
            self._attempt.start()
        self._attempt.join(self._slow_s)
        if self._attempt.is_alive():
            return f"{self._file.parent}: nothing is written within {self._slow_s:g} s"
        return f"{self._file.parent}: {self._error.strerror}" if self._error else ""

    def _write(self) -> None:
        try:
            try:
                with self._file.open("wb", buffering=0) as file:
                    left = memoryview(os.urandom(SIZE))  # what a file system cannot make smaller
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
            finally:
                self._file.unlink(missing_ok=True)
        except OSError as error:
            self._error = error


def asked(url: str) -> dict[str, object] | None:
    """Return what a Patroni answers, or None for any other status than 200."""
    try:
        with urllib.request.urlopen(url, timeout=ASK_S) as answer:
            return dict(json.load(answer))
    except (OSError, ValueError):
        return None


def has_heir(patroni: str) -> bool:
    """Return True if a standby follows that commits wait for."""
    members = (asked(f"{patroni}/cluster") or {}).get("members", [])
    return any(one.get("role") in HEIRS and one.get("state") == "streaming" for one in members)


def end(data: Path) -> None:
    """Have the PostgreSQL of a data directory end at once; SIGKILL if it does not."""
    try:
        pid = int((data / "postmaster.pid").read_text().split(maxsplit=1)[0])
        for number in (signal.SIGQUIT, signal.SIGKILL):
            deadline = time.monotonic() + ENDS_WITHIN_S
            if Path(f"/proc/{pid}/cwd").samefile(data):
                os.kill(pid, number)
            while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
                time.sleep(0.1)
    except (OSError, ValueError, IndexError) as error:
        log.info("PostgreSQL has ended: %s", error)


def watch(patroni: str, data: Path, disks: list[Disk], every_s: float) -> None:
    """Look for ever."""
    failures = 0
    while True:
        leads = asked(f"{patroni}/primary") is not None
        faults = [fault for disk in disks if (fault := disk.fault())] if leads else []
        failures = failures + 1 if faults else 0
        if faults:
            log.warning("%s (%d)", "; ".join(faults), failures)
        if failures >= TRIES:
            if has_heir(patroni):
                log.error("PostgreSQL is ended, and a standby takes over")
                end(data)
                failures = 0
            else:
                log.error("no standby could take over")
        time.sleep(every_s)


def main() -> None:
    """Watch what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patroni", default="http://127.0.0.1:8008", help="where the Patroni beside this answers")
    parser.add_argument("--data", type=Path, required=True, help="PostgreSQL's data directory")
    parser.add_argument("--also", type=Path, action="append", default=[], help="a directory on another disk: pg_wal")
    parser.add_argument("--slow", type=float, default=2.0, help="seconds that a megabyte may take to be on the disk")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    disks = [Disk(one, options.slow) for one in (options.data, *options.also)]
    watch(options.patroni, options.data, disks, options.every)


if __name__ == "__main__":
    main()
