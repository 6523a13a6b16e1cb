"""The database: its transactions, and what is true of them whatever the engine.

Invariants: a writing transaction is committed whole, and durable unless it is to be settled, before its block ends, or
has left nothing; one
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
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from numcheck.errors import StoreDamaged, StoreUnavailable
from numcheck.privacy import make_private
from numcheck.store.engine import (
    SQLITE_SAFE_VERSION,
    forget_warnings,
    has_warned,
    postgresql_engine,
    sqlite_engine,
)
from numcheck.store.failures import is_write_failure, store_error
from numcheck.store.marks import OpenedFile, check_together
from numcheck.store.migrations import bring_up_to_date
from numcheck.store.schema import installation
from numcheck.store.shared_file import SharedFile
from numcheck.store.troubles import Troubles

STOPPED = "the store is not written any more: a write failed; start the node anew"

# PostgreSQL: let go of what the transaction has locked before its commit is on a disk.
LEAVE_AT_ONCE = "SET LOCAL synchronous_commit = off"
# A commit that writes something, so that it is waited for; and the newest event that was committed before it.
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
        self.on_connect: Callable[[], None] = lambda: None
        if url is not None:
            self._reader = postgresql_engine(url)
            event.listen(self._reader, "connect", lambda *_: self.on_connect())
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
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """Yield a transaction: committed, durable, when the block ends; rolled back if it raises.

        Of a shared database that is not `durable`, others see it at once, and `settle` waits until it is.
        """
        if self._stopped or self._writer is None:
            raise StoreUnavailable(STOPPED)
        self._check_file()
        with self._turn, self._in_our_words(writing=True), self._committing(self._writer) as connection:
            if self.shared and not durable:
                connection.exec_driver_sql(LEAVE_AT_ONCE)
            yield connection

    @contextmanager
    def _committing(self, writer: Engine) -> Iterator[Connection]:
        with writer.connect() as connection:
            with connection.begin():
                yield connection
                forget_warnings(connection)
            if has_warned(connection):
                unconfirmed = "committed here, and the standbys have not confirmed it: it may be lost yet"
                raise self._troubles.met(StoreUnavailable(unconfirmed), writing=True)

    def settle(self) -> None:
        """Wait until all is durable that is committed by now, by whomever.

        The commit that is waited for comes behind all of it in the log, which a disk and a standby have without gaps:
        once they have the commit, they have what is before it. For the same reason nothing that is durable rests on
        anything that is not.
        """
        if self.shared and self._writer is not None:
            with self._in_our_words(writing=True), self._committing(self._writer) as connection:
                sequence = connection.exec_driver_sql(SETTLE).scalar_one()
            self._settled = max(self._settled, sequence or 0)

    def settle_up_to(self, sequence: int) -> None:
        """Wait until the events up to this one are durable; whoever only reads cannot, and does not."""
        if sequence > self._settled:
            self.settle()

    def _check_file(self) -> None:
        if self._opened is not None:
            self._opened.check()

    @contextmanager
    def _in_our_words(self, *, writing: bool = False) -> Iterator[None]:
        began = time.monotonic()
        try:
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
