"""Columns of a registry by its header: each cell names one of our columns, a known foreign one, or is uncertain.

Published headers and those of people who re-save them differ in wording ("Оператор", "Наименование оператора связи"),
case, order, and in Latin letters that look Cyrillic. Every wording is spelled out: a word that merely occurs places
nothing, as "ИНН оператора" is no operator and "Код региона" no region.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from numcheck.errors import BadRegistryFile

# Cyrillic letters that look like Latin ones; headers mix them.
LATIN_LOOKALIKES = str.maketrans("авекмнорстухё", "abekmhopctyxe")

WORDINGS = {
    "code": r"(коды? )?(авс|def|авс( или| и)? def)( коды?)?|коды?|префикс|code|prefix",
    "first": r"с|от|д1|начало( диапазона)?|(начальный|первый) номер|номер (с|от)|(с|от) номера|from|first",
    "last": r"по|до|д2|конец( диапазона)?|(конечный|последний) номер|номер (по|до)|(по|до) номера?|to|last",
    "capacity": r"(емкость|количество|кол во|объем)( номеров| нумерации| диапазона)?|capacity|count",
    "operator": r"((полное |краткое )?(наименование|название) )?оператора?( подвижной)?( связи)?|провайдер|"
    r"((наименование|название) )?(организаци[яи]|компани[яи])|наименование|название|(operator|provider)( name)?",
    "region": r"((наименование|название) )?региона?( рф)?|субъект( рф| российской федерации)?|region",
    "territory": r"территория( гар)?( оказания услуг( связи)?)?|territory",
    "tax_id": r"инн( оператора| организации| владельца)?( связи)?|inn|tax id",
}
STEMS = {
    "code": r"\b(код|авс|def|code)",
    "first": r"\b(с|от|нач\w*|перв\w*|from|first)\b",
    "last": r"\b(по|до|кон\w*|посл\w*|to|last)\b",
    "capacity": r"\b(емк|кол|capac)",
    "operator": r"\b(операт|провайд|наимен|назван|организац|компан|владел|operator|provider)",
    "region": r"\b(регион|субъект|region)",
    "territory": r"\b(территор|territor)",
    "tax_id": r"\b(инн|inn|tax)\b",
}
NAME_LENGTH_MAX = 40  # characters of a cell that are told
NAME_DIGITS_MAX = 4  # a cell with more may be a telephone number, and is told by its place alone
PATTERNS = {column: re.compile(wording.translate(LATIN_LOOKALIKES)) for column, wording in WORDINGS.items()}
STEM_PATTERNS = {column: re.compile(stem.translate(LATIN_LOOKALIKES)) for column, stem in STEMS.items()}

Placed = Sequence[str | None]
"""The column that each cell of a header names."""


class Header(NamedTuple):
    """The index of each column that a header names, and how each of its other cells is told."""

    columns: dict[str, int]
    unknown: list[str]


def read_header(name: str, line_number: int, cells: Sequence[str]) -> Header | None:
    """Return what a line names, or None if it is no header, or has not a word of a registry's.

    BadRegistryFile if two cells name the same column, if one may be a column that no other names, or if no cell names
    the code, an end of the range, or the operator.
    """
    folded = [_fold(cell) for cell in cells]
    is_header = not any(cell.strip().isdigit() for cell in cells)
    if not is_header or not any(stem.search(one) for stem in STEM_PATTERNS.values() for one in folded):
        return None
    placed = [next((column for column in PATTERNS if PATTERNS[column].fullmatch(one)), None) for one in folded]
    problem = _twice(placed) or _uncertain(cells, folded, placed) or _missing(folded, placed)
    if problem:
        raise BadRegistryFile(f"{name}:{line_number}: {problem}")
    columns = {column: index for index, column in enumerate(placed) if column is not None}
    return Header(columns, [_told(cells, index) for index, column in enumerate(placed) if column is None])


def _twice(placed: Placed) -> str:
    twice = sorted({column for column in placed if column is not None and placed.count(column) > 1})
    return f"two columns are the {_words(twice)} by the header" if twice else ""


def _uncertain(cells: Sequence[str], folded: Sequence[str], placed: Placed) -> str:
    for index, one in enumerate(folded):
        for column, stem in STEM_PATTERNS.items():
            if placed[index] is None and column not in placed and stem.search(one):
                return f"it is uncertain whether {_told(cells, index)} is the {_words([column])}"
    return ""


def _missing(folded: Sequence[str], placed: Placed) -> str:
    missing = [column for column in ("code", "first", "last") if column not in placed]
    # With a tax id the operator's name is needed only if it may be in one of the columns that have unknown names.
    unknown = any(one and column is None for one, column in zip(folded, placed, strict=True))
    if "operator" not in placed and ("tax_id" not in placed or unknown):
        missing.append("operator")
    return f"no column is the {_words(missing)} by the header" if missing else ""


def _words(columns: Sequence[str]) -> str:
    words = {"first": "first number", "last": "last number", "tax_id": "tax id"}
    return ", the ".join(words.get(column, column) for column in columns)


def _told(cells: Sequence[str], index: int) -> str:
    """Return how a column is told: by its place, and by its name if that is one."""
    text = " ".join(cells[index].split())
    is_name = text.isprintable() and sum(map(str.isdigit, text)) <= NAME_DIGITS_MAX and 0 < len(text) <= NAME_LENGTH_MAX
    return f"column {index + 1} ({text})" if is_name else f"column {index + 1}"


def _fold(text: str) -> str:
    """Return words in one case and one alphabet, with single spaces between them."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(LATIN_LOOKALIKES)
    return " ".join(re.findall(r"[^\W_]+", folded))
