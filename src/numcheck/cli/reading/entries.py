"""Entries of a push: a number or a range that is in service, or, with a sign in front, no longer is.

    entry  = marks [sign] what
    marks  = spaces, invisible marks, apostrophes, in any order
    sign   = a dash of any kind
    what   = number | number dash number

A number is what `e164` reads, every character of it. A text that is one number is one number, whatever dashes it
holds; a range is read at the one dash that has a number on either side, with spaces on both sides of it or none: in
`-79160000001 -79160000005` it is the sign of a second number. Everything else is refused: what is not understood is
never left out, for it may be somebody's way to write a removal.

`read_lines` reads a million lines at once and `read` a single one; a test holds them to each other.
"""

import re
from array import array
from typing import NamedTuple

from numcheck import _lines, e164
from numcheck.errors import NotANumber

DASHES = "-\u02d7\u058a\u05be\u2010-\u2015\u2043\u2212\u2e3a\u2e3b\ufe58\ufe63\uff0d"  # within a class of characters
_MARKS = "\\s'\u2018\u2019\uff07\u061c\u200b-\u200f\u202a-\u202d\u2060\u2066-\u2069\ufeff"
_SIGNED = re.compile(f"(?P<marks>[{_MARKS}]*)(?P<sign>[{DASHES}]?)(?P<what>.*)", re.DOTALL)
_DASH = re.compile(f"[{DASHES}]")
_SECOND_SIGN = re.compile(f"\\s[{_MARKS}]*[{DASHES}]\\S")

NEITHER = "neither a number nor a range"
BACKWARDS = "the range ends before it starts"


class BadEntry(ValueError):
    """A text that is not understood; the words say why, and do not repeat it."""


class Entry(NamedTuple):
    """The numbers from `first` to `last`, inclusive, and whether they are to be removed."""

    removes: bool
    first: int
    last: int


def read(text: str, region: str) -> Entry:
    """Return what a text says; BadEntry if any of its characters is not understood."""
    found = _SIGNED.fullmatch(text)
    assert found is not None  # every part may be empty
    removes, what = bool(found["sign"]), found["what"]
    number = _try_number(what if removes else text, region)
    return Entry(removes, number, number) if number is not None else Entry(removes, *_range(what, region))


def read_lines(lines: bytes, region: str) -> "tuple[array[int], bytes]":
    """Return the number of each line, 0 where only `read` can tell, and a byte: 1 if it is to be removed, else 0.

    The lines are in UTF-8, and each ends with a line feed. Without a sign anywhere, there are no such bytes.
    """
    removes = b""
    if b"-" in lines and (lines.startswith(b"-") or b"\n-" in lines):
        lines, removes = _lines.unsigned(lines, b"-")
    return e164.parse_lines(lines, region), removes


def _try_number(text: str, region: str) -> int | None:
    try:
        return e164.parse(text, region)
    except NotANumber:
        return None


def _range(text: str, region: str) -> tuple[int, int]:
    ends = [
        (_try_number(text[: one.start()], region), _try_number(text[one.end() :], region))
        for one in _DASH.finditer(text)
    ]
    found = [(first, last) for first, last in ends if first is not None and last is not None]
    if len(found) != 1 or _SECOND_SIGN.search(text):
        raise BadEntry(NEITHER)
    if found[0][0] > found[0][1]:
        raise BadEntry(BACKWARDS)
    return found[0]
