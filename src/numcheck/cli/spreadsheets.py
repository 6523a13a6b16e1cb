"""Cells that a spreadsheet takes for text and never for a formula, as OWASP advises (CSV Injection).

A cell that begins with =, +, -, @, a tab or a carriage return, be it behind spaces or as wide as an ideograph, gets an
apostrophe in front. A cell that is only a signed number or a telephone number stays as it is: it holds nothing to call,
and other programs read it.
"""

import csv
import io
import re
from collections.abc import Iterable

_SPACES = r"[ \u00a0]*"
_STARTS = r"[=+\-@\t\r＝＋－＠−]"
_SEPARATORS = r"[ .()\u00a0\u2007\u2009\u202f\u2010-\u2015-]{0,3}"
_HARMLESS = rf"{_SPACES}(?:[+-]?\d+(?:[.,]\d+)?|\+\d(?:{_SEPARATORS}\d){{6,14}}){_SPACES}"
_ENDS = r'\n;,\t|"'  # of cells: a program may take another delimiter than ours
_FORMULA = re.compile(rf"[{_ENDS}](?={_SPACES}{_STARTS})(?!{_HARMLESS}\r?(?:$|[{_ENDS}]))")
_BEGINS_FORMULA = re.compile(rf"(?={_SPACES}{_STARTS})(?!{_HARMLESS}$)")


def may_hold_formula(text: str) -> bool:
    """Return True if a cell that begins in this text, a cell or lines, may be taken for a formula, whatever the
    delimiter.

    Yes may be said for no: a tab is a delimiter, and also how a formula may begin.
    """
    return _FORMULA.search(f"\n{text}") is not None


def as_text(cell: str) -> str:
    """Return a cell as a spreadsheet takes it for text."""
    return f"'{cell}" if _BEGINS_FORMULA.match(cell) else cell


def guarded(cell: str) -> str:
    """Return the same in such a way that `unguarded` gives the cell back, whatever it is."""
    return f"'{cell}" if _BEGINS_FORMULA.match(cell.lstrip("'")) else cell


def unguarded(cell: str) -> str:
    """Return what `guarded` was given."""
    return cell[1:] if cell[:1] == "'" and _BEGINS_FORMULA.match(cell.lstrip("'")) else cell


def written(cells: Iterable[str], delimiter: str, *, quote_all: bool = False) -> str:
    """Return cells as a line of CSV without its end."""
    line = io.StringIO()
    form = csv.writer(
        line, delimiter=delimiter, lineterminator="", quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    )
    form.writerow(map(as_text, cells))
    return line.getvalue()
