"""SQLite's two files, the database and its write-ahead log, are of one history, or are refused.

SQLite applies a log to whatever database lies beside it: a restored copy beside the log that was there before is read,
and is neither the one nor the other. So every transaction that changes anything writes two words into the header of the
first page, which SQLite keeps for its application (sqlite.org/fileformat2.html): a random one, `user_version`, and the
one before it, `application_id`. So the first page is in the log once for each transaction.

Proof that files which belong together always pass: the log begins with a transaction whose database, when it began, was
whole in the file, as only then SQLite begins a log anew; so the word before the first is the file's until a checkpoint
copies pages of the log into the file, first of all the first page, whose word is then one of those in the log. Proof
that others do not, but by a chance of one in four billion for each transaction of the log: the file's word was written
by one transaction, and if it is neither in the log nor right before it, the log lacks transactions that the file has,
or the file lacks transactions that came before the log.
"""

import os
import secrets
import sqlite3
import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from numcheck.errors import HistoryLost, StoreDamaged
from numcheck.store.shared_file import SharedFile, identity_of

WORD_MAX = 2**31 - 1  # SQLite's words are signed
TRIES = 3  # a node may be at work on the files
MAGIC = b"SQLite format 3\0"
HEADER_SIZE = 100
WORDS = struct.Struct(">60xi4xi")  # user_version at byte 60, application_id at byte 68
LOG_MAGIC = (0x377F0682, 0x377F0683)
LOG_HEADER = struct.Struct(">IIII8s8x")  # magic, format, page size, checkpoint, salts, checksum
FRAME_HEADER = struct.Struct(">II8s8x")  # page, pages after a commit or 0, salts, checksum


class Words(NamedTuple):
    """Words of a first page: of the transaction that wrote it, and of the one before."""

    own: int
    before: int


def write_words(connection: Connection) -> None:
    """Write the words of a transaction, before its commit."""
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    # In the driver's own words, which take a quarter of the time: every transaction does it.
    (before,) = driver.execute("PRAGMA user_version").fetchone()
    driver.execute(f"PRAGMA application_id = {before}")
    driver.execute(f"PRAGMA user_version = {secrets.randbelow(WORD_MAX) + 1}")


def check_together(file: Path) -> None:
    """Raise StoreDamaged if the log beside a database's file is not its own. SQLite refuses what is no database."""
    if all(_are_apart(file) for _ in range(TRIES)):
        raise StoreDamaged(
            f"{file.name} and {file.name}-wal do not belong together: one of them is a copy. Restore both from one "
            f"copy; or, if {file.name} is a copy that is complete alone, move {file.name}-wal and {file.name}-shm away"
        )


def _are_apart(file: Path) -> bool:
    try:
        words, logged = _file_words(file), list(_logged_words(Path(f"{file}-wal")))
    except FileNotFoundError:
        return False
    return words is not None and bool(logged) and words.own not in {logged[0].before, *(one.own for one in logged)}


def _file_words(file: Path) -> Words | None:
    with SharedFile(file) as opened:
        page = opened.beginning(HEADER_SIZE)
    return Words(*WORDS.unpack_from(page)) if page.startswith(MAGIC) and len(page) == HEADER_SIZE else None


def _logged_words(log: Path) -> Iterator[Words]:
    """Yield the words of each transaction of a log that was committed, in their order."""
    with log.open("rb", buffering=0) as opened:
        header = opened.read(LOG_HEADER.size)
        if len(header) < LOG_HEADER.size:
            return
        magic, _, page_size, _, salts = LOG_HEADER.unpack(header)
        if magic not in LOG_MAGIC:
            return
        found: list[Words] = []
        for frame in count():
            place = LOG_HEADER.size + frame * (FRAME_HEADER.size + page_size)
            page = os.pread(opened.fileno(), FRAME_HEADER.size + HEADER_SIZE, place)
            if len(page) < FRAME_HEADER.size + HEADER_SIZE:
                return
            number, committed, frame_salts = FRAME_HEADER.unpack_from(page)
            if frame_salts != salts:  # of the log that was there before
                return
            if number == 1:
                found.append(Words(*WORDS.unpack_from(page, FRAME_HEADER.size)))
            if committed:
                yield from found
                found.clear()


class OpenedFile:
    """A database's file as it was when it was opened. Methods may be called from any thread."""

    def __init__(self, file: Path, *, writes: bool) -> None:
        """Look at the file; with `writes` also at the log beside it, which is this process' own and stays."""
        self._file, self._at_first, self._writes = file, identity_of(file), writes
        self._log = Path(f"{file}-wal")
        self._log_at_first = identity_of(self._log)
        self._changed_at_ns = 0
        self._is_whole = True

    def check(self, *, thoroughly: bool = False) -> None:
        """Raise HistoryLost, ever after, if the file was replaced; `thoroughly`: or if another was written over it, or
        its log was removed."""
        if self._is_whole and thoroughly:
            self._is_whole = self._is_written_by_us() and self._has_its_log()
        if not self._is_whole or identity_of(self._file) != self._at_first:
            self._is_whole = False
            raise HistoryLost(
                f"{self._file.name} or its log was replaced or removed while this process had it open: stop the node, "
                "restore the copy if that was meant, and start the node"
            )

    def is_whole(self) -> bool:
        """Return True unless the file was replaced, or another written over it."""
        try:
            self.check(thoroughly=True)
        except HistoryLost:
            return False
        return True

    def _is_written_by_us(self) -> bool:
        """Compare the file with the log, if it has changed since the last time: as after a checkpoint of our own."""
        try:
            changed_at_ns = self._file.stat().st_mtime_ns
            if changed_at_ns != self._changed_at_ns:
                check_together(self._file)
        except (OSError, StoreDamaged):
            return False
        self._changed_at_ns = changed_at_ns
        return True

    def _has_its_log(self) -> bool:
        """Return True unless the log of this process' own is not there any more, or another is."""
        return not self._writes or identity_of(self._log) == self._log_at_first
