"""The source of a file's bytes: a file, standard input, or a pipe, each read once from outside.

A file that can be read again is read in place; a pipe is kept in a temporary file without a name.
"""

import io
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from numcheck.errors import BadNumbersFile
from numcheck.inflating import GZIP_MAGIC, XZ_MAGIC, NotInflated, inflated

STANDARD_INPUT = "-"
SAMPLE_SIZE = 65_536  # bytes that a file is judged by before its first line is read
CONTENT_SIZE_MAX = 17_179_869_184  # bytes of a file, inflated: a billion lines
COMPRESSED = {GZIP_MAGIC: "gzip", XZ_MAGIC: "xz"}


class Source:
    """The bytes of a file; `name` is what to call it, `moment` when they were written (of a pipe: now)."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self.name = file, name
        status = os.fstat(file.fileno())
        self.is_file = stat.S_ISREG(status.st_mode)
        self._begin = file.tell() if self.is_file else 0
        self.moment = datetime.fromtimestamp(status.st_mtime, UTC) if self.is_file else datetime.now(UTC)
        self._size = status.st_size
        self._state = _state(status)

    def share_read(self) -> float:
        """Return how much of a file has been read, 0 to 1; 0 of a pipe, which has no size."""
        return os.lseek(self._file.fileno(), 0, os.SEEK_CUR) / self._size if self.is_file and self._size else 0.0

    def digest(self) -> str:
        """Return the SHA-256 of a file as it lies there, in hexadecimal digits."""
        self._file.seek(self._begin)
        return file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]

    @contextmanager
    def content(self) -> Iterator[tuple[io.BufferedReader, str]]:
        """Give the bytes, from the first on and inflated, and the name of their compression, or "".

        The first `peek` is SAMPLE_SIZE long, or whole. BadNumbersFile if the compressed form is damaged or too large,
        or if the file has changed meanwhile.
        """
        if self.is_file:
            self._file.seek(self._begin)
        # Buffered once more than it seems: the first peek is whole, however little a pipe gives at once.
        outside = io.BufferedReader(_Unclosed(self._file), SAMPLE_SIZE)
        head = outside.peek()
        compressed = next((name for magic, name in COMPRESSED.items() if head.startswith(magic)), "")
        inside: io.BufferedReader = io.BufferedReader(
            inflated(outside, CONTENT_SIZE_MAX),  # type: ignore[arg-type]  # it asks for no more than is there
            SAMPLE_SIZE,
        )
        try:
            yield inside, compressed
        except NotInflated as error:
            raise BadNumbersFile(f"{self.name}: {error}") from None
        if self.is_file and _state(os.fstat(self._file.fileno())) != self._state:
            raise BadNumbersFile(f"{self.name}: the file was changed while it was read")


@contextmanager
def opened(path: Path, *, again: bool = False) -> Iterator[Source]:
    """Open a file, or standard input for `-`. With `again` the content can be read more than once, also of a pipe."""
    name = "standard input" if str(path) == STANDARD_INPUT else path.name
    with _opened(path) as file:
        source = Source(file, name)
        if source.is_file or not again:
            yield source
            return
        with TemporaryFile() as kept:
            shutil.copyfileobj(file, _Bounded(kept.write, name))
            kept.flush()
            kept.seek(0)
            yield Source(kept, name)


class _Unclosed(io.RawIOBase):
    """A file that stays open when its reader ends."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]  # a BufferedReader gives no other
        return self._file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


class _Bounded:
    """Takes what a pipe gives, as long as it is not too much."""

    def __init__(self, write: Callable[[bytes], int], name: str) -> None:
        self._write, self._name, self._left = write, name, CONTENT_SIZE_MAX

    def write(self, piece: bytes) -> int:
        self._left -= len(piece)
        if self._left < 0:
            raise BadNumbersFile(f"{self._name}: more than {CONTENT_SIZE_MAX:,} bytes")
        return self._write(piece)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if str(path) == STANDARD_INPUT:
        if sys.stdin is None:
            raise BadNumbersFile("standard input is closed")
        yield sys.stdin.buffer
        return
    with path.open("rb") as file:
        yield file


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
