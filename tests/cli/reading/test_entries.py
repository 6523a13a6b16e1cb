"""A line says one thing: a number or a range, in service or no more; whatever is not understood is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.cli.reading.entries import BadEntry, Entry, read, read_lines

NUMBER, LAST = 79_160_008_001, 79_160_008_099


@pytest.mark.parametrize(
    "text",
    [
        "-79160008001",
        "- 79160008001",
        "-+79160008001",
        "-8 (916) 000-80-01",
        "-9160008001",
        "\u221279160008001",
        "\u201379160008001",
        "\u201479160008001",
        "\u201079160008001",
        "\uff0d79160008001",
        "'-79160008001",
        "\u2019-79160008001",
        "\u200e-79160008001",
        "\ufeff-79160008001",
        "\u00a0-79160008001",
        "\u202a\u2212 79160008001\u202c",
        " \t-79160008001 ",
        "-\u200e79160008001",
    ],
)
def test_sign_in_front_removes(text):
    assert read(text, "RU") == Entry(removes=True, first=NUMBER, last=NUMBER)


@pytest.mark.parametrize(
    "text",
    [
        "79160008001",
        "+79160008001",
        "8 (916) 000-80-01",
        "9160008001",
        "'79160008001",
        "\u200e+7 916 000\u201380\u201301",
        "７９１６０００８００１",
    ],
)
def test_number_without_a_sign_is_in_service(text):
    assert read(text, "RU") == Entry(removes=False, first=NUMBER, last=NUMBER)


@pytest.mark.parametrize(
    "text",
    [
        "79160008001-79160008099",
        "79160008001 - 79160008099",
        "79160008001\u201379160008099",
        "+79160008001 \u2014 +79160008099",
        "9160008001-9160008099",
        "8 (916) 000-80-01 - 8 (916) 000-80-99",
    ],
)
def test_range_is_read_at_the_dash_between_two_numbers(text):
    assert read(text, "RU") == Entry(removes=False, first=NUMBER, last=LAST)
    assert read(f"-{text}", "RU") == Entry(removes=True, first=NUMBER, last=LAST)


@pytest.mark.parametrize(
    "text",
    [
        "(79160008001)",
        "79160008001-",
        "79160008001 -",
        "del 79160008001",
        "79160008001 удалить",
        "--79160008001",
        "-\u221279160008001",
        "+-79160008001",
        "#79160008001",
        "!79160008001",
        "~79160008001",
        "\u00ad79160008001",
        "\u207b79160008001",
        "\u279679160008001",
        "\u202e-79160008001",
        '-"79160008001"',
        "79160008001,0",
        "79160008001;20260819",
        "79160008001 79160008002",
        "-79160008001 -79160008099",
        "79160008001 -79160008099",
        "79160008001\u00a0\u200e\u221279160008099",
        "79160008001--79160008099",
        "79160008001..79160008099",
        "79160008001-79160008099-79160009999",
        "79160008099-79160008001",
        "7.91600003E10",
        "79160008001.0",
        "",
        "-",
    ],
)
def test_what_is_not_understood_is_refused(text):
    with pytest.raises(BadEntry) as refused:
        read(text, "RU")
    assert not any(map(str.isdigit, str(refused.value)))


PIECES = st.sampled_from(
    [
        *"0123456789",
        *"-+()[] .,;:'\"#\t",
        "79160008001",
        "8916",
        "916",
        "000-80-01",
        "\u2212",
        "\u2013",
        "\u200e",
        "\u00ad",
        *"\u00a0\ufeffх\r٣\ud800",
    ]
)
LINES = st.lists(st.lists(PIECES, max_size=6).map("".join) | st.from_regex(r"-?7916\d{7}", fullmatch=True), min_size=1)


@given(LINES, st.sampled_from(["RU", "KZ", "DE"]))
def test_line_among_many_is_read_as_it_is_alone(lines, region):
    """Where many lines at once give a number, each alone gives the same one, with the same sign."""
    text = "".join(f"{line}\n" for line in lines)
    numbers, removes = read_lines(text.encode("utf-8", "surrogatepass"), region)
    assert len(numbers) == len(lines)
    for place, line in enumerate(lines):
        if numbers[place]:
            removed = bool(removes) and removes[place]
            assert read(line, region) == Entry(removes=removed, first=numbers[place], last=numbers[place])
