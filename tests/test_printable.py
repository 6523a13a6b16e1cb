"""No text moves a cursor, changes a colour, begins a line or turns the order of what stands beside it."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.printable import printable

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_acted_on(character: str) -> bool:
    """As Unicode's own tables say: controls, separators of lines and paragraphs, and what turns the direction."""
    return (
        unicodedata.category(character) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(character) in BIDIRECTIONAL
    )


@given(st.text())
def test_nothing_that_is_acted_on_is_left(text):
    assert not any(map(is_acted_on, printable(text)))


@pytest.mark.parametrize("character", [chr(code) for code in range(0x11_0000) if is_acted_on(chr(code))])
def test_each_such_character_is_escaped(character):
    assert printable(f"a{character}b") == f"a\\u{ord(character):04x}b"


@pytest.mark.parametrize("text", ['ПАО "Мобильные ТелеСистемы"', "日本語 العربية", "é", "🙂", "\u00a0", "\\"])
def test_ordinary_text_stays_as_it_is(text):
    assert printable(text) == text


@given(st.text())
def test_json_stays_the_same_value(text):
    assert json.loads(printable(json.dumps({text: text}, ensure_ascii=False))) == {text: text}
