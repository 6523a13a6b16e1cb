"""The file of an SQLite database, read beside SQLite's own connections.

A process that closes a file loses all locks that it has on it, those of SQLite's connections among them
(sqlite.org/howtocorrupt.html, 2.2): then another process that closes its connection takes itself for the last one, and
removes the log that is written still. So this process has one descriptor of each such file, and whoever lets go of it
last closes it.
"""

import os
import threading
from pathlib import Path
from typing import Self

Identity = tuple[int, int]

_turn = threading.Lock()
_opened: dict[Identity, list[int]] = {}  # the descriptor, and how many have it


def identity_of(file: Path) -> Identity | None:
    """Return what tells a file from another of the same name; None if there is none."""
    try:
        return _identity(file.stat())
    except OSError:
        return None


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


class SharedFile:
    """A file that is open until `close`: opened before any connection to it, and closed after the last."""

    def __init__(self, file: Path) -> None:
        """Open the file; FileNotFoundError, or another OSError."""
        with _turn:
            self._identity = _identity(file.stat())
            if self._identity not in _opened:
                descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
                self._identity = _identity(os.fstat(descriptor))  # it may have been replaced just now
                _opened.setdefault(self._identity, [descriptor, 0])
            self._entry = _opened[self._identity]
            self._entry[1] += 1

    def beginning(self, size: int) -> bytes:
        """Return the first bytes of the file."""
        return os.pread(self._entry[0], size, 0)

    def close(self) -> None:
        """Let go of the file."""
        with _turn:
            self._entry[1] -= 1
            if not self._entry[1]:
                os.close(_opened.pop(self._identity)[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
