"""The cells of a line and their meaning: delimiter, header, columns, quotes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from numcheck.errors import BadRegistryFile
from numcheck.plan.headers import read_header
from numcheck.plan.problems import Note

DELIMITERS = ";\t,"  # where a line has as many of one as of another, the earlier one counts
SAMPLED_LINES_MAX = 1000

BASE_COLUMNS = ("code", "first", "last", "capacity", "operator", "region")
COLUMNS_BY_COUNT = {
    6: BASE_COLUMNS,
    7: (*BASE_COLUMNS, "tax_id"),
    8: (*BASE_COLUMNS, "territory", "tax_id"),
}
COLUMNS = COLUMNS_BY_COUNT[8]


@dataclass(frozen=True, slots=True)
class Layout:
    """Indexes of a file's columns. The index of an absent column is `column_count`."""

    delimiter: str
    column_count: int
    code: int
    first: int
    last: int
    capacity: int
    operator: int
    region: int
    territory: int
    tax_id: int

    def split(self, line: str) -> list[str]:
        """Return the line's cells without their quotes: fewer than `column_count` if it is cut, never more.

        Cells too many are a delimiter inside of the region, and joined there.
        """
        cells = split_line(line, self.delimiter)
        if len(cells) > self.column_count:
            cells = self._join_surplus(cells)
        return cells

    def _join_surplus(self, cells: list[str]) -> list[str]:
        while len(cells) > self.column_count and not cells[-1].strip():
            cells.pop()
        texts = (self.region, self.territory, self.operator)
        start = next((column for column in texts if column < self.column_count), self.column_count - 1)
        end = start + 1 + len(cells) - self.column_count
        return [*cells[:start], self.delimiter.join(cells[start:end]), *cells[end:]]


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the line's cells. A quote opens a quoted cell only if the cell ends in one and those between are doubled.

    Everywhere else a quote is part of a name: registry files write `ООО "Т2 Мобайл"` as it stands.
    """
    pieces = line.split(delimiter)
    if not line.startswith('"') and f'{delimiter}"' not in line:
        return pieces
    return list(_join_quoted(pieces, delimiter))


def _join_quoted(pieces: list[str], delimiter: str) -> Iterator[str]:
    start = 0
    while start < len(pieces):
        end = _quoted_end(pieces, start, delimiter) if pieces[start].startswith('"') else None
        if end is None:
            yield pieces[start]
            start += 1
        else:
            yield delimiter.join(pieces[start:end])[1:-1].replace('""', '"')
            start = end


def _quoted_end(pieces: list[str], start: int, delimiter: str) -> int | None:
    """Return where the quoted cell ends that starts at a piece, or None if the piece is no start of one."""
    open_quotes = 0
    for end in range(start + 1, len(pieces) + 1):
        piece = pieces[end - 1]
        open_quotes += piece.count('"')
        if piece.endswith('"') and open_quotes % 2 == 0:
            inner = delimiter.join(pieces[start:end])[1:-1]
            return end if '"' not in inner.replace('""', "") else None
    return None


def find_layout(name: str, lines: list[str]) -> tuple[Layout, int, list[Note]]:
    """Return the file's layout, the index of its first line after any header, and notes on what it does not place.

    BadRegistryFile if nothing tells the columns for certain: a header that names them, or that there are 6, 7 or 8.
    """
    top = next((index for index, line in enumerate(lines) if line.strip()), len(lines) - 1)
    delimiter = max(DELIMITERS, key=lines[top].count)
    cells = split_line(lines[top], delimiter)
    header = read_header(name, top + 1, cells)
    if header is not None:
        notes = [Note(name, top + 1, f"passed over: {', '.join(header.unknown)}")] if header.unknown else []
        return _layout(delimiter, len(cells), header.columns), top + 1, notes
    layout = _layout_by_position(name, lines[top:], delimiter)
    if _is_header(cells):
        return layout, top + 1, [Note(name, top + 1, "unknown header; columns taken by their position")]
    return layout, top, []


def _layout(delimiter: str, column_count: int, columns: dict[str, int]) -> Layout:
    return Layout(delimiter, column_count, **{column: columns.get(column, column_count) for column in COLUMNS})


def _layout_by_position(name: str, lines: list[str], delimiter: str) -> Layout:
    # The commonest count: single rows may be cut, or have a delimiter inside of the region.
    sample = [line for line in lines[:SAMPLED_LINES_MAX] if line.strip()]
    counts = Counter(len(split_line(line, delimiter)) for line in sample)
    column_count = counts.most_common(1)[0][0] if counts else 0
    columns = COLUMNS_BY_COUNT.get(column_count)
    if columns is None:
        raise BadRegistryFile(f"{name}: not a registry file: no known header, and no 6, 7 or 8 columns")
    return _layout(delimiter, column_count, {column: index for index, column in enumerate(columns)})


def _is_header(cells: list[str]) -> bool:
    """Return True if the cells are words where a row has its code and its ends."""
    return len(cells) >= 3 and all(cell.strip() and not cell.strip().isdigit() for cell in cells[:3])
