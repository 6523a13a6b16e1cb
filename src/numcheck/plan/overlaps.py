"""Rows that claim numbers of an earlier row."""

from bisect import bisect
from collections.abc import Iterator, Sequence

from numcheck.plan.problems import Problem, Reason
from numcheck.plan.rows import Row


def find_overlaps(rows: Sequence[Row]) -> dict[int, Problem]:
    """Return the problem of each row that overlaps an earlier one, by the row's index; without these, all are disjoint.

    A row that overlaps only such rows is none of them. Costs a sort, and where rows overlap a search for each.
    """
    problems: dict[int, Problem] = {}
    for cluster in _clusters(rows):
        problems.update(_resolve(rows, sorted(cluster)))
    return problems


def _clusters(rows: Sequence[Row]) -> Iterator[list[int]]:
    """Yield the indices of rows that hang together by overlaps, two or more at a time."""
    cluster: list[int] = []
    reach = -1
    firsts = [row.first for row in rows]
    for index in sorted(range(len(rows)), key=firsts.__getitem__):
        row = rows[index]
        if row.first > reach:
            if len(cluster) > 1:
                yield cluster
            cluster = []
        cluster.append(index)
        reach = max(reach, row.last)
    if len(cluster) > 1:
        yield cluster


def _resolve(rows: Sequence[Row], cluster: list[int]) -> Iterator[tuple[int, Problem]]:
    kept: list[tuple[int, int]] = []  # first number and index, ascending
    for index in cluster:
        row = rows[index]
        place = bisect(kept, (row.first, len(rows)))
        neighbours = [rows[other] for _, other in kept[max(place - 1, 0) : place + 1]]
        other = next((other for other in neighbours if other.first <= row.last and row.first <= other.last), None)
        if other is None:
            kept.insert(place, (row.first, index))
        else:
            yield index, _problem(row, other)


def _problem(row: Row, earlier: Row) -> Problem:
    where = f"line {earlier.line_number}" if earlier.source == row.source else f"{earlier.source}:{earlier.line_number}"
    if (row.first, row.last) == (earlier.first, earlier.last):
        return Problem(row.source, row.line_number, Reason.DUPLICATE, f"the same range as {where}")
    return Problem(row.source, row.line_number, Reason.OVERLAP, f"overlaps {where}")
