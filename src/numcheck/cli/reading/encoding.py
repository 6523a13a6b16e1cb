"""In which encoding a file is written, as far as its bytes leave no doubt.

Digits and delimiters are the same bytes in UTF-8 and in every 8-bit encoding that people use, so where the letters of
a file cannot be told, they are kept as they came, and only what stands in ASCII is read.
"""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass

from numcheck.inflating import GZIP_MAGIC, XZ_MAGIC

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
WITH_ZEROS = ("utf-16-le", "utf-16-be")
RUSSIAN = ("cp1251", "koi8-r", "cp866", "mac-cyrillic", "iso8859-5")  # 8 bits a character
NAMES = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16 LE",
    "utf-16-be": "UTF-16 BE",
    "koi8-r": "KOI8-R",
    "mac-cyrillic": "MacCyrillic",
    "iso8859-5": "ISO 8859-5",
}

# Formats known by their first bytes, so that they can be refused by name.
NOT_TEXT = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (.xlsx); unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel workbook (.xls); save the sheet as CSV",
    codecs.BOM_UTF32_LE: "UTF-32; save it as UTF-8",
    codecs.BOM_UTF32_BE: "UTF-32; save it as UTF-8",
    GZIP_MAGIC: "compressed twice; unpack it once",
    XZ_MAGIC: "compressed twice; unpack it once",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it",
    b"BZh": "a bzip2 file; unpack it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"%PDF": "a PDF",
    b"{\\rtf": "an RTF document",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\0": "a SQLite database",
}

# Of UTF-16 without a mark at its beginning: what text of these tables consists of, read in the right order of bytes.
# Digits and line ends read in the wrong one lie far outside: U+3000 to U+3900, U+0A00, U+0D00.
_PLAIN_TEXT = re.compile("[\t\r\n\x20-\x7e\u00a0-\u00ff\u0400-\u04ff\u2010-\u2044\u2116\u2212\ufeff]+")
# Of Russian in 8 bits: what its text consists of, read in the right encoding.
_RUSSIAN_TEXT = re.compile("[\t\r\n\x20-\x7eА-Яа-яЁё\u00a0«»„“”№–—…°−]+")


class UnknownEncoding(ValueError):
    """The bytes are no text that can be read; the words say what they are."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding that is certain, or "" for 8 bits of which only ASCII is understood."""

    codec: str
    bom: bytes = b""

    def __str__(self) -> str:
        if not self.codec:
            return "8 bits, its letters left as they are"
        return NAMES.get(self.codec, self.codec) + (" with BOM" if self.bom else "")

    @property
    def unit_size(self) -> int:
        """Bytes of a line feed."""
        return 2 if self.codec in WITH_ZEROS else 1

    @property
    def line_feed(self) -> bytes:
        """A line feed as its bytes."""
        return "\n".encode(self.codec or "ascii")

    def to_utf_8(self, lines: bytes) -> bytes:
        """Return whole lines in UTF-8; what cannot be told stays as it came. UnicodeDecodeError if they are damaged."""
        if self.codec in ("", "utf-8"):
            return lines
        return lines.decode(self.codec).encode("utf-8", "surrogatepass")

    def size_of(self, text: str) -> int:
        """Return how many bytes of the file a text takes."""
        return len(text.encode(self.codec or "utf-8", "surrogateescape"))


def encoding_of(sample: bytes, *, whole: bool, has_russian_name: Callable[[str], bool]) -> Encoding:
    """Return the encoding that the beginning of a file, or all of it, is written in; UnknownEncoding if it is no text.

    `has_russian_name` says whether a first line has a column's name that is known: in 8 bits that alone is certain.
    """
    for magic, what in NOT_TEXT.items():
        if sample.startswith(magic):
            raise UnknownEncoding(what)
    if bom := next((bom for bom, _ in BOMS if sample.startswith(bom)), b""):
        return Encoding(dict(BOMS)[bom], bom)
    if b"\0" in sample:
        return Encoding(_codec_with_zeros(sample))
    if sample.lstrip().startswith((b"<", b"{", b"[{")):
        raise UnknownEncoding("a web page, XML or JSON; a file of numbers is plain text or CSV")
    if b"\r" in sample and b"\n" not in sample:
        raise UnknownEncoding("text whose lines end with CR alone; save it with the line ends of Windows or Unix")
    if _decodes("utf-8", sample, whole=whole):
        return Encoding("utf-8")
    return Encoding(_russian_codec(sample, has_russian_name))


def _codec_with_zeros(sample: bytes) -> str:
    even = sample[: len(sample) & ~1]
    possible = [codec for codec in WITH_ZEROS if _PLAIN_TEXT.fullmatch(even.decode(codec, "replace"))]
    if len(possible) != 1:
        raise UnknownEncoding("binary data, or UTF-16 without a byte order mark; save it as UTF-8")
    return possible[0]


def _russian_codec(sample: bytes, has_russian_name: Callable[[str], bool]) -> str:
    """Return the encoding in which a name of the header is one that is known; "" if none is.

    Small letters are the same in cp1251 and MacCyrillic: then the text decides, and else there is no difference.
    """
    first_lines = sample.lstrip(b' \t\r\n;,|"').split(b"\n", 2)[:2]  # the very first may be Excel's `sep=;`
    named = [
        codec
        for codec in RUSSIAN
        if any(has_russian_name(line.rstrip(b"\r").decode(codec, "replace")) for line in first_lines)
    ]
    in_russian = [codec for codec in named if _RUSSIAN_TEXT.fullmatch(sample.decode(codec, "replace"))]
    certain = in_russian or (named if len(named) == 1 else [])
    return certain[0] if certain else ""


def _decodes(codec: str, sample: bytes, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(sample, final=whole)
    except UnicodeDecodeError:
        return False
    return True
