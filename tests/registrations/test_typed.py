"""Codes and words as people type them, and as keyboards, clipboards and gateways pass them on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.errors import BadRegistration
from numcheck.registrations.codes import INBOUND_LETTERS
from numcheck.registrations.proofs import CodeProof
from numcheck.registrations.typed import TEXT_LENGTH_MAX, words_in

CODE, WORD = "004217", "ABH3TX"
# The zeros of some scripts, whose other digits follow: ASCII, Arabic-Indic, Persian, Devanagari, full width, bold.
ZEROS = [0x30, 0x660, 0x6F0, 0x966, 0xFF10, 0x1D7CE]
UNSEEN = ["", "\u200b", "\u2060", "\ufeff", "\u200f", "\u202a", "\u00ad"]
GAPS = ["", " ", "-", "\u00a0", "\u2009", "\u2011", "\u2013", " - ", ".", "\n", "\t"]
BESIDES = [
    "",
    " ",
    "\n",
    "«",
    "»",
    "(",
    ")",
    "[",
    "]",
    "*",
    "“",
    "”",
    "…",
    ". ",
    "; ",
    "👍",
    "❤\ufe0f",
    "#",
    "\0",
    "_",
]
WORDS_BESIDE = ["", "код ", "Код:", "Your code: ", "спасибо ", "мой код — "]
CYRILLIC = str.maketrans("ABCEHKMPTXY", "АВСЕНКМРТХУ")
WORD_FORMS = [
    str,
    str.lower,
    str.capitalize,
    lambda word: word.translate(CYRILLIC),
    lambda word: word.translate(CYRILLIC).lower(),
    lambda word: "".join(chr(ord(letter) + 0xFEE0) for letter in word),
    lambda word: f"{word[:3]}-{word[3:]}",
    lambda word: f"{word[:3]}\u00a0{word[3:]}",
    lambda word: f"{word[:3]} \u2013 {word[3:]}",
    lambda word: f"{word[:3]}\r\n{word[3:]}",
    "  ".join,
    " ".join,
    "\u200b".join,
]


@given(
    zeros=st.lists(st.sampled_from(ZEROS), min_size=6, max_size=6),
    gaps=st.lists(st.sampled_from(GAPS), min_size=5, max_size=5),
    unseen=st.lists(st.sampled_from(UNSEEN), min_size=6, max_size=6),
    ends=st.tuples(st.sampled_from(WORDS_BESIDE), st.sampled_from(BESIDES), st.sampled_from(BESIDES)),
    code=st.integers(0, 999_999).map("{:06}".format),
)
def test_a_code_is_read_whatever_digits_and_separators_it_is_typed_with(
    zeros: list[int], gaps: list[str], unseen: list[str], ends: tuple[str, str, str], code: str
) -> None:
    digits = [mark + chr(zero + int(digit)) for zero, mark, digit in zip(zeros, unseen, code, strict=True)]
    typed = digits[0] + "".join(gap + digit for gap, digit in zip(gaps, digits[1:], strict=True))
    assert CodeProof(ends[0] + ends[1] + typed + ends[2]).code == code


@pytest.mark.parametrize("hash_line", ["", "FA+9qCX9VSu\n"])
@pytest.mark.parametrize("domain", ["messenger.example", "m24.example"])
def test_a_code_is_read_of_the_whole_message_that_it_came_in(domain: str, hash_line: str) -> None:
    assert CodeProof(f"Код: {CODE}\n\n{hash_line}@{domain} #{CODE}").code == CODE


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "421",
        "00421",
        "0042170",
        "code",
        "O04217",
        "004 217 0",
        "5 min: 004217",
        "004217, 004218",
        "00a4217",
        "٠٠٤٢١",
    ],
)
def test_what_is_no_code_is_refused_by_its_field(text: str) -> None:
    """Leading zeros are part of a code; a second number in the text could be meant as well."""
    with pytest.raises(BadRegistration) as refused:
        CodeProof(text)
    assert refused.value.field == "code"
    assert str(refused.value) == "the code does not have 4 or 6 digits, leading zeros among them"


@given(
    form=st.sampled_from(WORD_FORMS),
    before=st.lists(st.sampled_from(BESIDES), max_size=3),
    after=st.lists(st.sampled_from(BESIDES), max_size=3),
    beside=st.tuples(st.sampled_from(WORDS_BESIDE), st.sampled_from(["", " спасибо", "\n--\nSent from my iPhone"])),
    word=st.text(INBOUND_LETTERS, min_size=6, max_size=6),
)
def test_a_word_is_found_wherever_it_stands(form, before, after, beside, word) -> None:  # type: ignore[no-untyped-def]
    text = beside[0] + "".join(before) + form(word) + "".join(after) + beside[1]
    assert word in words_in(text)


@pytest.mark.parametrize(
    "text", ["", "да", "Спасибо!", "👍", "hello", "+7 916 000-00-01", "ABCDE", "ABCDEFG", "АБВГДЕ"]
)
def test_a_text_without_a_word_holds_none(text: str) -> None:
    assert words_in(text) == set()


@given(st.text(INBOUND_LETTERS + "abc ,-\n", max_size=2 * TEXT_LENGTH_MAX))
def test_a_text_holds_too_few_words_to_guess_with(text: str) -> None:
    """R8: a try at a text is not one at all 32^6 words: chance finds the right one less than once in 100,000 tries."""
    found = words_in(text)
    assert len(found) <= TEXT_LENGTH_MAX / 2
    assert all(len(word) == 6 and set(word) <= set(INBOUND_LETTERS) for word in found)
