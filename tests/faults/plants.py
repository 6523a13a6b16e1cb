"""Bugs to plant in a node: each replaces one right step by a wrong one that a campaign has to catch.

They are planted under numcheck, where it meets the database's driver and the operating system, so that they stay
planted however the code above them changes. Those of the database are SQLite's own.
"""

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

LATE_S = 0.03  # between the right moment of a step and the planted one
WRITES = ("INSERT", "UPDATE", "DELETE")
RAISES_REVISION = "UPDATE installation SET revision"


class _Cursor(sqlite3.Cursor):
    """Tells its connection of every statement, after it."""

    def execute(self, statement: str, *rest: Any) -> "_Cursor":
        super().execute(statement, *rest)
        self.connection.executed(statement)
        return self

    def executemany(self, statement: str, *rest: Any) -> "_Cursor":
        super().executemany(statement, *rest)
        self.connection.executed(statement)
        return self


class _Connection(sqlite3.Connection):
    """A connection that a plant changes; as it stands it does what it should."""

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(_Cursor)

    def executed(self, statement: str) -> None:
        """Called after each statement of a cursor."""


def _plant(connection_class: type[sqlite3.Connection]) -> None:
    right = sqlite3.connect

    def connect(*arguments: Any, **rest: Any) -> sqlite3.Connection:
        return right(*arguments, **{**rest, "factory": connection_class})

    sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]


class _Late(_Connection):
    """Does a part of each commit that wrote something late: after a while, or before the next transaction."""

    def __init__(self, *arguments: Any, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self.turn, self.due, self.wrote = threading.RLock(), False, False

    def cursor(self, factory: Any = None) -> Any:
        with self.turn:
            if not self.in_transaction or self.due:
                self.catch_up()
        return super().cursor()

    def executed(self, statement: str) -> None:
        self.wrote = self.wrote or statement.startswith(WRITES)

    def commit(self) -> None:
        with self.turn:
            if not self.wrote:
                super().commit()
                return
            self.wrote = False
            self.begin_commit()
            self.due = True
            timer = threading.Timer(LATE_S, self.catch_up)
            timer.daemon = True
            timer.start()

    def catch_up(self) -> None:
        with self.turn:
            if self.due:
                self.due = False
                self.end_commit()

    def begin_commit(self) -> None:
        """What happens at the commit's right moment."""

    def end_commit(self) -> None:
        """What happens late."""


class _LateCommit(_Late):
    def end_commit(self) -> None:
        sqlite3.Connection.commit(self)


class _LateCounter(_Late):
    raised = False

    def executed(self, statement: str) -> None:
        super().executed(statement)
        self.raised = self.raised or statement.startswith(RAISES_REVISION)

    def _add(self, difference: int) -> None:
        sqlite3.Connection.execute(self, "UPDATE installation SET revision = revision + ?", (difference,))

    def begin_commit(self) -> None:
        if self.raised:
            self._add(-1)
        sqlite3.Connection.commit(self)

    def end_commit(self) -> None:
        if self.raised:
            self.raised = False
            sqlite3.Connection.execute(self, "BEGIN IMMEDIATE")
            self._add(1)
            sqlite3.Connection.commit(self)


class _TornTransaction(_Connection):
    def executed(self, statement: str) -> None:
        if statement.startswith(WRITES) and self.in_transaction:
            super().commit()
            time.sleep(LATE_S / 6)
            super().execute("BEGIN IMMEDIATE")


class _NoSync(_Connection):
    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        if statement.startswith("PRAGMA synchronous"):
            statement = "PRAGMA synchronous = OFF"
        return super().execute(statement, *rest)


def _no_sync_of(is_kind: Callable[[int], bool]) -> None:
    right = os.fsync

    def fsync(descriptor: int) -> None:
        if not is_kind(os.fstat(descriptor).st_mode):
            right(descriptor)

    os.fsync = fsync  # type: ignore[assignment]


def _manifest_first() -> None:
    right = os.replace
    postponed: list[tuple[str, str]] = []

    def replace(source: Any, target: Any, **rest: Any) -> None:
        if "manifest" not in os.fspath(target):
            postponed.append((os.fspath(source), os.fspath(target)))
            return
        right(source, target, **rest)
        time.sleep(LATE_S)
        while postponed:
            right(*postponed.pop(0))

    os.replace = replace  # type: ignore[assignment]


PLANTS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    # The answer goes out before the transaction is committed.
    "acknowledge-before-commit": lambda: _plant(_LateCommit),
    # The transaction is committed, and nobody waits for the disk.
    "acknowledge-before-fsync": lambda: _plant(_NoSync),
    # The revision is raised in a transaction of its own, after the one that it counts.
    "counter-after-the-answer": lambda: _plant(_LateCounter),
    # A push is more than one transaction.
    "torn-transaction": lambda: _plant(_TornTransaction),
    # Files are renamed, and the directory is not synchronised.
    "rename-without-directory-sync": lambda: _no_sync_of(stat.S_ISDIR),
    # Files are renamed, and their bytes are not synchronised.
    "rename-without-file-sync": lambda: _no_sync_of(stat.S_ISREG),
    # The manifest names files that do not have their names yet.
    "manifest-before-its-files": _manifest_first,
}
NEEDS_POWER_LOSS = ("acknowledge-before-fsync", "rename-without-directory-sync", "rename-without-file-sync")
