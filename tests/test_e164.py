"""Text to number and back: what people write is read, nothing else is raised, and a masked number tells nobody."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from numcheck.e164 import (
    NATIONAL_FORMS,
    NUMBER_DIGITS_MAX,
    NUMBER_DIGITS_MIN,
    NUMBER_MAX,
    TEXT_SIZE_MAX,
    format_number,
    masked,
    parse,
)
from numcheck.errors import NotANumber

SEPARATORS = ["", " ", "-", ".", "(", ")", "\u00a0", "\u2010", "\u2011", "\u2012", "\u2013", " - ", ") "]
NUMBERS = st.integers(10 ** (NUMBER_DIGITS_MIN - 1), 10**NUMBER_DIGITS_MAX - 1)
NATIONAL_NUMBERS = st.integers(0, 10**10 - 1).map(lambda number: f"{number:010d}")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+79161234567", 79161234567),
        ("+7 916 123-45-67", 79161234567),
        ("+7 (916) 123-45-67", 79161234567),
        ("+7.916.123.45.67", 79161234567),
        ("  +79161234567\t\n", 79161234567),
        ("79161234567", 79161234567),
        ("89161234567", 79161234567),
        ("8 (916) 123-45-67", 79161234567),
        ("9161234567", 79161234567),
        ("916 123 45 67", 79161234567),
        ("tel:+7-916-123-45-67", 79161234567),
        ("tel:9161234567;phone-context=+7", 79161234567),
        ("+7 916 123-45-67 доб. 5", 79161234567),
        ("＋７９１６１２３４５６７", 79161234567),
        ("٨٩١٦١٢٣٤٥٦٧", 79161234567),
        ("810 7 916 123 45 67", 79161234567),
        ("+380 44 123-45-67", 380441234567),
        ("+1 (415) 555-0100", 14155550100),
        ("+39 06 1234 5678", 390612345678),
        ("+7 495 123-45-67", 74951234567),
        ("88005553535", 78005553535),
        ("+70000000000", 70000000000),
        ("+1234567", 1234567),
        ("+999999999999999", 999999999999999),
        ("+7916", 7916),
        ("112", 7112),
    ],
)
def test_number_is_read_when_a_person_writes_it(text, number):
    assert parse(text, "RU") == number


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("(415) 555-0100", "US", 14155550100),
        ("1 415 555 0100", "US", 14155550100),
        ("044 123-45-67", "UA", 380441234567),
        ("8 777 123 45 67", "KZ", 77771234567),
        ("+79161234567", "US", 79161234567),
        ("+79161234567", "ZZ", 79161234567),
    ],
)
def test_national_number_is_read_as_its_region_writes_it(text, region, number):
    """A region without a form of its own is the library's affair; an international number needs no region."""
    assert parse(text, region) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\0", "+", "-", "😀", "number", "+7", "+x", "+-", "8", "0", "tel:", ";phone-context=+7"),
        *(
            "+0079161234567",
            "+999",
            "1e10",
            "\ud800",
            "9" * 26,
            "+7916123456789012",
            "+998 12345678901234567",
            "+7916" * 20,
        ),
    ],
)
def test_text_is_refused_when_it_is_no_number(text):
    with pytest.raises(NotANumber, match="the text"):
        parse(text, "RU")


def test_national_number_is_refused_when_the_region_is_unknown():
    with pytest.raises(NotANumber):
        parse("9161234567", "ZZ")


def test_text_is_refused_unread_when_it_is_too_long():
    """250 characters are read, 251 are not; the message tells the bound and not the text."""
    assert parse("+79161234567".ljust(TEXT_SIZE_MAX), "RU") == 79161234567
    with pytest.raises(NotANumber, match="251 characters; a number has at most 250"):
        parse("+79161234567".ljust(TEXT_SIZE_MAX + 1), "RU")


@given(NUMBERS, st.data())
def test_number_reads_back_however_it_is_separated(number, data):
    """Any number of 7 to 15 digits, with separators between any two digits, in any region."""
    separators = data.draw(st.lists(st.sampled_from(SEPARATORS), min_size=len(str(number)), max_size=len(str(number))))
    text = "+" + "".join(digit + separator for digit, separator in zip(str(number), separators, strict=True))
    assert parse(text, data.draw(st.sampled_from(["RU", "US", "ZZ"]))) == number


@given(NUMBERS)
def test_formatted_number_reads_back(number):
    text = format_number(number)
    assert text == f"+{number}"
    assert parse(text, "RU") == number


@given(NATIONAL_NUMBERS)
def test_national_forms_of_a_number_are_one_number(digits):
    """Ten digits, alone or behind the calling code or the trunk prefix."""
    calling_code, trunk_prefix, size = NATIONAL_FORMS["RU"]
    assert len(digits) == size
    wanted = int(calling_code + digits)
    for prefix in ("", calling_code, trunk_prefix, f"+{calling_code}"):
        assert parse(prefix + digits, "RU") == wanted


PIECES = st.sampled_from(
    [
        "+",
        "7",
        "8",
        "00",
        "810",
        "9161234567",
        "tel:",
        ";ext=5",
        ";phone-context=",
        "+7",
        " x12",
        "#",
        "*",
        "доб.",
        "，",
        "\u200e",
    ]
)


@settings(max_examples=400)
@given(st.one_of(st.text(max_size=TEXT_SIZE_MAX + 10), st.lists(PIECES, max_size=12).map("".join)))
@example("tel:+7916;phone-context=+7")
@example("+" + "9" * 17)
@example("+998" + "9" * 17)
@example("0" * TEXT_SIZE_MAX)
def test_nothing_but_not_a_number_is_raised_whatever_the_text(text):
    """And what is read has at most fifteen digits."""
    for region in ("RU", "US"):
        try:
            number = parse(text, region)
        except NotANumber:
            continue
        assert 0 <= number <= NUMBER_MAX


@given(st.integers(0, 2**64 - 1))
def test_masked_number_shows_none_of_its_last_seven_digits(number):
    """And shows the same for every number that differs in those alone."""
    shown = masked(number)
    assert shown == f"+{number // 10**7}*******"
    assert shown == masked(number - number % 10**7) == masked(number - number % 10**7 + 9_999_999)


def test_masked_number_shows_country_and_code():
    assert masked(79161234567) == "+7916*******"
