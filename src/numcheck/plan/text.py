"""From a registry file's bytes to its lines, whatever the encoding; by content, never by the file's name."""

import codecs
import gzip
import lzma
import re
import zlib
from typing import NamedTuple

from numcheck.errors import BadRegistryFile

XZ_MAGIC = b"\xfd7zXZ\0"
GZIP_MAGIC = b"\x1f\x8b"
BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
LINE_LENGTH_MAX = 10_000  # characters; the longest row of the real files has 196
NON_ASCII = bytes(range(0x80, 0x100))
UTF8_CYRILLIC = re.compile(rb"[\xd0\xd1][\x80-\xbf]")


class Text(NamedTuple):
    """A file's lines without their ends, and how the last one ends.

    `ends_open`: no line end follows it. `ends_inside_character`: its last character is not whole, and left out.
    """

    lines: list[str]
    ends_open: bool
    ends_inside_character: bool


def read_text(name: str, data: bytes) -> Text:
    """Decode a registry file; BadRegistryFile if it is empty, binary, damaged or a web page."""
    text, ends_inside_character = _decode(name, data)
    if "\0" in text:
        raise BadRegistryFile(f"{name}: binary data, not a text file")
    start = text.lstrip()
    if not start:
        raise BadRegistryFile(f"{name}: the file is empty")
    if start.startswith("<"):
        raise BadRegistryFile(f"{name}: a web page, not a registry file; the download failed")
    # Not splitlines(): it would split at characters that may stand inside of a name.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if max(map(len, lines)) > LINE_LENGTH_MAX:
        raise BadRegistryFile(f"{name}: not a registry file: a line of more than {LINE_LENGTH_MAX:,} characters")
    ends_open = lines[-1] != ""
    if not ends_open and not ends_inside_character:
        lines.pop()
    return Text(lines, ends_open, ends_inside_character)


def uncompress(name: str, data: bytes) -> bytes:
    """The bytes themselves, or what they are the xz or gzip form of; BadRegistryFile if that is damaged."""
    try:
        if data.startswith(XZ_MAGIC):
            return lzma.decompress(data)
        if data.startswith(GZIP_MAGIC):
            return gzip.decompress(data)
    except (lzma.LZMAError, zlib.error, EOFError, OSError):
        raise BadRegistryFile(f"{name}: the compressed file is cut or damaged") from None
    return data


def _decode(name: str, data: bytes) -> tuple[str, bool]:
    bom, encoding = next((known for known in BOMS if data.startswith(known[0])), (b"", "utf-8"))
    try:
        return _decode_as(encoding, data.removeprefix(bom))
    except UnicodeDecodeError as error:
        if bom or _is_damaged_utf8(data):
            line_number = data.count(b"\n", 0, len(bom) + error.start) + 1
            raise BadRegistryFile(f"{name}:{line_number}: a damaged character") from None
    try:
        return _decode_as("cp1251", data)
    except UnicodeDecodeError:
        raise BadRegistryFile(f"{name}: neither UTF-8 nor cp1251 text") from None


def _decode_as(encoding: str, data: bytes) -> tuple[str, bool]:
    """The text, and whether the data ends inside of a character."""
    decoder = codecs.getincrementaldecoder(encoding)()
    text = decoder.decode(data)
    pending, _ = decoder.getstate()
    return text, bool(pending)


def _is_damaged_utf8(data: bytes) -> bool:
    """Whether most of the non-ASCII bytes are Cyrillic letters of UTF-8.

    Read as cp1251, such a file would give every operator a garbled name. In cp1251 these are pairs of Р or С with a
    sign that Russian does not use there.
    """
    non_ascii_count = len(data) - len(data.translate(None, delete=NON_ASCII))
    return 2 * len(UTF8_CYRILLIC.findall(data)) > non_ascii_count / 2
