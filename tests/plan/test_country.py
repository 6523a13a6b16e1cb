"""How numbers of a country are built."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.plan import RUSSIA, Country, country_of

TINY = Country(
    calling_code=990, national_length=4, code_length=2, mobile_codes=range(50, 60), first_digits="05", name="Tiny"
)


def test_number_space_is_what_length_and_calling_code_allow():
    assert (RUSSIA.first_number, RUSSIA.last_number) == (70000000000, 79999999999)
    assert (TINY.first_number, TINY.last_number) == (9900000, 9909999)


@pytest.mark.parametrize("country", [RUSSIA, TINY], ids=lambda country: country.name)
@given(data=st.data())
def test_number_gives_its_code_back(country, data):
    code = data.draw(st.sampled_from(list(country.codes())))
    number = country.number(code, data.draw(st.integers(0, country.numbers_per_code - 1)))
    assert country.code(number) == code
    assert number in country


def test_codes_are_those_with_a_possible_first_digit():
    assert len(list(RUSSIA.codes())) == 400
    assert list(TINY.codes()) == [*range(10), *range(50, 60)]


@pytest.mark.parametrize(
    ("number", "mobile"),
    [
        (79000000000, True),
        (79999999999, True),
        (78999999999, False),
        (74950000000, False),
        (80000000000, False),  # past the country's last
        (9000000000, False),
    ],
)
def test_is_mobile_only_inside_of_mobile_codes(number, mobile):
    assert RUSSIA.is_mobile(number) is mobile


@given(st.integers(RUSSIA.first_number, RUSSIA.last_number))
def test_series_bounds_hold_the_numbers_of_the_series(number):
    first, last = RUSSIA.series_bounds(RUSSIA.series(number))
    assert first <= number <= last
    assert RUSSIA.series(first) == RUSSIA.series(last) == str(number)[1]


def test_country_is_found_by_calling_code():
    assert country_of(7) is RUSSIA
    with pytest.raises(KeyError):
        country_of(990)
