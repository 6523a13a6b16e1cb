"""Which of overlapping rows are left out, against a search over all pairs."""

from hypothesis import given
from hypothesis import strategies as st

from numcheck.plan.overlaps import find_overlaps
from numcheck.plan.problems import Reason
from numcheck.plan.rows import Row

BOUNDS = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda bounds: (bounds[0], sum(bounds)))


def rows_of(bounds):
    return [Row(first, last, "A", "", "", "f", number) for number, (first, last) in enumerate(bounds, 1)]


def naive_overlaps(rows):
    """The indices of rows that meet an earlier row which is not left out itself."""
    kept, left_out = [], set()
    for index, row in enumerate(rows):
        if any(row.first <= other.last and other.first <= row.last for other in kept):
            left_out.add(index)
        else:
            kept.append(row)
    return left_out


@given(st.lists(BOUNDS, max_size=12))
def test_later_rows_are_left_out_when_they_overlap(bounds):
    rows = rows_of(bounds)
    assert find_overlaps(rows).keys() == naive_overlaps(rows)


@given(st.lists(BOUNDS, max_size=12))
def test_problem_names_a_kept_row_that_it_overlaps(bounds):
    rows = rows_of(bounds)
    problems = find_overlaps(rows)
    for index, problem in problems.items():
        other = rows[int(problem.detail.rpartition(" ")[2]) - 1]
        assert other.line_number - 1 not in problems
        assert other.first <= rows[index].last
        assert rows[index].first <= other.last
        same = (other.first, other.last) == (rows[index].first, rows[index].last)
        assert problem.reason is (Reason.DUPLICATE if same else Reason.OVERLAP)
