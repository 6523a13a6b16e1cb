"""Text as a terminal or a log may show it: no character of it moves the cursor, changes a colour or turns the order."""

import re

_UNPRINTABLE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: ESC, newlines, the one-character CSI
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of direction
    "\u206a-\u206f\ufff9-\ufffb"  # deprecated format characters, and those of annotations
    "]"
)


def printable(text: str) -> str:
    """Return the text in one line, with each character that a terminal would act on as its escape, such as \\u001b.

    The escape is also that of JSON, so a JSON text of one line stays the same value.
    """
    if text.isprintable():  # in a tenth of the time: none of them is
        return text
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
