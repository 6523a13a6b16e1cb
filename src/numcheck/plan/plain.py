"""Plain text, as names and regions must be: terminals, logs and spreadsheets show it, and do nothing else."""

import re
import unicodedata

# Categories of Unicode: controls (ESC, C1, tab, line ends), formats (bidi overrides, invisible marks), halves of
# surrogate pairs, private use, unassigned; separators of lines and paragraphs.
UNSHOWN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
FORMULA_STARTS = ("=", "+", "-", "@")  # what makes a spreadsheet run a cell; full-width forms of them do as well
TEXT_LENGTH_MAX = 512  # characters
LETTERS = re.compile(r"[^\W_]")
LOST = ("?", "\ufffd")  # what stands for a character that an encoding did not have


def text_fault(text: str) -> str | None:
    """Return what is wrong with a name or a region, in words that repeat nothing of it; None if nothing is.

    A lone sign, such as the hyphen that the registry writes for nothing, is no formula.
    """
    if len(text) > TEXT_LENGTH_MAX:
        return f"a text of more than {TEXT_LENGTH_MAX} characters"
    if any(unicodedata.category(character) in UNSHOWN for character in text):
        return "a control or an invisible character in a text"
    if any(sign in text for sign in LOST):
        return "a text that lost characters: there are question marks in their place"
    start = unicodedata.normalize("NFKC", text).lstrip()
    if start.startswith(FORMULA_STARTS) and LETTERS.search(start):
        return "a text that a spreadsheet would run as a formula"
    return None
