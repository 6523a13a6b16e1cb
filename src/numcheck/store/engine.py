"""The engine underneath: SQLite in a file, one writing connection in one process.

On disk after a crash: SQLite's write-ahead log is synchronised at every commit (synchronous=FULL), so a commit that
returned is there and one that did not is absent, whole.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, StaticPool, create_engine, event


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
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
