"""The engines underneath, and what their errors mean.

SQLite in a file: one writing connection in one process, and one that reads beside it. On disk after a crash: its
write-ahead log is synchronised at every commit (synchronous=FULL), so a commit that returned is there and one that did
not is absent, whole. PostgreSQL: any number of nodes share it, each with a few connections.
"""

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from numcheck.errors import BadConfiguration, NumcheckError, StoreDamaged, StoreUnavailable

SQLITE_SAFE_VERSION = (3, 51, 3)  # before it two writing connections can corrupt a WAL database; here there is one
BUSY_TIMEOUT_MS = 10_000
POOL_SIZE = 5
CONNECT_TIMEOUT_S = 5
SILENCE_MAX_S = 30  # of a server that is connected: then its network or its machine is gone
STATEMENT_TIMEOUT_S = 300  # long enough to wait for another node's largest push, and to read 100 million numbers
MIGRATING = 7_146_353_220  # any number: the advisory lock of who changes the schema
# Primary result codes (sqlite.org/rescode.html) of what may pass by itself or can be mended outside: no memory, busy,
# locked, I/O error, disk full, cannot open, read-only.
SQLITE_PASSING = {5, 6, 7, 8, 10, 13, 14}
SQLITE_IOERR = 10


def sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    """One connection to the file, shared by all threads that take turns with it.

    Transactions begin IMMEDIATE: a deferred one that reads and then writes fails at once whatever the busy timeout.
    """
    mode = "ro" if read_only else "rwc"
    url = URL.create("sqlite", database=f"file:{quote(str(path))}?mode={mode}", query={"uri": "true"})
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def postgresql_engine(url: str) -> Engine:
    """A few connections to a PostgreSQL database; one that the server has closed meanwhile is replaced.

    BadConfiguration, without the URL, which may hold a password, if it is none or the driver is not installed.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "postgresql":
            raise BadConfiguration("database_url: only postgresql://... is known; without it the store is a file")
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=POOL_SIZE,
            pool_pre_ping=True,
            connect_args=_CONNECTION,
        )
    except (ArgumentError, ValueError):
        raise BadConfiguration("database_url: not a URL such as postgresql://user@host/numcheck") from None
    except (ImportError, NoSuchModuleError):
        raise BadConfiguration("database_url: the driver is missing: pip install 'numcheck[postgresql]'") from None
    event.listen(engine, "connect", _configure_postgresql)
    return engine


_CONNECTION = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": SILENCE_MAX_S // 3,
    "keepalives_interval": SILENCE_MAX_S // 3,
    "keepalives_count": 2,
    "tcp_user_timeout": 1_000 * SILENCE_MAX_S,  # keepalives do not see that what was sent is not acknowledged
}


def _configure_postgresql(connection: Any, _record: Any) -> None:
    """Acknowledged means durable, whatever the server's default; who waits, or makes others wait, does not for ever.

    `synchronous_commit` is only raised: an installation may ask its standbys for more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SET {name} = '{STATEMENT_TIMEOUT_S}s'")
    connection.commit()


def wait_for_migrations(connection: Connection) -> None:
    """Let one transaction at a time, of any node, change the schema. SQLite's writers take turns anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))


def is_write_failure(error: DBAPIError) -> bool:
    """Whether SQLite met an I/O error: it cannot know then what is on the disk, and its connection must not go on.

    A full disk is none, nor a file that cannot be opened: the transaction is undone, and the next may succeed.
    """
    return isinstance(error.orig, sqlite3.Error) and _sqlite_code(error.orig) == SQLITE_IOERR


def store_error(error: DBAPIError) -> NumcheckError:
    """What a database error is to whoever asked; never its statement or its values."""
    if isinstance(error.orig, sqlite3.Error):
        words = f"the store cannot be read or written: {error.orig}"
        return StoreUnavailable(words) if _sqlite_code(error.orig) in SQLITE_PASSING else StoreDamaged(words)
    if error.connection_invalidated or _is_operational(error):
        return StoreUnavailable("the database does not answer")
    return StoreDamaged(f"the store cannot be read or written: {type(error.orig).__name__}")


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_operational(error: DBAPIError) -> bool:
    """Whether it is about the server or the connection, not about what was asked (PEP 249)."""
    return type(error).__name__ in ("OperationalError", "InterfaceError")
