"""Cells that a spreadsheet takes for text, by whatever delimiter it divides a line."""

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.cli.spreadsheets import as_text, guarded, unguarded, written

CELLS = st.text(st.sampled_from("=+-@;,\t|\n\r\"' \u00a0＝a1"), max_size=12)
FORMULA = re.compile(r"[ \u00a0]*[=@＝]")  # without what may be a number


@given(CELLS)
def test_cell_that_is_guarded_is_given_back(cell):
    assert unguarded(guarded(cell)) == cell


@given(st.lists(CELLS, min_size=1, max_size=3), st.sampled_from(";,\t|"))
def test_no_part_of_a_line_is_a_formula_by_any_delimiter(cells, delimiter):
    """A spreadsheet that takes another delimiter pays no heed to quotes within a line."""
    for made in (as_text, guarded):
        line = written(map(made, cells), ",", quote_all=True)
        for part in re.split(r"[;,\t|\n\"]", line):
            assert not FORMULA.match(part)
        (row,) = csv.reader(
            [written(map(made, cells), delimiter, quote_all=True).replace("\n", "\v")], delimiter=delimiter
        )
        assert not any(map(FORMULA.match, row))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("x;=cmd|' /C calc'!A0;y", "x;'=cmd|' /C calc'!A0;y"),
        ('{"name": "=1"}', '{"name": "\'=1"}'),
        ("a;+79161234567", "a;+79161234567"),
        ("a;-12.50,=b", "a;-12.50,'=b"),
        ("a=b", "a=b"),
    ],
)
def test_what_would_be_a_formula_by_another_delimiter_is_text(cell, text):
    assert as_text(cell) == text
