"""The engines underneath.

SQLite in a file: one writing connection in one process, and one that reads beside it. On disk after a crash: its
write-ahead log is synchronised at every commit (synchronous=FULL), so a commit that returned is there and one that did
not is absent, whole. PostgreSQL: any number of nodes share it, each with a few connections.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, func, select
from sqlalchemy.exc import NoSuchModuleError

from numcheck.errors import BadConfiguration
from numcheck.store.bulk import driver_of
from numcheck.store.marks import write_words
from numcheck.store.patience import ANSWER_WAIT_S, Patience, break_off

SQLITE_SAFE_VERSION = (3, 51, 3)  # before it two writing connections can corrupt a WAL database; here there is one
WRITER_CACHE_KIB = 65_536  # of the pages that rows with random tags go to: SQLite's own 2 MiB hold those of 100,000
BUSY_TIMEOUT_MS = 10_000
POOL_SIZE = 5
CONNECT_TIMEOUT_S = 5
SILENCE_MAX_S = 30  # of a server that is connected: then its network or its machine is gone
TAKES_NO_CHANGES = "25006"  # read_only_sql_transaction: of a primary that has become a standby
STATEMENT_TIMEOUT_S = 300  # long enough to wait for another node's largest push, and to read 100 million numbers
MIGRATING = 7_146_353_220  # any number: the advisory lock of who changes the schema


def sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    """One connection to the file, shared by all threads that take turns with it.

    Transactions begin IMMEDIATE: a deferred one that reads and then writes fails at once whatever the busy timeout.
    """
    mode = "rwc" if not read_only else "ro&immutable=1" if _cannot_change(path) else "ro"
    url = URL.create("sqlite", database=f"file:{quote(str(path))}?mode={mode}", query={"uri": "true"})
    # One that reads has nothing to reset when it is given back; a COMMIT that failed may have left a transaction open.
    reset = None if read_only else "rollback"
    engine = create_engine(
        url, poolclass=StaticPool, pool_reset_on_return=reset, connect_args={"check_same_thread": False}
    )
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        driver = driver_of(connection)
        driver.execute(begin)
        connection.info[CHANGES] = driver.total_changes

    @event.listens_for(engine, "commit")
    def commit_transaction(connection: Connection) -> None:
        if connection.info[CHANGES] != driver_of(connection).total_changes:
            write_words(connection)

    return engine


def _cannot_change(path: Path) -> bool:
    """Return True if the file lies where this process makes no files, as on a medium that is read-only, and has no
    log: SQLite makes files even to read, unless it is told that nothing changes."""
    return not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()


CHANGES = "changes"


def postgresql_engine(url: str, on_server: Callable[[Any, str | None], None]) -> Engine:
    """Return a few connections to a PostgreSQL database; one that the server has closed meanwhile is replaced.

    `on_server` is called with each of the driver's connections, and its server's timeline, before anything else is
    asked over it: its server may be another one. Behind a pooler it is called again when the timeline is another.

    The URL is libpq's and may name several hosts. BadConfiguration, without the URL, which may hold a password, if it
    is none or the driver is not installed.
    """
    try:
        engine = create_engine("postgresql+psycopg://", pool_size=POOL_SIZE, pool_pre_ping=True)
    except (ImportError, NoSuchModuleError):
        raise BadConfiguration("database_url: the driver is missing: pip install 'numcheck[postgresql]'") from None

    psycopg: Any = engine.dialect.dbapi
    where = _where(url, psycopg)
    kind = _patient_connection(psycopg, Patience(lambda: _answers(psycopg, where)))

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> Any:
        return kind.connect(**{**options, **where})

    @event.listens_for(engine, "handle_error")
    def leave_standby(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", None) == TAKES_NO_CHANGES:
            context.is_disconnect = True  # every connection is made anew: another host may be the primary now

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        _configure_postgresql(connection, record)
        on_server(connection, record.info[TIMELINE])
        connection.commit()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.info.get(POOLED):
            timeline = connection.exec_driver_sql(SETTINGS, (True, True, True)).scalar()
            if connection.info.get(TIMELINE) != timeline:
                connection.info[TIMELINE] = timeline
                on_server(connection.connection.driver_connection, timeline)

    return engine


def _where(url: str, psycopg: Any) -> dict[str, Any]:
    """Return what libpq makes of a URL; of several hosts the one that takes changes is meant, unless it says other."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise BadConfiguration("database_url: only postgresql://... is known; without it the store is a file")
    try:
        parsed = psycopg.conninfo.conninfo_to_dict(url)
        ports = [int(port) for port in str(parsed.get("port", "")).split(",") if port]
    except (psycopg.ProgrammingError, ValueError):
        ports = [0]
    if not all(0 < port < 65_536 for port in ports):
        raise BadConfiguration("database_url: not a URL such as postgresql://user@host/numcheck")
    several = "," in str(parsed.get("host", parsed.get("hostaddr", "")))
    return {**({"target_session_attrs": "read-write"} if several else {}), **_CONNECTION, **parsed}


_CONNECTION = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": SILENCE_MAX_S // 3,
    "keepalives_interval": SILENCE_MAX_S // 3,
    "keepalives_count": 2,
    "tcp_user_timeout": 1_000 * SILENCE_MAX_S,  # keepalives do not see that what was sent is not acknowledged
}


def _patient_connection(psycopg: Any, patience: Patience) -> Any:
    """Return the driver's kind of connection, whose waits `patience` looks after."""

    class PatientConnection(psycopg.Connection):  # type: ignore[misc]  # the driver is an extra
        _commits = False

        def wait(self, *args: Any, **kwargs: Any) -> Any:
            with patience.waiting(self, commits=self._commits):
                return super().wait(*args, **kwargs)

        def commit(self) -> None:
            self._commits = True
            try:
                super().commit()
            finally:
                self._commits = False

    return PatientConnection


def _answers(psycopg: Any, where: dict[str, Any]) -> bool:
    """Return True if a server answers, asked over a connection of its own: each host has ANSWER_WAIT_S to do so."""
    began = time.monotonic()
    try:
        with psycopg.connect(**{**where, "connect_timeout": int(ANSWER_WAIT_S)}, autocommit=True) as connection:
            timer = threading.Timer(max(began + ANSWER_WAIT_S - time.monotonic(), 0), break_off, [connection])
            timer.start()
            try:
                connection.execute("SELECT 1")
            finally:
                timer.cancel()
    except psycopg.Error:
        return False
    return True


# Acknowledged means durable, whatever the server's default: `synchronous_commit` is only raised, as an installation may
# ask its standbys for more. And who waits, or makes others wait, does not for ever. %s: for this transaction alone.
# The first column is the server's timeline, which every promotion renews; a standby has none of its own.
SETTINGS = f"""
SELECT CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END,
       set_config('statement_timeout', '{STATEMENT_TIMEOUT_S}s', %s),
       set_config('idle_in_transaction_session_timeout', '{STATEMENT_TIMEOUT_S}s', %s),
       set_config('synchronous_commit', COALESCE(NULLIF(current_setting('synchronous_commit'), 'off'), 'on'), %s)
"""
POOLED, WARNINGS, TIMELINE = "pooled", "warnings", "timeline"  # what is known of a connection, in its `info`

# Standbys are waited for by who has written: so who has not, as it was all done before, writes something, in case what
# it has read is on no standby yet. By the log's order the standbys that have this have what was read.
WAIT_FOR_STANDBYS = """
SELECT pg_logical_emit_message(true, 'numcheck', '')
WHERE pg_current_xact_id_if_assigned() IS NULL AND current_setting('synchronous_standby_names') <> ''
"""


def _configure_postgresql(connection: Any, record: Any) -> None:
    """Give a connection its settings, and note what it warns of.

    Behind a pooler (its process is not the one that was connected to) another client's session may answer from one
    transaction to the next: then settings go with each transaction, and no statement is prepared for later.
    """
    record.info[WARNINGS] = severities = set()
    connection.add_notice_handler(lambda notice: severities.add(notice.severity_nonlocalized))
    process = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    record.info[POOLED] = process != connection.info.backend_pid
    if record.info[POOLED]:
        connection.prepare_threshold = None
    record.info[TIMELINE] = connection.execute(SETTINGS, (record.info[POOLED],) * 3).fetchone()[0]


def forget_warnings(connection: Connection) -> None:
    """Let `has_warned` speak of what comes from now on."""
    connection.info.get(WARNINGS, set()).clear()


def wait_for_standbys(connection: Connection) -> None:
    """Have the COMMIT wait for PostgreSQL's standbys, if there are any to wait for, whatever was written."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(WAIT_FOR_STANDBYS)


def has_warned(connection: Connection) -> bool:
    """Return True if PostgreSQL gave a warning: of a COMMIT, that it did not wait for the standbys to have it."""
    return "WARNING" in connection.info.get(WARNINGS, ())


def wait_for_migrations(connection: Connection) -> None:
    """Let one transaction at a time, of any node, change the schema. SQLite's writers take turns anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
