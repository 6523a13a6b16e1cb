"""From a line's cells to a row whose every part has been checked, apart from what other rows say."""

from typing import NamedTuple

from numcheck.plan.country import Country
from numcheck.plan.exchanged import exchanged_fault
from numcheck.plan.plain import text_fault
from numcheck.plan.problems import BadRow, Reason
from numcheck.plan.table import Layout

TAX_ID_LENGTHS = (10, 12)  # an organisation's INN, a person's


class Row(NamedTuple):
    """One row of a registry file; `tax_id`, `operator` and `region` are empty where it has none."""

    first: int
    last: int
    operator: str
    tax_id: str
    region: str
    source: str
    line_number: int


class RowReader:
    """Reads the rows of one registry file."""

    def __init__(self, source: str, country: Country, layout: Layout) -> None:
        self._source = source
        self._country = country
        self._layout = layout
        self._has_capacity = layout.capacity < layout.column_count
        length = country.code_length
        self._starts = {f"{code:0{length}}": country.number(code, 0) for code in country.codes()}
        # A file has few different texts and many rows, which share them.
        self._texts: dict[str, str] = {}
        self._tax_ids: dict[str, str] = {}

    def read(self, line: str, line_number: int) -> Row:
        """Return the row of a line; BadRow if it is none."""
        layout = self._layout
        cells = layout.split(line)
        if len(cells) < layout.column_count:
            raise BadRow(Reason.CUT_ROW, f"{len(cells)} of the file's {layout.column_count} columns")
        cells.append("")  # the absent columns' cell
        first, last = self._ends(cells)
        if self._has_capacity:
            _check_capacity(cells[layout.capacity].strip(), last - first + 1)
        operator = self._text(cells[layout.operator])
        tax_id = self._tax_id(cells[layout.tax_id])
        if not operator and not tax_id:
            raise BadRow(Reason.NO_OPERATOR, "no operator and no tax id")
        region = self._text(cells[layout.region]) or self._text(cells[layout.territory])
        if fault := exchanged_fault(operator, region):
            raise BadRow(Reason.EXCHANGED, fault)
        return Row(first, last, operator, tax_id, region, self._source, line_number)

    def _ends(self, cells: list[str]) -> tuple[int, int]:
        layout = self._layout
        code = cells[layout.code].strip()
        start = self._starts.get(code)
        if start is None:
            start = self._start_of_unpadded(code)
        first = self._subscriber(cells[layout.first].strip())
        last = self._subscriber(cells[layout.last].strip())
        if first > last:
            raise BadRow(Reason.IMPOSSIBLE_RANGE, "the range ends before it starts")
        return start + first, start + last

    def _start_of_unpadded(self, code: str) -> int:
        length = self._country.code_length
        if not _is_digits(code):
            raise BadRow(Reason.IMPOSSIBLE_CODE, "the code is not digits")
        if len(code) > length:
            raise BadRow(Reason.IMPOSSIBLE_CODE, f"a code of {len(code)} digits where {length} are possible")
        padded = code.zfill(length)
        if padded not in self._starts:
            raise BadRow(Reason.IMPOSSIBLE_CODE, f"no code of {self._country.name} starts with {padded[0]}")
        return self._starts[padded]

    def _subscriber(self, digits: str) -> int:
        if not _is_digits(digits):
            raise BadRow(Reason.IMPOSSIBLE_RANGE, "an end of the range is not digits")
        length = self._country.subscriber_length
        if len(digits) > length:
            detail = f"an end of the range has {len(digits)} digits where {length} are possible"
            raise BadRow(Reason.IMPOSSIBLE_RANGE, detail)
        return int(digits)

    def _text(self, cell: str) -> str:
        text = self._texts.get(cell)
        if text is None:
            if fault := text_fault(cell):
                raise BadRow(Reason.BAD_TEXT, fault)
            text = " ".join(cell.split())
            # The registry writes a hyphen where it has nothing to say.
            self._texts[cell] = text = text if any(map(str.isalnum, text)) else ""
        return text

    def _tax_id(self, cell: str) -> str:
        tax_id = self._tax_ids.get(cell)
        if tax_id is None:
            self._tax_ids[cell] = tax_id = _read_tax_id(cell.strip())
        return tax_id


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _check_capacity(capacity: str, size: int) -> None:
    if not _is_digits(capacity) or capacity.lstrip("0") != str(size):
        raise BadRow(Reason.WRONG_CAPACITY, f"the capacity is not the {size:,} that the range holds")


def _read_tax_id(text: str) -> str:
    """Return a tax id of full length: a spreadsheet drops its leading zero. Its check digits are not looked at."""
    if text in ("", "-"):
        return ""
    padded = text if len(text) in TAX_ID_LENGTHS else f"0{text}"
    if not _is_digits(text) or len(padded) not in TAX_ID_LENGTHS:
        raise BadRow(Reason.CUT_ROW, "the tax id is not 10 or 12 digits")
    return padded


def has_lost_zero(tax_id: str) -> bool:
    """Return True if a cell is a tax id that lacks a digit, be it its first or its last."""
    return _is_digits(tax_id) and len(tax_id) + 1 in TAX_ID_LENGTHS
