"""Made-up ways to write a number, by a grammar that knows which number it writes; and those of people, told by hand."""

import unicodedata
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

N = 79161234567

SPELLINGS = {
    "+79161234567": N,
    "79161234567": N,
    "89161234567": N,
    "9161234567": N,
    "+7 916 123-45-67": N,
    "+7 (916) 123-45-67": N,
    "8 (916) 123-45-67": N,
    "8(916)1234567": N,
    "8-916-123-45-67": N,
    "8 916 123 45 67": N,
    "(916) 123-45-67": N,
    "(+7) 916 123-45-67": N,
    "(+7) (916) 123-45-67": N,
    "+(7) 916 123-45-67": N,
    "(8-916) 123-45-67": N,
    "8 [916] 123-45-67": N,
    "+7.916.123.45.67": N,
    "916.123.45.67": N,
    "8.916.1234567": N,
    "+7 916.123-45-67": N,
    "8-916-123.4567": N,
    "+7 916 123 45.67": N,
    "+7.9161234567": N,
    "+7 - 916 - 123 - 45 - 67": N,
    "  +79161234567\t\n": N,
    "\r\n+79161234567\r\n": N,
    "+7\t916\t123\t45\t67": N,
    "+7\u00a0916\u00a0123\u201145\u201367": N,
    "+7\u202f916\u2009123\u221245\u201467": N,
    "7 916 123 45 67": N,
    "79 161 234 567": N,
    "79.161.234.567": N,
    "7 9 1 6 1 2 3 4 5 6 7": N,
    "+ 7 916 123 45 67": N,
    "0079161234567": N,
    "00 7 916 123-45-67": N,
    "00-7-916-123-45-67": N,
    "810 7 916 123 45 67": N,
    "8-10-7-916-123-45-67": N,
    "8 (10) 7 916 1234567": N,
    "'89161234567": N,
    "'+7 916 123-45-67": N,
    "\u2019+79161234567": N,
    "tel:+7-916-123-45-67": N,
    "TEL:+79161234567": N,
    "Tel: 8 916 123 45 67": N,
    "'tel:+79161234567": N,
    "tel:89161234567": N,
    "＋７ ９１６ １２３ ４５ ６７": N,
    "８（９１６）１２３－４５－６７": N,
    "＋７．９１６．１２３．４５．６７": N,
    "+٧ ٩١٦ ١٢٣ ٤٥ ٦٧": N,
    "۸۹۱۶۱۲۳۴۵۶۷": N,
    "+७ ९१६ १२३ ४५ ६७": N,
    "\u200e+7 916 123-45-67\u200e": N,
    "\u202d+79161234567\u202c": N,
    "\u2066+7\u2069\u200b916\u200d123\ufeff45\u00ad67": N,
    "\ufeff79161234567": N,
    "+380 44 123-45-67": 380441234567,
    "00380441234567": 380441234567,
    "8 10 380 44 123-45-67": 380441234567,
    "+1 (415) 555-0100": 14155550100,
    "+1.4155550100": 14155550100,
    "+39 06 1234 5678": 390612345678,
    "+39 (06) 1234 5678": 390612345678,
    "+7 495 123-45-67": 74951234567,
    "88005553535": 78005553535,
    "+8 916 123 45 67": 89161234567,
    "+70000000000": 70000000000,
    "+7916": 7916,
    "+1234567": 1234567,
    "+999999999999999": 999999999999999,
}
"""As people write them in Russia, and the number that each is."""

REFUSED = [
    *(
        "",
        " ",
        "\0",
        "+",
        "-",
        "'",
        "()",
        "😀",
        "number",
        "+x",
        "+-",
        "8",
        "0",
        "00",
        "+7",
        "+999",
        "112",
        "7916",
        "tel:",
    ),
    # Spreadsheets and programs.
    *("7.91600003E10", "9.16000012E9", "7.9161234567E+10", "7,91600003E10", "1e10", "79161234567e0"),
    *(
        "916123456.0",
        "9160000001.0",
        "79160000001.0",
        "89160000001.0",
        "+79160000001.0",
        "79161234567.00",
        "7.91600003",
    ),
    *(
        "7.9161234567",
        "916.1234567",
        "91612345.67",
        "91 612 345.67",
        "916 123 456.7",
        "+7 916.1234567",
        "'9161234567.0",
    ),
    *(
        "79161234567,0",
        "79161234567,00",
        "79,161,234,567",
        "79'161'234'567",
        "+7 (916) 123-45-67.0",
        "8-916-123-45-6.7",
        "9161234567 .0",
        "9161234567\u200b.0",
    ),
    *("91.61.231.67", "91.161.23.167", "0x126F1E2D07", "79_161_234_567", "#79161234567", "=79161234567", "$9161234567"),
    *("91,612,345.67", "79161234567%", "NaN", "None", "7916123456٫7", "7916123456·7", "½79161234567", "79161234567²"),
    # Letters, masks, and letters like digits.
    *("8916ABCDEFG", "+7916 000 xx xx", "7916000xxxx", "+7916*******", "+7916???4567", "8-800-FLOWERS", "+7916XXXXXXX"),
    *(
        "7916123456O",
        "7916123456О",
        "79l61234567",
        "+7 9I6 123-45-67",
        "а79161234567",
        "79161234567а",
        "７9161234567E1",
    ),
    # More than a number.
    *(
        "+7 916 123-45-67 ext. 5",
        "+79160000001 ext.",
        "+79161234567;ext=5",
        "+7 916 123-45-67 доб. 5",
        "+79161234567#5",
    ),
    *("tel:+79161234567;phone-context=+7", "tel:9161234567;phone-context=+7", "tel:+79161234567;", "sip:+79161234567"),
    *("tel:tel:+79161234567", "tel+79161234567", "te l:+79161234567", "t\u200bel:+79161234567", "+tel:79161234567"),
    *("tel://+79161234567", "mailto:+79161234567", "тел. +79161234567", "тел:+79161234567", "(tel:+7) 9161234567"),
    *("+79161234567, +79161234568", "+79161234567;+79161234568", "+79161234567/68", "89161234567 89161234568"),
    *("79161234567\n79161234568", "+7916123\n4567", "+7\r\n9161234567", "+\n79161234567", "'\n79161234567"),
    *("79161234567\u2028", "79161234567\x0b", "79161234567\x0c", "79161234567\x85", "79161234567\0", "\x1a79161234567"),
    *(
        "<79161234567>",
        '"79161234567"',
        "'79161234567'",
        "{79161234567}",
        "79161234567!",
        "79161234567?",
        "~79161234567",
    ),
    # Removals, by whatever sign, and ranges.
    *(
        "-79161234567",
        "\u221279161234567",
        "\u201379161234567",
        "－79161234567",
        "\u200e-79161234567",
        "\u00ad79161234567",
        "'-79161234567",
    ),
    *(
        " -79161234567",
        "\ufeff-79161234567",
        "\u200b\u221279161234567",
        "- 79161234567",
        "tel:-79161234567",
        "+-79161234567",
    ),
    *(
        "-+79161234567",
        "(-79161234567)",
        "79161234567-",
        "79161234567\u2212",
        "79161234567 -",
        "(79161234567)",
        "(+79161234567)",
    ),
    *("[79161234567]", "del 79161234567", "79160000000-79160000099", ".79161234567", "79161234567."),
    # Signs out of place.
    *("++79161234567", "+ +79161234567", "7+9161234567", "79161234567+", "+7+9161234567", "8+7 916 123 45 67"),
    *(
        "''79161234567",
        "7'9161234567",
        "+'79161234567",
        "79161234567'",
        "8--916-123-45-67",
        "8..916.123.45.67",
        "8-.916-1234567",
    ),
    *("8 ((916)) 123-45-67", "8 (916 123-45-67", "8 916) 123-45-67", "8 () 916 123-45-67", "8 )916( 123-45-67"),
    *("8 (916] 123-45-67", "8 [916) 123-45-67", "8 (-916) 123-45-67", "8 (916-) 123-45-67", "8 (916(123) 4567)"),
    *("8 916 123-45-67 (1)", "8 916 123-45-(67)", "+7 916 123-45-67 ()", "8/916/123-45-67", "8~10~7 916 123 45 67"),
    "\u202e+79161234567",  # it is shown from the right to the left
    # Prefixes that exclude each other, and wrong counts of digits.
    *("+7 8 916 123 45 67", "+7 (8) 916 123-45-67", "007 8 9161234567", "00 00 7 916 123 45 67", "+0079161234567"),
    *("+0 916 123 45 67", "810 7 8 916 123 45 67", "8 8 916 123 45 67", "7 8 9161234567", "+49 (0) 89 123456"),
    *(
        "0049 (0) 89 123456",
        "+44(0)20 7946 0958",
        "008 10 7 916 123 45 67 00",
        "916123456",
        "791612345678",
        "380441234567",
    ),
    *("1234567890123456", "+1234567890123456", "9" * 26, "+7916123456789012", "+998 12345678901234567", "+7916" * 20),
    *("\ud800", "79161234567\udc80", "7\ufe0f\u20e39161234567", "①9161234567", "+７９１６１２３４５６７．０"),
]
"""What is no number, or may be another than it seems."""


def is_encodable(text: str) -> bool:
    """Whether the text can be sent: half of a surrogate pair is no character."""
    return text.encode("utf-8", "ignore").decode() == text


INVISIBLE = "".join(
    map(
        chr,
        [0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202E), 0x2060, *range(0x2066, 0x206A), 0xFEFF],
    )
)
SPACES = [" ", "\t", "\u00a0", "\u2009", "\u202f", "\u3000", "  "]
DASHES = ["-", "\u00ad", "\u2010", "\u2011", "\u2013", "\u2014", "\u2212", "－", " - ", "- "]
DOTS = [".", "．", ". "]
BRACKETS = ["()", "[]", "（）"]
ZEROS = [chr(code) for code in range(0x110000) if unicodedata.decimal(chr(code), None) == 0]
"""The zero of every script; its other digits follow it."""


class Spelling(NamedTuple):
    """A text, and the number that it writes."""

    text: str
    number: int


class _Digits(NamedTuple):
    plus: str
    digits: str
    number: int


_PLUSES = st.sampled_from(["+", "＋", "+ "])
# No Russian trunk prefix behind the calling code: that is refused.
_NUMBERS = st.one_of(st.integers(1_000, 10**15 - 1), st.integers(70_000_000_000, 79_999_999_999)).filter(
    lambda number: not 780_000_000_000 <= number < 790_000_000_000
)
_FOREIGN = _NUMBERS.filter(lambda number: number > 10**8)  # behind 810, fewer digits may be a number at home
_AT_HOME = st.integers(100_000_000, 9_999_999_999).map(lambda number: f"{number:010}")
_DIGITS = st.one_of(
    st.builds(lambda plus, number: _Digits(plus, str(number), number), _PLUSES, _NUMBERS),
    _NUMBERS.map(lambda number: _Digits("", f"00{number}", number)),
    _FOREIGN.map(lambda number: _Digits("", f"810{number}", number)),
    st.builds(
        lambda prefix, digits: _Digits("", prefix + digits, int("7" + digits)),
        st.sampled_from(["", "7", "8"]),
        _AT_HOME,
    ),
)
_BEFORE = st.sampled_from(["", "", "", " ", "\t", "\n", "'", " '", "tel:", "TEL: ", "'Tel:", "\u3000"])
_BEHIND = st.sampled_from(["", "", "", " ", "\t", "\n", "\r\n", " \n "])


@st.composite
def spellings(draw: st.DrawFn) -> Spelling:
    """Any number, in any form that is read in Russia, with all that may stand between its digits."""
    plus, digits, number = draw(_DIGITS)
    cuts = sorted(draw(st.sets(st.integers(1, len(digits) - 1), max_size=6)))
    groups = [digits[first:last] for first, last in pairwise([0, *cuts, len(digits)])]
    gaps = draw(st.lists(st.sampled_from(SPACES + DASHES + DOTS), min_size=len(cuts), max_size=len(cuts)))
    bracketed = draw(st.sampled_from([None, *(i for i, group in enumerate(groups[:-1]) if group != "0")]))
    if bracketed is not None:
        opening, closing = draw(st.sampled_from(BRACKETS))
        groups[bracketed] = opening + groups[bracketed] + closing
    if sum(gap in DOTS for gap in gaps) == 1 and gaps[-1] in DOTS and len(groups[-1]) == 1:
        gaps[-1] = "-"  # .0
    elif bracketed is None and sum(gap in DOTS for gap in gaps) in {1, 3} and not any(gap in DASHES for gap in gaps):
        gaps = [" " if gap in DOTS else gap for gap in gaps]  # a decimal number, or a network address
    text = "".join(gap + group for gap, group in zip(["", *gaps], groups, strict=True))
    zero = ord(draw(st.one_of(st.just("0"), st.sampled_from(ZEROS))))
    text = "".join(chr(zero + int(one)) if one in "0123456789" else one for one in text)
    before = draw(_BEFORE)
    text = draw(_with_invisible(plus + text + draw(_BEHIND)))
    return Spelling(before + text, number)


@st.composite
def _with_invisible(draw: st.DrawFn, text: str) -> str:
    for mark in draw(st.lists(st.sampled_from(INVISIBLE), max_size=2)):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + mark + text[place:]
    return text
