"""From a registry file to its lines, whatever its packing and encoding; by content, never by the file's name."""

from pathlib import Path
from typing import NamedTuple

from numcheck.errors import BadRegistryFile
from numcheck.inflating import NotInflated, inflated
from numcheck.plan.encodings import decode

CONTENT_SIZE_MAX = 33_554_432  # bytes of a file, inflated; the largest of the real files has 4.0 million
LINES_MAX = 500_000  # of a file; the longest of the real files has 52,627
LINE_LENGTH_MAX = 10_000  # characters; the longest row of the real files has 196


class Text(NamedTuple):
    """A file's lines without their ends, and how the last one ends.

    `ends_open`: no line end follows it. `ends_inside_character`: its last character is not whole, and left out.
    """

    lines: list[str]
    ends_open: bool
    ends_inside_character: bool


def read_content(path: Path) -> bytes:
    """Return what a file holds, plain or compressed with xz or gzip; BadRegistryFile if that cannot be had."""
    try:
        with path.open("rb") as file:
            return inflated(file, CONTENT_SIZE_MAX).read()
    except NotInflated as error:
        raise BadRegistryFile(f"{path.name}: {error}") from None
    except OSError as error:
        raise BadRegistryFile(f"{path}: cannot be read: {error.strerror}") from None


def read_text(name: str, data: bytes) -> Text:
    """Decode a registry file; BadRegistryFile if it is empty, binary, damaged, a web page or too long."""
    text, ends_inside_character = decode(name, data)
    if "\0" in text:
        raise BadRegistryFile(f"{name}: binary data, not a text file")
    start = text.lstrip()
    if not start:
        raise BadRegistryFile(f"{name}: the file is empty")
    if start.startswith("<"):
        raise BadRegistryFile(f"{name}: a web page, not a registry file; the download failed")
    # Not splitlines(): it would split at characters that may stand inside of a name.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > LINES_MAX:
        raise BadRegistryFile(f"{name}: more than {LINES_MAX:,} lines")
    lines = text.split("\n")
    if max(map(len, lines)) > LINE_LENGTH_MAX:
        raise BadRegistryFile(f"{name}: not a registry file: a line of more than {LINE_LENGTH_MAX:,} characters")
    ends_open = lines[-1] != ""
    if not ends_open and not ends_inside_character:
        lines.pop()
    return Text(lines, ends_open, ends_inside_character)
