"""The rows of a file, in pieces, whatever its encoding, compression and columns: for `check --file` and for `push`."""

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from numcheck.cli.reading.encoding import Encoding, UnknownEncoding, encoding_of
from numcheck.cli.reading.layout import (
    FIRST_LINES,
    NO_OPTIONS,
    ColumnOptions,
    UncertainLayout,
    has_russian_name,
    layout_of,
)
from numcheck.cli.reading.source import SAMPLE_SIZE, Source
from numcheck.errors import BadNumbersFile

PIECE_SIZE = 1 << 20  # bytes that are read at once: some 90,000 lines
LINE_SIZE_MAX = 65_536  # bytes
SURPLUS_CR = re.compile(rb"(?<!\r)\r++\n")  # of a text that was converted to the line ends of Windows twice


class Piece(NamedTuple):
    """Whole lines of a file, the header among them: the number of the first, their bytes, and the same in UTF-8."""

    line_number: int
    raw: bytes
    text: bytes

    @property
    def ended(self) -> bytes:
        """The lines in UTF-8, each with a line feed and no other end."""
        text = self.text if self.text.endswith(b"\n") or not self.text else self.text + b"\n"
        text = text.replace(b"\r\n", b"\n") if b"\r" in text else text
        return SURPLUS_CR.sub(b"\n", text) if b"\r\n" in text else text

    @property
    def lines(self) -> list[str]:
        """The lines without their ends; bytes that are not UTF-8 are kept as Python keeps them."""
        return self.ended.decode("utf-8", "surrogateescape").split("\n")[:-1]

    def split(self, skipped: int) -> tuple[bytes, bytes]:
        """Return the lines in front of the file's first row, which are so many, and the others, ended."""
        if self.line_number > 1:
            return b"", self.ended
        *head, lines = self.ended.split(b"\n", skipped)
        return b"".join(line + b"\n" for line in head), lines


class Rows:
    """A file that is being read from its first line on; how it is read is known before that."""

    def __init__(self, source: Source, content: io.BufferedReader, compression: str, how: "Options") -> None:
        self._source, self._content = source, content
        sample = content.peek(SAMPLE_SIZE)
        whole = len(sample) < SAMPLE_SIZE
        try:
            self.encoding = encoding_of(sample, whole=whole, has_russian_name=has_russian_name)
            first = _first_lines(self.encoding, sample)
            self.layout = layout_of(first, how.wanted, ranges=how.ranges, statuses=how.statuses)
        except (UnknownEncoding, UncertainLayout) as error:
            raise BadNumbersFile(f"{source.name}: {error}") from None
        self.told = f"{source.name}: {', '.join(filter(None, [compression, str(self.encoding), str(self.layout)]))}"

    def pieces(self) -> Iterator[Piece]:
        """Yield the file's lines in order. BadNumbersFile names one that is damaged or too long."""
        line_number, bom = 1, self.encoding.bom
        while raw := self._whole_lines(line_number):
            try:
                text = self.encoding.to_utf_8(raw.removeprefix(bom))
            except UnicodeDecodeError as error:
                at = line_number + raw[: error.start].count(self.encoding.line_feed)
                raise BadNumbersFile(f"{self._source.name}:{at}: a damaged character") from None
            yield Piece(line_number, raw, text)
            line_number, bom = line_number + text.count(b"\n"), b""

    def _whole_lines(self, line_number: int) -> bytes:
        raw = self._content.read(PIECE_SIZE)
        if self.encoding.unit_size == 1:
            raw += self._content.readline(LINE_SIZE_MAX) if raw and not raw.endswith(b"\n") else b""
        else:
            raw += self._rest_of_line(raw)
        if len(raw) - raw.rfind(b"\n") > LINE_SIZE_MAX:
            at = line_number + raw.count(b"\n")
            raise BadNumbersFile(f"{self._source.name}:{at}: a line of more than {LINE_SIZE_MAX:,} bytes")
        return raw

    def _rest_of_line(self, raw: bytes) -> bytes:
        """Return what a line lacks in an encoding of two bytes a character."""
        rest, unit = bytearray(), raw[-2:]
        while len(unit) == 2 and unit != self.encoding.line_feed and len(rest) <= LINE_SIZE_MAX:
            unit = self._content.read(2)
            rest += unit
        return bytes(rest)


class Options(NamedTuple):
    """The way to read a file: its options, and whether it may hold ranges and a column of statuses."""

    wanted: ColumnOptions = NO_OPTIONS
    ranges: bool = False
    statuses: bool = False


@contextmanager
def reading(source: Source, how: Options) -> Iterator[Rows]:
    """Read a file from its beginning. BadNumbersFile if it is no text, or its columns cannot be told."""
    with source.content() as (content, compression):
        yield Rows(source, content, compression, how)


def _first_lines(encoding: Encoding, sample: bytes) -> list[str]:
    """Return the first lines of a file, or what the sample has of them."""
    decoder = codecs.getincrementaldecoder(encoding.codec or "utf-8")(
        errors="surrogateescape" if encoding.unit_size == 1 else "replace"
    )
    lines = decoder.decode(sample.removeprefix(encoding.bom)).split("\n", FIRST_LINES)[:FIRST_LINES]
    return [line.removesuffix("\r") for line in lines]
