"""The database: its transactions, and what is true of them whatever the engine.

Invariants: a writing transaction is committed whole, and durable, before its block ends, or has left nothing; one
changes the installation at a time; a reading one sees one revision; the schema is the one that this numcheck knows.
After an I/O error of a writing transaction (R2: a failed fsync is never retried) nothing more is written until the node
is started anew, which replays what the log holds: what was refused then may be there all the same. A full disk and a
lack of descriptors undo the transaction and stop nothing; nor does whatever a reading one meets.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from numcheck import spans
from numcheck.errors import StoreDamaged, StoreUnavailable
from numcheck.privacy import make_private
from numcheck.store.bulk import fetch, run
from numcheck.store.engine import (
    SQLITE_SAFE_VERSION,
    forget_warnings,
    has_warned,
    postgresql_engine,
    sqlite_engine,
    wait_for_standbys,
)
from numcheck.store.failures import is_write_failure, store_error
from numcheck.store.marks import OpenedFile, check_together
from numcheck.store.migrations import bring_up_to_date
from numcheck.store.patience import COMMIT_WAIT_S, LOOK_EVERY_S
from numcheck.store.schema import installation
from numcheck.store.shared_file import SharedFile
from numcheck.store.troubles import Troubles

UNCONFIRMED = "committed here, and the standbys have not confirmed it: it may be lost yet"
STOPPED = "the store is not written any more: a write failed; start the node anew"

# PostgreSQL: let go of what the transaction has locked before its commit is on a disk.
LEAVE_AT_ONCE = "SET LOCAL synchronous_commit = off"
MARK = "INSERT INTO commit_marks (mark) VALUES (?)"
# Writes, so that their commits are waited for; and the newest event that was committed before them.
SETTLE_MARK = "DELETE FROM commit_marks WHERE mark = ? RETURNING (SELECT sequence FROM event_head)"
SETTLE = "SELECT (SELECT sequence FROM event_head) FROM pg_logical_emit_message(true, 'numcheck', '')"


class Database:
    """Transactions may be asked for by any thread."""

    def __init__(
        self, file: Path, *, url: str | None, read_only: bool, make: bool = True, troubles: Troubles | None = None
    ) -> None:
        """Open the database of a URL, or in the file if there is none, making its tables if need be and `make`.

        Raises StoreTooNew, StoreDamaged, StoreUnavailable or BadConfiguration.
        """
        self.shared, self._troubles = url is not None, troubles or Troubles(logging=False)
        self._writer: Engine | None = None
        self._turn, self._read_turn = threading.RLock(), threading.RLock()
        self._pinned: Connection | None = None
        self._stopped, self._settled = False, 0
        self._opened: OpenedFile | None = None
        self._file: SharedFile | None = None
        self._unconfirmed = False
        self.on_server: Callable[[Any], None] = lambda _connection: None
        self.timeline = ""
        """The timeline of the PostgreSQL that was met last: a promotion begins another, whose name is greater."""
        if url is not None:
            self._reader = postgresql_engine(url, self._meet)
            self._writer = None if read_only else self._reader
        else:
            check_together(file)
            if make and not read_only and not file.exists():
                make_private(file)
            self._file = SharedFile(file)
            self._writer = None if read_only else sqlite_engine(file, read_only=False)
            self._reader = sqlite_engine(file, read_only=True)
        driver: Any = self._reader.dialect.dbapi
        self._driver_error: type[Exception] = driver.Error  # where it is asked without SQLAlchemy: see bulk.py
        try:
            with self.reading() if read_only else self.writing() as connection:
                bring_up_to_date(connection, make=make and not read_only)
            self._opened = None if self.shared else OpenedFile(file, writes=not read_only)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; what was acknowledged is on disk already.

        SQLite's last connection, if it may write, copies the log into the file and removes it: not where these are
        somebody else's by now.
        """
        engines = [self._reader, *filter(None, [self._writer])]
        for engine in engines if self._opened is None or self._opened.is_whole() else reversed(engines):
            engine.dispose()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _meet(self, connection: Any, timeline: str | None) -> None:
        """Note which server answers now; a standby has no timeline of its own.

        Of two standbys that were promoted one after the other, each may have called its timeline the same.
        """
        self._settled = 0
        self.timeline = self.timeline if timeline is None else timeline
        self.on_server(connection)

    def check_files(self) -> None:
        """Raise HistoryLost, now and ever after, if the files of the store are not those that were opened."""
        if self._opened is not None:
            self._opened.check(thoroughly=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a transaction that sees one revision and changes nothing."""
        if self._pinned is not None:
            yield self._pinned
            return
        with self._in_our_words():
            if self.shared:
                options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
                with self._reader.connect().execution_options(**options) as connection, connection.begin():
                    yield connection
            else:
                self._check_file()
                with self._read_turn, self._reader.begin() as connection:
                    yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a transaction: committed, durable, when the block ends; rolled back if it raises."""
        with self._own_turn(), self._in_our_words(writing=True), self._committing() as connection:
            yield connection

    @contextmanager
    def settling(self) -> Iterator[Connection]:
        """Yield a transaction as `writing` does; of a shared database it holds up no other while it becomes durable.

        Others see it, and go on behind it, before it is. The log has no gaps, neither on a disk nor on a standby: what
        is durable rests on nothing that is not. By its mark it is found again, so that nobody takes another server, or
        one that has crashed meanwhile, for the one that had it.
        """
        if not self.shared:
            with self.writing() as connection:
                yield connection
            return
        mark = uuid4().bytes
        with self._own_turn(), self._in_our_words(writing=True), self._committing(waits=False) as connection:
            run(connection, MARK, mark)
            yield connection
        self.settle(mark)

    def settle(self, mark: bytes | None = None) -> None:
        """Wait until all that is committed by now, by whomever, is durable; StoreUnavailable if the transaction of a
        mark is not among it."""
        if not self.shared or self._writer is None:
            return
        with self._in_our_words(writing=True), self._committing() as connection:
            found = fetch(connection, SETTLE) if mark is None else fetch(connection, SETTLE_MARK, mark)
            if not found:
                raise StoreUnavailable("the database went away before a change was durable, and does not have it")
        self._settled = max(self._settled, found[0][0] or 0)

    def settle_up_to(self, sequence: int) -> None:
        """Wait until the events up to this one are durable; whoever only reads cannot, and does not."""
        if sequence > self._settled and self.shared and self._writer is not None:
            self.settle()
            if sequence > self._settled:
                raise StoreUnavailable("the database went away before what it told of was durable")

    @contextmanager
    def _committing(self, *, waits: bool = True) -> Iterator[Connection]:
        """Yield a transaction, whose commit waits for the disk and the standbys, or does not."""
        if self._stopped or self._writer is None:
            raise StoreUnavailable(STOPPED)
        self._check_file()
        with self._writer.connect() as connection:
            with connection.begin():
                if not waits:
                    connection.exec_driver_sql(LEAVE_AT_ONCE)
                yield connection
                if waits:
                    wait_for_standbys(connection)
                forget_warnings(connection)
            if waits:
                self._unconfirmed = has_warned(connection)
                if self._unconfirmed:
                    raise self._troubles.met(StoreUnavailable(UNCONFIRMED), writing=True)

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        """Take turns with other threads; no longer than for a COMMIT, while standbys confirm none."""
        began = time.monotonic()
        while not self._turn.acquire(timeout=LOOK_EVERY_S):
            if self._unconfirmed and time.monotonic() - began > COMMIT_WAIT_S:
                raise self._troubles.met(StoreUnavailable("the standbys confirm nothing"), writing=True)
        try:
            yield
        finally:
            self._turn.release()

    def _check_file(self) -> None:
        if self._opened is not None:
            self._opened.check()

    @contextmanager
    def _in_our_words(self, *, writing: bool = False) -> Iterator[None]:
        began = time.monotonic()
        try:
            with spans.part("store") as tell:
                tell(use="write" if writing else "read")
                yield
        except (DBAPIError, self._driver_error) as error:
            self._stopped = self._stopped or (writing and is_write_failure(error))
            raise self._troubles.met(store_error(error), writing=writing) from None
        except PoolTimeoutError:
            busy = StoreUnavailable("every connection of this node to the database is in use")
            raise self._troubles.met(busy, writing=writing) from None
        except UnicodeDecodeError:  # the driver's, from a damaged schema or from its own message about one
            raise StoreDamaged("the store cannot be read: there is text in it that is none") from None
        else:
            self._troubles.passed(writing=writing)
        finally:
            self._troubles.took(time.monotonic() - began, writing=writing)

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Everything read inside is of one revision, whatever is committed meanwhile over another connection.

        For a database that no other thread reads from.
        """
        with self.reading() as connection:
            self._pinned = connection
            try:
                yield
            finally:
                self._pinned = None

    @property
    def is_standby(self) -> bool:
        """True if the database follows another one: what it lacks may be on its way."""
        if not self.shared:
            return False
        with self.reading() as connection:
            return bool(connection.scalar(text("SELECT pg_is_in_recovery()")))

    @property
    def replayed_at(self) -> datetime | None:
        """Moment at which the last transaction that a standby has was committed, or it was started; None of others."""
        if not self.is_standby:
            return None
        with self.reading() as connection:
            statement = "SELECT COALESCE(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())"
            at: datetime = connection.scalar(text(statement))
        return at

    @property
    def engine_name(self) -> str:
        """The engine underneath and its version."""
        if not self.shared:
            return f"SQLite {sqlite3.sqlite_version}"
        with self.reading() as connection:
            version = connection.scalar(text("SHOW server_version"))
        return f"PostgreSQL {str(version).split()[0]}"

    @property
    def warning(self) -> str | None:
        """A warning about this engine for the person who runs it, or None."""
        if self.shared or sqlite3.sqlite_version_info >= SQLITE_SAFE_VERSION:
            return None
        return (
            f"SQLite {sqlite3.sqlite_version} can damage a database that two connections write to at once (mended in "
            f"{'.'.join(map(str, SQLITE_SAFE_VERSION))}): let nothing but numcheck write to it"
        )


def take_turn(connection: Connection) -> None:
    """Let no other transaction, of any node, change anything until this one ends: what it reads now stays the head."""
    connection.execute(select(installation.c.revision).with_for_update())
