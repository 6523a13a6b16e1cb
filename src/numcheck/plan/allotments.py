"""A numbering plan from rows that a program sends, each a range and whose it is, instead of from a registry's file."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from numcheck.errors import BadPlan
from numcheck.plan.country import Country
from numcheck.plan.exchanged import exchanged_fault
from numcheck.plan.holders import HolderBook
from numcheck.plan.model import NumberingPlan, Range
from numcheck.plan.overlaps import find_overlaps
from numcheck.plan.plain import text_fault
from numcheck.plan.rows import TAX_ID_LENGTHS, Row


class Allotment(NamedTuple):
    """A range of numbers, first and last inclusive, and its holder; `tax_id` and `region` may be empty."""

    first: int
    last: int
    operator_name: str
    tax_id: str
    region: str


def plan_of(country: Country, series: Collection[str], allotments: Sequence[Allotment]) -> NumberingPlan:
    """Return the plan of these allotments; BadPlan names the first that is wrong. `series`: what they may speak of."""
    if not allotments:
        raise BadPlan("rows", "the plan has no row")
    rows = [row for place, one in enumerate(allotments) for row in _rows(country, series, place, one)]
    for index in sorted(find_overlaps(rows)):
        raise BadPlan("rows", f"row {rows[index].line_number} overlaps an earlier one")
    book = HolderBook(rows)
    ranges = sorted(Range(row.first, row.last, book.key(row), row.region) for row in rows)
    return NumberingPlan(country, tuple(ranges), book.holders)


def _rows(country: Country, series: Collection[str], place: int, one: Allotment) -> Iterator[Row]:
    """Yield the rows of an allotment: one for each code that it reaches into."""
    _check(country, series, place, one)
    first = one.first
    while first <= one.last:
        last = min(first - first % country.numbers_per_code + country.numbers_per_code - 1, one.last)
        yield Row(first, last, one.operator_name, one.tax_id, one.region, "", place)
        first = last + 1


def _check(country: Country, series: Collection[str], place: int, one: Allotment) -> None:
    if one.first > one.last or one.first not in country or one.last not in country:
        raise BadPlan("rows", f"row {place} is no range of {country.name}")
    if not {country.series(one.first), country.series(one.last)} <= set(series):
        raise BadPlan("rows", f"row {place} is of a series that the country does not have or the header does not name")
    if not one.operator_name.strip() and not one.tax_id:
        raise BadPlan("rows", f"row {place} names no operator and no tax id")
    if one.tax_id and not (one.tax_id.isascii() and one.tax_id.isdigit() and len(one.tax_id) in TAX_ID_LENGTHS):
        raise BadPlan("rows", f"row {place} has a tax id that is none")
    # A file without names leaves the tax id in their stead.
    name = "" if one.operator_name == one.tax_id else one.operator_name
    if fault := text_fault(name) or text_fault(one.region) or exchanged_fault(name, one.region):
        raise BadPlan("rows", f"row {place} has {fault}")
