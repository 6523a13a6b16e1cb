"""Reads a code or a word out of what a person typed, or what their phone and keyboard made of it.

Nothing is guessed: a text either has what a code or a word looks like, once it is written in one alphabet, or it has
none. To look at several places of a text for a word gives little away: a text has some hundreds of places at most, and
of 32^6 words, about 10^9, one is right. So by chance a text holds the word of a verification once in a million.
"""

import re
import unicodedata

from numcheck.registrations.codes import INBOUND_LENGTH, INBOUND_LETTERS
from numcheck.registrations.policy import Method

TEXT_LENGTH_MAX = 1_000  # characters that are looked at

IGNORED = frozenset({"Cf", "Mn", "Me"})
"""Categories of marks that are not seen, or only seen on another character: a zero width space, an emoji's variant."""

# What looks the same as a letter or digit of a word, by the keyboard that its reader has: Cyrillic and Greek capitals.
LOOKALIKES = str.maketrans("АВЕЗКМНРСТУХЅЈԚԜΑΒΕΖΗΚΜΝΡΤΥΧ", "ABE3KMHPCTYXSJQWABEZHKMNPTYX")

CODE_LENGTHS = {method.code_digits for method in Method} - {0}
CODE_GAP = re.compile(r"(?<=[0-9])[\s.\-]+(?=[0-9])")
DIGITS = re.compile("[0-9]+")
# Lines beside the code of a short message, for phones that fill it in (`delivery/texts.py`): an app's hash, a domain.
FOR_PHONES = re.compile(r"^[A-Za-z0-9+/]{11}$|@\S+", re.MULTILINE)
WORD_GAP = "[ -]"
WIDE_GAP = re.compile(r"\s+-?\s*|-\s+")  # as wide as people make it


def _pieces(size: int) -> str:
    """Return the pattern of a word that is written in pieces of one size: ABCDEF, ABC-DEF, AB CD EF."""
    piece = f"[{INBOUND_LETTERS}]{{{size}}}"
    return piece + (WORD_GAP + piece) * (INBOUND_LENGTH // size - 1)


# A lookahead, as matches may overlap: the end of one word and the beginning of the next make a third.
WORDS = [re.compile(rf"(?<![{INBOUND_LETTERS}])(?=({_pieces(size)})(?![{INBOUND_LETTERS}]))") for size in (6, 3, 2, 1)]


def code_in(text: str) -> str | None:
    """Return the code that a text holds, of as many digits as some step's code has; None if it holds none.

    The digits may be of whatever script; spaces, dashes and full stops may stand between them, words around them. There
    is no other number, but the same one may come again, as it does in a short message that is given whole.
    """
    found = set(DIGITS.findall(CODE_GAP.sub("", FOR_PHONES.sub("", _plain(text)))))
    code = found.pop() if len(found) == 1 else ""
    return code if len(code) in CODE_LENGTHS else None


def words_in(text: str) -> set[str]:
    """Return what a text holds that may be a word: six of its letters and digits in a row, whole or in pieces of one
    size."""
    plain = WIDE_GAP.sub(" ", _plain(text)).upper().translate(LOOKALIKES)
    return {re.sub(WORD_GAP, "", word) for pattern in WORDS for word in pattern.findall(plain)}


def _plain(text: str) -> str:
    """Return the beginning of a text with each character in its plainest form, and without those that are not seen."""
    return "".join(_plain_character(character) for character in unicodedata.normalize("NFKC", text[:TEXT_LENGTH_MAX]))


def _plain_character(character: str) -> str:
    category = unicodedata.category(character)
    if category in IGNORED:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "-" if category == "Pd" or character == "\N{MINUS SIGN}" else character
