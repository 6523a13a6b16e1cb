"""The structure of a country's numbers, which a registry's rows leave out as everybody there knows it."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Country:
    """A country's numbering: calling code, then a code, then a subscriber's digits, all of fixed length.

    `first_digits` are the digits that its codes may start with, `mobile_codes` the codes of mobile networks.
    """

    calling_code: int
    national_length: int
    code_length: int
    mobile_codes: range
    first_digits: str
    name: str

    @property
    def subscriber_length(self) -> int:
        """Count of digits after the code."""
        return self.national_length - self.code_length

    @property
    def numbers_per_code(self) -> int:
        """Count of numbers under a code; the first of them is a multiple of it."""
        return _ten_to(self.subscriber_length)

    @property
    def first_number(self) -> int:
        """The lowest number that the country's length and calling code allow."""
        return self.calling_code * _ten_to(self.national_length)

    @property
    def last_number(self) -> int:
        """The highest number that the country's length and calling code allow."""
        return self.first_number + _ten_to(self.national_length) - 1

    def __contains__(self, number: int) -> bool:
        return self.first_number <= number <= self.last_number

    def number(self, code: int, subscriber: int) -> int:
        """Return the number that a code and a subscriber's digits make; the caller has checked their lengths."""
        return self.first_number + code * self.numbers_per_code + subscriber

    def code(self, number: int) -> int:
        """Return the code of one of the country's numbers."""
        return (number - self.first_number) // self.numbers_per_code

    def codes(self) -> Iterator[int]:
        """Every code that may exist, allotted or not, ascending."""
        size = _ten_to(self.code_length - 1)
        for digit in sorted(map(int, self.first_digits)):
            yield from range(digit * size, (digit + 1) * size)

    def is_mobile(self, number: int) -> bool:
        """Return True if the number lies in a code of mobile networks, allotted or not."""
        return number in self and self.code(number) in self.mobile_codes

    def series(self, number: int) -> str:
        """Return the first digit of the number's code: the regulator publishes one file for each."""
        return str((number - self.first_number) // _ten_to(self.national_length - 1))

    def series_bounds(self, series: str) -> tuple[int, int]:
        """Return the first and the last number of a series, both inclusive."""
        size = _ten_to(self.national_length - 1)
        first = self.first_number + int(series) * size
        return first, first + size - 1


def _ten_to(exponent: int) -> int:
    power: int = 10**exponent  # typed here: a negative exponent would give a float
    return power


RUSSIA = Country(
    calling_code=7,
    national_length=10,
    code_length=3,
    mobile_codes=range(900, 1000),
    first_digits="3489",
    name="Russia",
)

COUNTRIES = {country.calling_code: country for country in (RUSSIA,)}


def country_of(calling_code: int) -> Country:
    """Return the country of a calling code; KeyError if this program knows none."""
    return COUNTRIES[calling_code]
