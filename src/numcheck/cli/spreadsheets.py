"""Cells that a spreadsheet takes for text and never for a formula, as OWASP advises (CSV Injection).

A cell that begins with =, +, -, @, a tab or a carriage return, be it behind spaces or as wide as an ideograph, gets an
apostrophe in front. What is nothing but a signed number or a telephone number stays as it is: it holds nothing to call,
and other programs read it.
"""

import csv
import io
import re
from collections.abc import Iterable

_HARMLESS = r"[+-]?\d+(?:[.,]\d+)?|\+\d(?:[ \u00a0().-]?[ \u00a0().-]?\d){6,14}"
_ENDS = r';,\t|"'  # a reader may take another delimiter than ours
_DANGEROUS = re.compile(
    rf"(?:^|(?<=[{_ENDS}]))(?![ \u00a0]*(?:{_HARMLESS})[ \u00a0\r]*(?:$|[{_ENDS}]))[ \u00a0]*[=+\-@\t\r＝＋－＠−]",
    re.MULTILINE,
)
_BEGINS_FORMULA = re.compile(r"[ \u00a0]*[=+\-@\t\r＝＋－＠−]")
_IS_HARMLESS = re.compile(rf"[ \u00a0]*(?:{_HARMLESS})[ \u00a0]*")


def may_hold_formula(lines: str) -> bool:
    """Whether a cell of these lines may be taken for a formula, whatever the delimiter. Yes may be said for no."""
    return _DANGEROUS.search(lines) is not None


def as_text(cell: str) -> str:
    """Return a cell as a spreadsheet takes it for text."""
    return f"'{cell}" if _BEGINS_FORMULA.match(cell) and not _IS_HARMLESS.fullmatch(cell) else cell


def written(cells: Iterable[str], delimiter: str, *, quote_all: bool = False) -> str:
    """Return cells as a line of CSV without its end."""
    line = io.StringIO()
    form = csv.writer(
        line, delimiter=delimiter, lineterminator="", quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    )
    form.writerow(map(as_text, cells))
    return line.getvalue()
