"""Text to number and back: what people write is read whole, and everything else is refused."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numcheck import _e164, pure_e164
from numcheck.e164 import NATIONAL_FORMS, format_number, parse, parse_lines
from numcheck.errors import NotANumber
from numcheck.spelling import MARKS, NUMBER_DIGITS_MAX, NUMBER_DIGITS_MIN, TEXT_SIZE_MAX
from tests.spellings import INVISIBLE, REFUSED, SPELLINGS, Spelling, spellings

ALL_CHARACTERS = [chr(code) for code in range(0x110000)]


def read(text: str, region: str = "RU") -> int:
    """The number, or 0, as a batch has it."""
    try:
        return parse(text, region)
    except NotANumber:
        return 0


# --- one by one -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", SPELLINGS)
def test_number_is_read_when_a_person_writes_it(text):
    assert parse(text, "RU") == SPELLINGS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_text_is_refused_when_a_part_of_it_is_not_understood(text):
    """The reason speaks of the text, and repeats none of it."""
    with pytest.raises(NotANumber, match=r"^the text") as refused:
        parse(text, "RU")
    assert not any(len(group) > 3 for group in "".join(c if c.isdigit() else " " for c in str(refused.value)).split())


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("(415) 555-0100", "US", 14155550100),
        ("1 415 555 0100", "US", 14155550100),
        ("044 123-45-67", "UA", 380441234567),
        ("(044) 123-45-67", "UA", 380441234567),
        ("8 777 123 45 67", "KZ", 77771234567),
        ("+79161234567", "US", 79161234567),
        ("0079161234567", "ZZ", 79161234567),
        ("+79161234567", "ZZ", 79161234567),
    ],
)
def test_national_number_is_read_as_its_region_writes_it(text, region, number):
    """An international number needs no region."""
    assert parse(text, region) == number


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("9161234567", "ZZ"),
        ("415-555-FILM", "US"),
        ("(415) 555-0100 x5", "US"),
        ("4155550100.0", "US"),
        ("1" * 16, "US"),
        ("0", "US"),
        # Argentina's 15 would become a 9 elsewhere in the number.
        ("011 15 1234 5678", "AR"),
    ],
)
def test_national_number_is_refused_when_not_all_of_it_is_in_the_answer(text, region):
    with pytest.raises(NotANumber, match=r"^the text"):
        parse(text, region)


def test_text_is_refused_unread_when_it_is_too_long():
    """250 characters are read, 251 are not; the message tells the bound and not the text."""
    assert parse("+79161234567".ljust(TEXT_SIZE_MAX), "RU") == 79161234567
    assert parse("+79161234567".ljust(TEXT_SIZE_MAX, "\u3000"), "RU") == 79161234567
    with pytest.raises(NotANumber, match="251 characters; a number has at most 250"):
        parse("+79161234567".ljust(TEXT_SIZE_MAX + 1), "RU")


def test_reason_names_the_place_of_what_is_not_understood():
    with pytest.raises(NotANumber, match="its character 6 has"):
        parse("+7 91б6 123-45-67", "RU")


@given(st.integers(10 ** (NUMBER_DIGITS_MIN - 1), 10**NUMBER_DIGITS_MAX - 1))
def test_formatted_number_reads_back(number):
    text = format_number(number)
    assert text == f"+{number}"
    assert parse(text, "US") == number


# --- made up ----------------------------------------------------------------------------------------------------


@given(spellings())
def test_number_is_read_however_it_is_written(made):
    assert parse(made.text, "RU") == made.number


def is_known(character: str) -> bool:
    """Whether the character may stand in some number."""
    if unicodedata.category(character) in {"Nd", "Zs", "Pd"}:
        return True
    return character in "\t\r\n+'.()[]\u2018\u2019\u02d7\u2043\u2212\u00ad" + "＋＇．（）［］" + INVISIBLE


@given(spellings(), st.characters(exclude_categories=["Cs"]).filter(lambda one: not is_known(one)), st.data())
@example(Spelling("7.91600003E1", 0), "E", None)
def test_text_is_refused_when_a_character_is_put_in_that_no_number_has(made, stranger, data):
    place = data.draw(st.integers(0, len(made.text))) if data else 3
    assert read(made.text[:place] + stranger + made.text[place:]) == 0


@given(spellings(), st.sampled_from("0123456789"), st.data())
def test_number_is_another_or_none_when_a_digit_is_put_in_or_exchanged(made, digit, data):
    """Except for a digit put beside its like, or exchanged for the other sign of the same country."""
    place = data.draw(st.sampled_from([i for i, one in enumerate(made.text) if one.isdecimal()]))
    changed = made.text[:place] + digit + made.text[place + data.draw(st.integers(0, 1)) :]
    written = "".join(str(unicodedata.decimal(one)) for one in changed if one.isdecimal())
    assert read(changed) in {0, *meanings(written)}


def meanings(digits: str) -> set[int]:
    """The numbers that these digits may be, with no regard for what stands between them."""
    found = {digits, digits.removeprefix("00"), digits.removeprefix("810")}
    if len(digits) == 10:
        found.add("7" + digits)
    if len(digits) == 11 and digits[0] == "8":
        found.add("7" + digits[1:])
    return {int(one) for one in found if one and one[0] != "0" and len(one) <= NUMBER_DIGITS_MAX}


PIECES = st.sampled_from(
    [
        *"+0123456789-.() \t\n'[]Eex;,/*#_OО",
        "7",
        "8",
        "00",
        "810",
        "916",
        "1234567",
        "tel:",
        ";ext=5",
        "доб.",
        "，",
        "\u200e",
    ]
)
TEXTS = st.one_of(st.text(max_size=TEXT_SIZE_MAX + 10), st.lists(PIECES, max_size=16).map("".join))


@st.composite
def almost_spellings(draw):
    """A spelling with a part of it exchanged."""
    text = draw(spellings()).text
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return text[:first] + draw(TEXTS.map(lambda piece: piece[:3])) + text[last:]


@given(st.one_of(TEXTS, almost_spellings()))
@example("+" + "9" * 17)
@example("0" * TEXT_SIZE_MAX)
@example("\ud800")
def test_what_is_read_is_every_digit_of_the_text_and_no_other_character(text):
    number = read(text)
    if number == 0:
        return
    plain = text.lower().replace("tel:", "", 1)
    assert all(map(is_known, plain))
    assert number in meanings("".join(str(unicodedata.decimal(one)) for one in plain if one.isdecimal()))
    assert not plain.lstrip(" \t\n'\u200e([+").startswith("-")


# --- many at once -----------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(TEXTS, spellings().map(lambda made: made.text)), max_size=8), st.sampled_from(["RU", "UA"]))
def test_lines_are_read_as_one_by_one(texts, region):
    """Whatever the text of a line; one that is not UTF-8 is none."""
    lines = "".join(text.replace("\n", " ") + "\n" for text in texts)
    found = parse_lines(lines.encode("utf-8", "surrogatepass"), region)
    assert found.typecode == "Q"
    assert found.tolist() == [read(text.replace("\n", " "), region) for text in texts]


@given(
    st.lists(st.one_of(st.binary(max_size=20), spellings().map(lambda made: made.text.encode())), max_size=8), st.data()
)
def test_lines_are_read_whatever_their_bytes(parts, data):
    """Cut anywhere, with a line feed at the end or none."""
    lines = b"\n".join(parts)
    lines = lines[: data.draw(st.integers(0, len(lines)))]
    expected = []
    for line in lines.removesuffix(b"\n").split(b"\n") if lines else []:
        try:
            expected.append(read(line.decode()))
        except UnicodeDecodeError:
            expected.append(0)
    assert parse_lines(lines, "RU").tolist() == expected


def test_bytes_are_refused_when_they_are_almost_utf8():
    """Every sequence of two bytes, and overlong, surrogate, too great and cut ones, behind digits."""
    pairs = [bytes([one, other]) for one in range(0x80, 0x100) for other in range(0x100) if other != 0x0A]
    odd = [
        b"\xc0\xa0",
        b"\xe0\x80\xa0",
        b"\xf0\x80\x80\xa0",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x80",
        b"\xf8\x88\x80\x80\x80",
    ]
    for some in (*pairs, *odd):
        line = b"+7916123" + some + b"4567"
        try:
            expected = read(line.decode())
        except UnicodeDecodeError:
            expected = 0
        assert parse_lines(line, "RU").tolist() == [expected], some


# --- characters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", ["Nd", "Zs", "Pd"])
def test_every_character_of_a_kind_is_known_when_unicode_says_that_it_is_of_it(category):
    """The digits, spaces and dashes of the Unicode version of this Python."""
    for character in ALL_CHARACTERS:
        if unicodedata.category(character) == category:
            middle = str(unicodedata.decimal(character)) if category == "Nd" else ""
            text = f"+791612345{character}7" if middle else f"+791612345{character}67"
            assert parse(text, "RU") == int(f"791612345{middle or '6'}7"), f"U+{ord(character):04X}"


def test_table_of_marks_is_sorted_and_has_each_character_once():
    bounds = [bound for first, last, *_ in MARKS for bound in (first, last)]
    assert bounds == sorted(bounds)
    assert all(first <= last for first, last, *_ in MARKS)
    assert all(last < first for (_, last, *_), (first, *_) in pairwise(MARKS))


# --- the client's reader, which is not compiled --------------------------------------------------------------------


def by_region(digits: str) -> int:
    """Stands for the library of other regions' numbers: it refuses some."""
    if digits[0] == "0":
        raise NotANumber("the text is no number of the region")
    return int(digits)


READERS = {
    region: [one.Reader(form, by_region) for one in (_e164, pure_e164)]
    for region, form in {"RU": NATIONAL_FORMS["RU"], "other": None}.items()
}


def outcome(reader: _e164.Reader | pure_e164.Reader, text: str) -> int | str:
    """The number, or the words of the refusal."""
    try:
        return reader.read(text)
    except NotANumber as error:
        return str(error)


@given(st.one_of(TEXTS, almost_spellings(), spellings().map(lambda made: made.text)), st.sampled_from(list(READERS)))
@example("\ud8007", "RU")
@example("+7 8 916 123 45 67", "RU")
@example("8 10 44 20 7946 0958", "RU")
@example("+44 (0)20 7946 0958", "other")
@example("1" * 17, "other")
@example("7.9161234567", "RU")
@example("tel:+7tel:", "RU")
@example("+79161234567\n8", "RU")
def test_every_text_is_read_or_refused_alike_by_both_readers(text, region):
    compiled, pure = READERS[region]
    assert outcome(pure, text) == outcome(compiled, text)


@pytest.mark.parametrize("region", READERS)
def test_texts_of_people_are_read_or_refused_alike_by_both_readers(region):
    compiled, pure = READERS[region]
    for text in (*SPELLINGS, *REFUSED):
        assert outcome(pure, text) == outcome(compiled, text), text


def test_every_character_has_the_same_place_for_both_readers():
    """Digits, marks, their neighbours in Unicode, and all of the basic Latin and Cyrillic ones."""
    codes = {*range(0x530), *(code for first, last, *_ in MARKS for code in range(first - 1, last + 2))}
    codes |= {ord(one) for one in ALL_CHARACTERS if unicodedata.category(one) == "Nd"}
    compiled, pure = READERS["RU"]
    for code in codes:
        for text in (f"+7916{chr(code)}1234567", f"{chr(code)}79161234567", f"79161234567{chr(code)}"):
            assert outcome(pure, text) == outcome(compiled, text), f"U+{code:04X}"


@given(st.lists(st.one_of(st.binary(max_size=20), spellings().map(lambda made: made.text.encode())), max_size=8))
def test_lines_are_read_alike_by_both_readers(parts):
    compiled, pure = READERS["RU"]
    lines = b"\n".join(parts)
    assert pure.read_lines(lines) == compiled.read_lines(lines)
