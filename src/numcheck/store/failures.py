"""Errors of the engines as ours: the one table, from SQLite's result codes and PostgreSQL's SQLSTATEs.

Only damage is damage: an error is StoreDamaged if the engine itself found that its files are not as it wrote them. An
error that may pass by itself, or is mended outside, is StoreUnavailable. All else is StoreFailed, for a person to look
at.
"""

import sqlite3
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

from numcheck.errors import NumcheckError, StoreDamaged, StoreFailed, StoreUnavailable

SQLITE_IOERR = 10
# Primary result codes, sqlite.org/rescode.html.
SQLITE: dict[int, type[NumcheckError]] = {
    3: StoreUnavailable,  # PERM
    4: StoreUnavailable,  # ABORT
    5: StoreUnavailable,  # BUSY
    6: StoreUnavailable,  # LOCKED
    7: StoreUnavailable,  # NOMEM
    8: StoreUnavailable,  # READONLY
    9: StoreUnavailable,  # INTERRUPT
    SQLITE_IOERR: StoreUnavailable,
    11: StoreDamaged,  # CORRUPT
    13: StoreUnavailable,  # FULL
    14: StoreUnavailable,  # CANTOPEN
    15: StoreUnavailable,  # PROTOCOL
    22: StoreUnavailable,  # NOLFS
    23: StoreUnavailable,  # AUTH
    26: StoreDamaged,  # NOTADB
}
NO_TEXT = "Could not decode to UTF-8"  # the driver's own words, without a code, for bytes where text was written

AWAY = "the database does not answer"
DAMAGED = "the database has found that its files are damaged"
POOLED = "a pooler in front of the database mixes the statements of its clients"
# By SQLSTATE, or by the class that its first two characters are, postgresql.org/docs/current/errcodes-appendix.html.
POSTGRESQL: dict[str, tuple[type[NumcheckError], str]] = {
    "08": (StoreUnavailable, "the connection to the database broke"),
    "0A000": (StoreUnavailable, "the database does not take changes as it is now: it may be a standby"),
    "25006": (StoreUnavailable, "the database takes no changes now: it is a standby, or is set to be only read"),
    "25P03": (StoreUnavailable, "the database ended a transaction that waited too long"),
    "25P04": (StoreUnavailable, "the database ended a transaction that took too long"),
    "26000": (StoreUnavailable, POOLED),
    "28": (StoreUnavailable, "the database does not let this node in"),
    "3D": (StoreUnavailable, "the server has no such database"),
    "40": (StoreUnavailable, "another transaction was in the way"),
    "42501": (StoreUnavailable, "the database does not let this node read or write its tables"),
    "42P05": (StoreUnavailable, POOLED),
    "53": (StoreUnavailable, "the database has run out of something"),
    "53100": (StoreUnavailable, "the database's disk is full"),
    "53200": (StoreUnavailable, "the database has run out of memory"),
    "53300": (StoreUnavailable, "the database takes no more connections"),
    "55": (StoreUnavailable, "the database cannot do that now"),
    "55P03": (StoreUnavailable, "a lock of the database was not free in time"),
    "57": (StoreUnavailable, "the database is being stopped or started"),
    "57014": (StoreUnavailable, "the database ended a statement that took too long, or was asked to"),
    "58": (StoreUnavailable, "the database met an error of its machine"),
    "XX001": (StoreDamaged, DAMAGED),
    "XX002": (StoreDamaged, DAMAGED),
}

# Classes and states of connections, not of what was asked over them.
UNREACHABLE = frozenset({"08", "28", "3D", "53300", "57P01", "57P02", "57P03", "57P05"})
# Somebody else was in the way for as long as is waited: BUSY and LOCKED, a lock, a statement that took too long.
SQLITE_IN_THE_WAY = frozenset({5, 6})
IN_THE_WAY = frozenset({"55P03", "57014"})
# A serialization failure and a deadlock, also at the commit: nothing of the transaction is left.
UNDONE = frozenset({"40001", "40P01"})
UNDONE_TRIES = 5  # each time somebody else's transaction was done

P = ParamSpec("P")
T = TypeVar("T")


def again_if_undone(method: Callable[P, T]) -> Callable[P, T]:
    """Make a function that is one transaction run again, a few times, if the database has undone it."""

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(UNDONE_TRIES - 1):
            try:
                return method(*args, **kwargs)
            except StoreUnavailable as error:
                if not error.undone:
                    raise
        return method(*args, **kwargs)

    return run


def store_error(error: Exception) -> NumcheckError:
    """Return our error for one of a driver, as it is or as SQLAlchemy has it; never its statement or its values."""
    driver = _driver_error(error)
    if isinstance(driver, sqlite3.Error):
        kind = StoreDamaged if NO_TEXT in str(driver) else SQLITE.get(_sqlite_code(driver), StoreFailed)
        found = kind(f"the store cannot be read or written: {driver}")
        if isinstance(found, StoreUnavailable):
            found.passing = _sqlite_code(driver) in SQLITE_IN_THE_WAY
        return found
    state = getattr(driver, "sqlstate", None)
    if state is not None:
        kind, words = POSTGRESQL.get(state) or POSTGRESQL.get(state[:2]) or (StoreFailed, "the database refuses")
        told = kind(f"{words} (SQLSTATE {state})")
        if isinstance(told, StoreUnavailable):
            told.undone, told.passing = state in UNDONE, state in UNDONE | IN_THE_WAY
            told.away = state[:2] in UNREACHABLE or state in UNREACHABLE
        return told
    if (isinstance(error, DBAPIError) and error.connection_invalidated) or _is_operational(error):
        away = StoreUnavailable(AWAY)
        away.away = True
        return away
    return StoreFailed(f"the driver of the database refuses: {type(driver).__name__}")


def _driver_error(error: Exception) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def is_write_failure(error: Exception) -> bool:
    """Return True if SQLite met an I/O error: what is on the disk is unknown then, and its connection must not go on.

    A full disk is none, nor a file that cannot be opened: the transaction is undone, and the next may succeed.
    """
    driver = _driver_error(error)
    return isinstance(driver, sqlite3.Error) and _sqlite_code(driver) == SQLITE_IOERR


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_operational(error: Exception) -> bool:
    """Return True if it is about the server or the connection, not about what was asked (PEP 249)."""
    return type(error).__name__ in ("OperationalError", "InterfaceError")
