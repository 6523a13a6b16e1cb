"""The common part of both readers of written numbers: the bounds, the characters that have a place in a number, and the
reasons for which a text is refused. `_e164` has the grammar, and is compiled; `pure_e164` reads the same in Python.
"""

from enum import IntEnum, StrEnum

NUMBER_DIGITS_MAX = 15  # ITU-T E.164 clause 6.2.1
NUMBER_DIGITS_MIN = 4  # a calling code alone has up to three
TEXT_SIZE_MAX = 250  # characters
PREFIX_SIZE_MAX = 4


class Kind(IntEnum):
    """Kind of a character. Marks without a digit between them stand in this order."""

    OTHER = 0
    SPACE = 1
    LINE_END = 2
    INVISIBLE = 3
    PLUS = 4
    APOSTROPHE = 5
    SCHEME = 6
    """tel:"""
    CLOSING = 7
    JOINING = 8
    OPENING = 9


class Form(IntEnum):
    """Form of a mark, where there are several of a kind."""

    NONE = 0
    ROUND = 1
    SQUARE = 2
    DASH = 3
    DOT = 4


class Refusal(StrEnum):
    """Why a text is no number; none repeats anything of the text."""

    NO_DIGITS = "the text has no digits"
    STRAY = "the text cannot be read as a telephone number: its character {place} has no place in one"
    UNFINISHED = "the text ends in what has no place behind a telephone number"
    TOO_LONG = f"the text has more characters than are read: a number has at most {TEXT_SIZE_MAX}"
    TOO_MANY_DIGITS = f"the text has more digits than a telephone number, which has at most {NUMBER_DIGITS_MAX}"
    TOO_FEW_DIGITS = f"the text has fewer digits than a telephone number, which has at least {NUMBER_DIGITS_MIN}"
    DECIMAL = "the text is a decimal number: write a telephone number without its point"
    NETWORK_ADDRESS = "the text is a network address"
    TRUNK_PREFIX = "the text has a prefix of calls within a country in an international number"
    NOT_NATIONAL = "the text has neither a plus nor the digits of a national number"


# Every character that may stand in a number beside digits, ascending: first, last, kind, form. Spaces are Unicode's Zs
# and the tab; dashes are Unicode's Pd, the minus signs, the hyphen bullet and the soft hyphen.
MARKS = (
    (0x0009, 0x0009, Kind.SPACE, Form.NONE),
    (0x000A, 0x000A, Kind.LINE_END, Form.NONE),
    (0x000D, 0x000D, Kind.LINE_END, Form.NONE),
    (0x0020, 0x0020, Kind.SPACE, Form.NONE),
    (0x0027, 0x0027, Kind.APOSTROPHE, Form.NONE),
    (0x0028, 0x0028, Kind.OPENING, Form.ROUND),
    (0x0029, 0x0029, Kind.CLOSING, Form.ROUND),
    (0x002B, 0x002B, Kind.PLUS, Form.NONE),
    (0x002D, 0x002D, Kind.JOINING, Form.DASH),
    (0x002E, 0x002E, Kind.JOINING, Form.DOT),
    (0x005B, 0x005B, Kind.OPENING, Form.SQUARE),
    (0x005D, 0x005D, Kind.CLOSING, Form.SQUARE),
    (0x00A0, 0x00A0, Kind.SPACE, Form.NONE),
    (0x00AD, 0x00AD, Kind.JOINING, Form.DASH),  # soft hyphen: one program hides it, another shows it
    (0x02D7, 0x02D7, Kind.JOINING, Form.DASH),
    (0x058A, 0x058A, Kind.JOINING, Form.DASH),
    (0x05BE, 0x05BE, Kind.JOINING, Form.DASH),
    (0x061C, 0x061C, Kind.INVISIBLE, Form.NONE),  # Arabic letter mark
    (0x1400, 0x1400, Kind.JOINING, Form.DASH),
    (0x1680, 0x1680, Kind.SPACE, Form.NONE),
    (0x1806, 0x1806, Kind.JOINING, Form.DASH),
    (0x180E, 0x180E, Kind.INVISIBLE, Form.NONE),
    (0x2000, 0x200A, Kind.SPACE, Form.NONE),
    (0x200B, 0x200F, Kind.INVISIBLE, Form.NONE),  # of no width, and directional marks
    (0x2010, 0x2015, Kind.JOINING, Form.DASH),
    (0x2018, 0x2019, Kind.APOSTROPHE, Form.NONE),  # what word processors make of it
    (0x202A, 0x202D, Kind.INVISIBLE, Form.NONE),  # embeddings, which address books add; U+202E shows digits in reverse
    (0x202F, 0x202F, Kind.SPACE, Form.NONE),
    (0x2043, 0x2043, Kind.JOINING, Form.DASH),
    (0x205F, 0x205F, Kind.SPACE, Form.NONE),
    (0x2060, 0x2060, Kind.INVISIBLE, Form.NONE),
    (0x2066, 0x2069, Kind.INVISIBLE, Form.NONE),  # isolates
    (0x2212, 0x2212, Kind.JOINING, Form.DASH),
    (0x2E17, 0x2E17, Kind.JOINING, Form.DASH),
    (0x2E1A, 0x2E1A, Kind.JOINING, Form.DASH),
    (0x2E3A, 0x2E3B, Kind.JOINING, Form.DASH),
    (0x2E40, 0x2E40, Kind.JOINING, Form.DASH),
    (0x2E5D, 0x2E5D, Kind.JOINING, Form.DASH),
    (0x3000, 0x3000, Kind.SPACE, Form.NONE),
    (0x301C, 0x301C, Kind.JOINING, Form.DASH),
    (0x3030, 0x3030, Kind.JOINING, Form.DASH),
    (0x30A0, 0x30A0, Kind.JOINING, Form.DASH),
    (0xFE31, 0xFE32, Kind.JOINING, Form.DASH),
    (0xFE58, 0xFE58, Kind.JOINING, Form.DASH),
    (0xFE63, 0xFE63, Kind.JOINING, Form.DASH),
    (0xFEFF, 0xFEFF, Kind.INVISIBLE, Form.NONE),  # byte order mark
    (0xFF07, 0xFF07, Kind.APOSTROPHE, Form.NONE),  # and so on: as wide as an ideograph
    (0xFF08, 0xFF08, Kind.OPENING, Form.ROUND),
    (0xFF09, 0xFF09, Kind.CLOSING, Form.ROUND),
    (0xFF0B, 0xFF0B, Kind.PLUS, Form.NONE),
    (0xFF0D, 0xFF0D, Kind.JOINING, Form.DASH),
    (0xFF0E, 0xFF0E, Kind.JOINING, Form.DOT),
    (0xFF3B, 0xFF3B, Kind.OPENING, Form.SQUARE),
    (0xFF3D, 0xFF3D, Kind.CLOSING, Form.SQUARE),
    (0x10D6E, 0x10D6E, Kind.JOINING, Form.DASH),
    (0x10EAD, 0x10EAD, Kind.JOINING, Form.DASH),
)
