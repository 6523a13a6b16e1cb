"""Cells in each other's stead: a place where the operator is due, or an operator where the place is.

Exchanged columns, or cells of some rows, would give numbers to a holder named `г. Москва`. A plan to compare with shows
that as a move; without one only the words do. A cell is judged where its own words leave no doubt: `Гохран России` has
no legal form and is an operator all the same, and so is `МП "Городской округ"`.
"""

import re
from functools import lru_cache

PAIRS_KEPT = 10_000  # the longest of the real files has 3,600 different ones

# Words in one case. `ао` is a legal form in front of a name, and a district behind that of a people.
_FORM = re.compile(
    r"^\W*ао\b|\b(ооо|оао|зао|пао|нао|тоо|ип|ано|фгуп|гуп|муп|фкп|(г|м|фг)(б|к|а)о?у|общество|предприятие|учреждение|"
    r"компания|корпорация|организация|администрация|министерство|университет|институт)\b"
)
_QUOTE = re.compile(r'["«»“”„]')
_PLACE = re.compile(
    r"\b(область|обл|край|республика|респ|федерация|районы?|р-ны?|округ)\b|^\W*(г|гор|город|пгт)\b|"
    r"(ненецк|чукотск|мансийск|пермяцк|бурятск|корякск|таймырск|эвенкийск).*\bао\b"
)
# Places by their names alone: whole cells.
_PLACES = re.compile(
    r"москва|санкт-петербург|севастополь|байконур|россия|адыгея|алтай|башкортостан|башкирия|бурятия|дагестан|ингушетия|"
    r"кабардино-балкария|калмыкия|карачаево-черкессия|карелия|коми|крым|марий эл|мордовия|(саха )?\(?якутия\)?|саха|"
    r"северная осетия( ?[-–] ?алания)?|татарстан|тыва|тува|удмуртия|хакасия|чечня|чувашия|югра|ямал|кузбасс"
)


@lru_cache(PAIRS_KEPT)
def exchanged_fault(operator: str, place: str) -> str | None:
    """Return what is wrong with a row's operator and place, in words that repeat neither; None if nothing is."""
    if _is_digits(operator):
        return "digits where the operator's name is due: columns may be exchanged"
    if _is_place(operator):
        return "a place where the operator's name is due: columns may be exchanged"
    if _is_operator(place):
        return "an operator where the place is due: columns may be exchanged"
    return None


def _is_digits(text: str) -> bool:
    return any(map(str.isdigit, text)) and not any(map(str.isalpha, text))


def _is_place(text: str) -> bool:
    folded = _folded(text)
    return _names_place(folded) and not (_FORM.search(folded) or _QUOTE.search(folded))


def _is_operator(text: str) -> bool:
    folded = _folded(text)
    return _FORM.search(folded) is not None and not _names_place(folded)


def _names_place(folded: str) -> bool:
    return _PLACE.search(folded) is not None or _PLACES.fullmatch(folded) is not None


def _folded(text: str) -> str:
    return " ".join(text.casefold().replace("ё", "е").split())
