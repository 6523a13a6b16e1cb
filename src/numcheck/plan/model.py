"""The numbering plan in memory: ranges and the operators that hold them."""

import unicodedata
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from numcheck.plan.country import Country

# Quotation marks, apostrophes, primes and the accents typed in their place, full-width ones as well.
QUOTES = "\"'`´ʼ«»‘’‚‛“”„‟‹›′″‴〝〞〟＂＇"
WITHOUT_QUOTES = dict.fromkeys(map(ord, QUOTES))


def fold_name(text: str) -> str:
    """Return the form in which two spellings of one operator's name are equal: no case, no quotes, no ё, single
    spaces."""
    plain = unicodedata.normalize("NFKC", text.translate(WITHOUT_QUOTES))
    # Lower case can come out decomposed, so it is composed again before ё is looked for.
    folded = unicodedata.normalize("NFKC", plain.casefold()).replace("ё", "е")
    return " ".join(folded.split())


@dataclass(frozen=True, slots=True)
class Holder:
    """An operator as the plan knows it: by tax id where the registry gives it, else by folded name.

    `key` is `inn:` and the tax id, or `name:` and the folded name. `name` is for display; `folded_names` are all
    spellings that the registry uses for this holder.
    """

    key: str
    tax_id: str | None
    name: str
    folded_names: frozenset[str]


class Range(NamedTuple):
    """A contiguous allocation of numbers to one operator; first and last are inclusive."""

    first: int
    last: int
    holder_key: str
    region: str

    @property
    def size(self) -> int:
        """Count of numbers in the range."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class NumberingPlan:
    """Allocated ranges and their holders.

    Invariants, checked once here with a ValueError: the ranges ascend and are disjoint; each lies within one code of
    the country, so that it is mobile or not, and of one series, as a whole; each holder key is in `holders`.
    """

    country: Country
    ranges: tuple[Range, ...]
    holders: Mapping[str, Holder]

    def __post_init__(self) -> None:
        if not all(one.first <= one.last for one in self.ranges):
            raise ValueError("a range ends before it starts")
        if not all(one.last < other.first for one, other in pairwise(self.ranges)):
            raise ValueError("ranges overlap or are out of order")
        if self.ranges and not (self.ranges[0].first in self.country and self.ranges[-1].last in self.country):
            raise ValueError(f"a range is outside of {self.country.name}")
        size = self.country.numbers_per_code
        if not all(one.first // size == one.last // size for one in self.ranges):
            raise ValueError("a range reaches over the end of its code")
        if not self.holders.keys() >= {one.holder_key for one in self.ranges}:
            raise ValueError("a range has a holder that is not listed")

    def allots_any(self, numbers: Iterable[int]) -> bool:
        """Return True if any of the numbers lies in a range."""
        firsts = [one.first for one in self.ranges]
        places = ((bisect_right(firsts, number) - 1, number) for number in numbers)
        return any(place >= 0 and number <= self.ranges[place].last for place, number in places)

    @property
    def number_count(self) -> int:
        """Count of allotted numbers."""
        return sum(one.last - one.first + 1 for one in self.ranges)

    @property
    def codes(self) -> frozenset[int]:
        """The codes that have a range."""
        return frozenset(map(self.country.code, {one.first for one in self.ranges}))

    @property
    def series(self) -> frozenset[str]:
        """The series that the ranges speak of."""
        return frozenset(self.country.series(self.country.number(code, 0)) for code in self.codes)

    def part(self, series: Collection[str]) -> "NumberingPlan":
        """Return the plan of these series alone."""
        ranges = tuple(one for one in self.ranges if self.country.series(one.first) in series)
        keys = {one.holder_key for one in ranges}
        return NumberingPlan(self.country, ranges, {key: self.holders[key] for key in self.holders if key in keys})

    def totals(self) -> dict[str, int]:
        """Return how many numbers each holder has, by holder key."""
        totals: dict[str, int] = defaultdict(int)
        for one in self.ranges:
            totals[one.holder_key] += one.last - one.first + 1
        return dict(totals)
