"""Cells that a spreadsheet takes for text and never for a formula, as OWASP advises (CSV Injection).

A cell that begins with =, +, -, @, a tab or a carriage return, be it behind spaces or as wide as an ideograph, gets an
apostrophe in front. So does what would be such a cell of its own for a program that takes another delimiter than ours:
in many countries a spreadsheet divides cells by semicolons, and quotes that begin within a line are nothing to it. A
cell that is only a signed number or a telephone number stays as it is: it holds nothing to call, and other programs
read it.
"""

import csv
import io
import re
from collections.abc import Iterable

_SPACES = r"[ \u00a0]*"
_SIGNS = r"=+\-@＝＋－＠−"
_SEPARATORS = r"[ .()\u00a0\u2007\u2009\u202f\u2010-\u2015-]{0,3}"
_HARMLESS = rf"{_SPACES}(?:[+-]?\d+(?:[.,]\d+)?|\+\d(?:{_SEPARATORS}\d){{6,14}}){_SPACES}"
_ENDS = r'\n;,\t|"'  # of cells: a program may take another delimiter than ours
_NO_NUMBER = rf"(?!{_HARMLESS}\r?(?:$|[{_ENDS}]))"


def _formula(apostrophes: str) -> re.Pattern[str]:
    """Return a pattern of where a formula begins, behind so many apostrophes."""
    begins = rf"\A(?={apostrophes}{_SPACES}[{_SIGNS}\t\r])|[{_ENDS}](?={apostrophes}{_SPACES}[{_SIGNS}])"
    return re.compile(rf"({begins})({apostrophes}){_NO_NUMBER}")


_FORMULA, _GUARDED = _formula(""), _formula("'*+")


def may_hold_formula(text: str) -> bool:
    """Return True if a cell that begins in this text, a cell or lines, may be taken for a formula, whatever the
    delimiter.

    Yes may be said for no: a tab is a delimiter, and also how a formula may begin.
    """
    return _FORMULA.search(text) is not None


def as_text(cell: str) -> str:
    """Return a cell as a spreadsheet takes it for text."""
    return _FORMULA.sub(r"\1'", cell)


def guarded(cell: str) -> str:
    """Return the same in such a way that `unguarded` gives the cell back, whatever it is."""
    return _GUARDED.sub(r"\1'\2", cell)


def unguarded(cell: str) -> str:
    """Return what `guarded` was given."""
    return _GUARDED.sub(lambda found: found[1] + found[2][1:], cell)


def written(cells: Iterable[str], delimiter: str, *, quote_all: bool = False) -> str:
    """Return cells as a line of CSV without its end."""
    line = io.StringIO()
    form = csv.writer(
        line, delimiter=delimiter, lineterminator="", quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    )
    form.writerow(map(as_text, cells))
    return line.getvalue()
