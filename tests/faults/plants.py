"""Bugs to plant in a node: each replaces one right step by a wrong one that a campaign has to catch.

They are planted under numcheck, where it meets the database's driver and the operating system, so that they stay
planted however the code above them changes. Those of the database are SQLite's own, but for the one that both have.
What an armed node does is in `points.py`.
"""

import asyncio
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg

from tests.faults.points import POINTS, stand_still

LATE_S = 0.03  # between the right moment of a step and the planted one
LATE_CODE_S = 0.1
WRITES = ("INSERT", "UPDATE", "DELETE")
RAISES_REVISION = "UPDATE installation SET revision"
# What a transaction says that a client waits for; nodes write for themselves too, and nobody is answered then.
AWAITED = (RAISES_REVISION, "INSERT INTO registrations", "INSERT INTO events")
COUNTS_TRY = "INSERT INTO code_tries"


class _Cursor(sqlite3.Cursor):
    """Tells its connection of every statement, after it."""

    def execute(self, statement: str, *rest: Any) -> "_Cursor":
        super().execute(statement, *rest)
        self.connection.executed(statement, *rest)
        return self

    def executemany(self, statement: str, *rest: Any) -> "_Cursor":
        super().executemany(statement, *rest)
        self.connection.executed(statement, *rest)
        return self


class _InTransaction(sqlite3.Cursor):
    """Begins no transaction, as there is one."""

    def execute(self, statement: str, *rest: Any) -> "_InTransaction":
        if not statement.startswith("BEGIN"):
            super().execute(statement, *rest)
        return self


class _Connection(sqlite3.Connection):
    """A connection that a plant changes; as it stands it does what it should."""

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(_Cursor)

    def execute(self, statement: str, *rest: Any) -> Any:
        return self.cursor().execute(statement, *rest)  # sqlite3's own takes no cursor of ours

    def executed(self, statement: str, parameters: Any = ()) -> None:
        """Called after each statement of a cursor."""


def _plant(connection_class: type[sqlite3.Connection]) -> None:
    right = sqlite3.connect

    def connect(*arguments: Any, **rest: Any) -> sqlite3.Connection:
        return right(*arguments, **{**rest, "factory": connection_class})

    sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]


class _Late(_Connection):
    """Does a part of each commit that wrote something late: after a while, or before the next transaction.

    Armed, it does so once, and never comes to that part.
    """

    def __init__(self, *arguments: Any, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self.turn = threading.RLock()
        self.due = self.wrote = self.awaited = self.stopped = False

    def cursor(self, factory: Any = None) -> Any:
        if self.stopped:
            stand_still()
        with self.turn:
            if not self.in_transaction or self.due:
                self.catch_up()
        return super().cursor()

    def executed(self, statement: str, parameters: Any = ()) -> None:
        self.wrote = self.wrote or statement.startswith(WRITES)
        self.awaited = self.awaited or statement.startswith(AWAITED)

    def commit(self) -> None:
        with self.turn:
            if not self.wrote:
                super().commit()
                return
            self.wrote = False
            self.begin_commit()
            self.due = True
            self._put_off()

    def _put_off(self) -> None:
        awaited, self.awaited = self.awaited, False
        if not POINTS.armed:
            timer = threading.Timer(LATE_S, self.catch_up)
            timer.daemon = True
            timer.start()
        elif awaited and POINTS.comes():
            self.stopped = True
            POINTS.tell()
        else:
            self.catch_up()

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
    """Armed, everything behind the fault point goes on in the transaction that is never committed: the one thread that
    writes has to come to the answers of those who were in it."""

    def cursor(self, factory: Any = None) -> Any:
        return sqlite3.Connection.cursor(self, _InTransaction) if self.stopped else super().cursor(factory)

    def commit(self) -> None:
        if not self.stopped:
            super().commit()

    def rollback(self) -> None:
        if not self.stopped:
            super().rollback()

    def end_commit(self) -> None:
        sqlite3.Connection.commit(self)


class _LateCounter(_Late):
    raised = False

    def executed(self, statement: str, parameters: Any = ()) -> None:
        super().executed(statement, parameters)
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
    def executed(self, statement: str, parameters: Any = ()) -> None:
        if not (statement.startswith(WRITES) and self.in_transaction) or (POINTS.armed and not POINTS.comes()):
            return
        super().commit()
        if POINTS.armed:
            POINTS.tell()
            stand_still()
        time.sleep(LATE_S / 6)
        super().execute("BEGIN IMMEDIATE")


class _LateTries(_Connection):
    """Answers as if a try was counted that is to be counted later: when that would be, the node is no more."""

    tried = False

    def executed(self, statement: str, parameters: Any = ()) -> None:
        self.tried = self.tried or statement.startswith(COUNTS_TRY)

    def commit(self) -> None:
        tried, self.tried = self.tried, False
        if not tried or (POINTS.armed and not POINTS.comes()):
            super().commit()
            return
        super().rollback()
        if POINTS.armed:
            POINTS.tell()


class _CodeFirst(_Connection):
    """Commits what counts a code only once the code was sent; armed, never."""

    def __init__(self, *arguments: Any, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self.turn, self.sends, self.due = threading.RLock(), False, False
        right = httpx.AsyncClient.send

        async def send(client: httpx.AsyncClient, *sent: Any, **fields: Any) -> httpx.Response:
            response = await right(client, *sent, **fields)
            if not POINTS.armed:
                await asyncio.sleep(LATE_CODE_S)
                await asyncio.to_thread(self.catch_up)
            elif self.due:
                POINTS.tell()
            return response

        if "mode=rwc" in str(arguments[0]):
            httpx.AsyncClient.send = send  # type: ignore[method-assign]

    def cursor(self, factory: Any = None) -> Any:
        if self.due and POINTS.armed:
            stand_still()
        if self.due:
            self.catch_up()
        return super().cursor()

    def executed(self, statement: str, parameters: Any = ()) -> None:
        self.sends = self.sends or statement.startswith("INSERT INTO code_sends")

    def commit(self) -> None:
        with self.turn:
            sends, self.sends = self.sends, False
            if sends and (not POINTS.armed or POINTS.comes()):
                self.due = True
            else:
                super().commit()

    def rollback(self) -> None:
        if not self.due:  # SQLAlchemy rolls back what is committed, to be sure
            super().rollback()

    def catch_up(self) -> None:
        with self.turn:
            if self.due:
                self.due = False
                super().commit()


class _NoSync(_Connection):
    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        if statement.startswith("PRAGMA synchronous"):
            statement = "PRAGMA synchronous = OFF"
        return super().execute(statement, *rest)


def _no_sync() -> None:
    _plant(_NoSync)
    right = psycopg.Connection.commit

    def commit(connection: "psycopg.Connection[Any]") -> None:
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
            connection.execute("SET LOCAL synchronous_commit = off")
        right(connection)

    psycopg.Connection.commit = commit  # type: ignore[method-assign]


def _is_manifest(target: Any) -> bool:
    path = Path(os.fspath(target))
    return path.parent.name == "index" and "manifest" in path.name


def _is_of_index(descriptor: int) -> bool:
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    return "index" in (path.name, path.parent.name)


def _no_sync_of(is_kind: Callable[[int], bool]) -> None:
    """Leave out what synchronises an index's files or their directory.

    Armed, it stands still once a manifest has its name and the directory is, or should be, synchronised."""
    right, right_replace = os.fsync, os.replace
    published = threading.local()

    def replace(source: Any, target: Any, **rest: Any) -> None:
        right_replace(source, target, **rest)
        published.manifest = _is_manifest(target)

    def fsync(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        if not (is_kind(mode) and _is_of_index(descriptor)):
            right(descriptor)
        if stat.S_ISDIR(mode) and getattr(published, "manifest", False) and POINTS.armed and POINTS.comes():
            POINTS.tell()
            stand_still()

    os.fsync, os.replace = fsync, replace  # type: ignore[assignment]


def _manifest_first() -> None:
    right = os.replace
    postponed: list[tuple[str, str]] = []

    def catch_up() -> None:
        while postponed:
            right(*postponed.pop(0))

    def replace(source: Any, target: Any, **rest: Any) -> None:
        if Path(os.fspath(target)).parent.name != "index":
            right(source, target, **rest)
        elif not _is_manifest(target):
            postponed.append((os.fspath(source), os.fspath(target)))
        elif POINTS.armed and not (postponed and POINTS.comes()):
            catch_up()
            right(source, target, **rest)
        else:
            right(source, target, **rest)
            if POINTS.armed:
                POINTS.tell()
                stand_still()
            time.sleep(LATE_S)
            catch_up()

    os.replace = replace  # type: ignore[assignment]


class Plant(NamedTuple):
    """A bug, and when an armed node with it has to be killed."""

    plant: Callable[[], object]
    stops: bool = True  # the node says that it has come to its fault point, and stands still there
    answered: bool = False  # the harm is done only once somebody was answered that it is well


RIGHT = Plant(lambda: None, stops=False)
PLANTS = {
    # The answer goes out before the transaction is committed.
    "acknowledge-before-commit": Plant(lambda: _plant(_LateCommit), answered=True),
    # The transaction is committed, and nobody waits for the disk.
    "acknowledge-before-fsync": Plant(_no_sync, stops=False, answered=True),
    # The revision is raised in a transaction of its own, after the one that it counts.
    "counter-after-the-answer": Plant(lambda: _plant(_LateCounter), answered=True),
    # A try at a code is counted after its answer.
    "try-counted-after-the-answer": Plant(lambda: _plant(_LateTries), answered=True),
    # A code is sent before what counts it is committed.
    "code-sent-before-its-commit": Plant(lambda: _plant(_CodeFirst)),
    # A push is more than one transaction.
    "torn-transaction": Plant(lambda: _plant(_TornTransaction)),
    # Files of the index are renamed, and the directory is not synchronised.
    "rename-without-directory-sync": Plant(lambda: _no_sync_of(stat.S_ISDIR)),
    # Files of the index are renamed, and their bytes are not synchronised.
    "rename-without-file-sync": Plant(lambda: _no_sync_of(stat.S_ISREG)),
    # The manifest names files that do not have their names yet.
    "manifest-before-its-files": Plant(_manifest_first),
}
OF_CODES = ("try-counted-after-the-answer", "code-sent-before-its-commit")
NEEDS_POWER_LOSS = ("acknowledge-before-fsync", "rename-without-directory-sync", "rename-without-file-sync")
