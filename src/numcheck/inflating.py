"""Files that may be compressed, inflated as they are read and never past a bound.

A megabyte of gzip may hold a gigabyte: memory and time are bounded by what comes out, not by what the disk holds.
"""

import gzip
import io
import lzma
import zlib

XZ_MAGIC = b"\xfd7zXZ\0"
GZIP_MAGIC = b"\x1f\x8b"
DAMAGED = (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError, MemoryError)


class NotInflated(Exception):
    """A file's content cannot be had: its compressed form is damaged, or holds too much. The text says which."""


def inflated(file: io.BufferedReader, size_max: int) -> io.BufferedReader:
    """Return the file's content, be it plain or the form of it that xz or gzip makes; a pipe will do.

    Reading raises NotInflated where the compressed form is cut or damaged, and past `size_max` bytes of content.
    """
    start = file.peek(len(XZ_MAGIC))
    if start.startswith(XZ_MAGIC):
        return io.BufferedReader(_Bounded(lzma.LZMAFile(file), size_max))
    if start.startswith(GZIP_MAGIC):
        return io.BufferedReader(_Bounded(gzip.GzipFile(fileobj=file), size_max))
    return io.BufferedReader(_Bounded(file, size_max))


class _Bounded(io.RawIOBase):
    """Another file's bytes, up to so many."""

    def __init__(self, source: io.BufferedIOBase, size_max: int) -> None:
        self._source = source
        self._size_max = size_max
        self._left = size_max

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]  # a BufferedReader gives no other
        wanted = min(len(buffer), self._left + 1)  # one byte more than may be there tells that it is there
        try:
            data = self._source.read(wanted)
        except DAMAGED:
            raise NotInflated("the compressed file is cut or damaged") from None
        self._left -= len(data)
        if self._left < 0:
            raise NotInflated(f"more than {self._size_max:,} bytes of content")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()
