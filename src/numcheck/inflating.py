"""Files that may be compressed, inflated as they are read and never past a bound.

A megabyte of gzip may hold a gigabyte, and a hundred bytes of xz may ask for four of them: memory and time are bounded
by what comes out and by what inflating may take, not by what the disk holds.
"""

import gzip
import io
import lzma
import zlib

XZ_MAGIC = b"\xfd7zXZ\0"
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_SIZE = 65_536
XZ_MEMORY_MAX = 134_217_728  # bytes; what `xz -9` made takes half of it
DAMAGED = (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError, MemoryError)


class NotInflated(Exception):
    """A file's content cannot be had: its compressed form is damaged, or holds too much. The text says which."""


def inflated(file: io.BufferedReader, size_max: int) -> io.BufferedReader:
    """Return the file's content, be it plain or the form of it that xz or gzip makes; a pipe will do.

    Reading raises NotInflated where the compressed form is cut or damaged, and past `size_max` bytes of content.
    """
    start = file.peek(len(XZ_MAGIC))
    if start.startswith(XZ_MAGIC):
        return io.BufferedReader(_Bounded(_Xz(file), size_max))
    if start.startswith(GZIP_MAGIC):
        return io.BufferedReader(_Bounded(gzip.GzipFile(fileobj=file), size_max))
    return io.BufferedReader(_Bounded(file, size_max))


class _Xz:
    """A reader of a file that xz made, of one stream or several. Unlike `lzma.LZMAFile` it has a bound of memory."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._stream = _xz_stream()
        self._first = b""  # of a stream that follows another

    def read(self, size: int) -> bytes:
        """Return some of the next bytes, at most `size`; none at the end."""
        data = b""
        while not data:
            if self._stream.eof and not self._begins_next_stream():
                return b""
            packed = self._more() if self._stream.needs_input else b""
            data = self._stream.decompress(packed, size)
        return data

    def _begins_next_stream(self) -> bool:
        """Begin the stream that follows, behind zeros, if any does."""
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest:
            more = self._file.read1(CHUNK_SIZE)
            if not more:
                return False
            rest = more.lstrip(b"\0")
        self._stream = _xz_stream()
        self._first = rest
        return True

    def _more(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        more = self._file.read1(CHUNK_SIZE)
        if not more:
            raise EOFError
        return more

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _xz_stream() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_MAX)


class _Bounded(io.RawIOBase):
    """Another file's bytes, up to so many."""

    def __init__(self, source: io.BufferedIOBase | _Xz, size_max: int) -> None:
        self._source = source
        self._size_max = size_max
        self._left = size_max

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]  # a BufferedReader gives no other
        wanted = min(len(buffer), self._left + 1)  # one byte more than may be there tells that it is there
        try:
            data = self._source.read(wanted)
        except DAMAGED as error:
            if "emory usage limit" in str(error):  # liblzma's code for it is not told
                raise NotInflated(f"inflating it takes more than {XZ_MEMORY_MAX:,} bytes of memory") from None
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
