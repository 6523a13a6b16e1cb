"""Lines taken apart and put together at once are what `split` and `join` make of them one by one."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck import _lines

LINES = st.lists(st.text("ab;-\r\x1fя", max_size=9).map(str.encode), max_size=40)
PLACES = st.integers(0, 4)


def text_of(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


@given(LINES, st.integers(1, 50))
def test_cut_gives_parts_of_so_many_lines(lines, line_count):
    starts = range(0, len(lines), line_count)
    assert _lines.cut(text_of(lines), line_count) == [text_of(lines[start : start + line_count]) for start in starts]


@given(LINES, PLACES)
def test_cells_are_those_at_a_place(lines, place):
    rows = [line.split(b";") for line in lines]
    assert _lines.cells(text_of(lines), b";", place) == text_of([(*row, *[b""] * 5)[place] for row in rows])


@given(LINES, PLACES)
def test_width_is_that_of_every_line(lines, width):
    assert _lines.has_width(text_of(lines), b";", width) == all(len(line.split(b";")) == width for line in lines)


@given(LINES, PLACES)
def test_widened_lines_take_a_cell_more(lines, width):
    """A line of more cells than the others has its own width."""
    for line, before in zip(_lines.widened(text_of(lines), b";", width).split(b"\n"), lines, strict=False):
        cells = before.split(b";")
        assert line.split(b";") == [*cells, *[b""] * (width - len(cells)), b""]


@given(st.lists(st.tuples(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"")), st.binary(max_size=5))))
def test_joined_lines_have_their_tails(rows):
    joined = _lines.joined(text_of([line for line, _ in rows]), [tail for _, tail in rows])
    assert joined == text_of([line + tail for line, tail in rows])


@given(LINES)
def test_unsigned_lines_lose_one_sign(lines):
    rest, signs = _lines.unsigned(text_of(lines), b"-")
    assert rest == text_of([line.removeprefix(b"-") for line in lines])
    assert [*signs] == [line.startswith(b"-") for line in lines]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.booleans())))
def test_numbers_are_divided_by_their_signs(signed):
    numbers, signs = array("Q", [number for number, _ in signed]), bytes(sign for _, sign in signed)
    plain, others = _lines.divided(numbers, signs)
    assert [*plain] == [number for number, sign in signed if not sign]
    assert [*others] == [number for number, sign in signed if sign]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: _lines.cells(b"a\nb", b";", 0), "no end"),
        (lambda: _lines.cells(b"a\n", "я".encode(), 0), "one ASCII character"),
        (lambda: _lines.cells(b"a\n", b"", 0), "one ASCII character"),
        (lambda: _lines.cells(b"a\n", b"\n", 0), "one ASCII character"),
        (lambda: _lines.cut(b"a\n", 0), "has lines"),
        (lambda: _lines.joined(b"a\nb\n", [b""]), "fewer tails"),
        (lambda: _lines.joined(b"a\n", [b"", b""]), "more tails"),
        (lambda: _lines.divided(array("Q", [1]), b""), "as many signs"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_tail_that_is_no_bytes_is_refused():
    with pytest.raises(TypeError):
        _lines.joined(b"a\n", ["b"])  # type: ignore[list-item]
