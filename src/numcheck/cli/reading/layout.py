"""The layout of a file's columns: by its header, by the command's options, or not at all.

An uncertain layout is refused with words that say how to go on: a contract number must never be read as a phone.
"""

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from numcheck.cli.reading.statuses import ACTIVE, INACTIVE, YES_OR_NO, normal

DELIMITERS = ";,\t|"
FIRST_LINES = 1_000  # that are looked at for a header, and for what other columns say
_EMPTY = re.compile(r'[\s;,|"]*')  # a line, as spreadsheets write an empty row
DELIMITER_NAMES = {"\t": "tab"}
NO_DELIMITER = "\x1f"  # of a file of one column; no line holds it
EXCEL_DELIMITER = re.compile(r'"?sep=([\t!#-/:-@[-`{-~])"?', re.IGNORECASE)

# --- the names of columns, as `_plain` writes them

NUMBER_NAMES = frozenset(
    {
        *("number", "numbers", "phone", "phones", "phone number", "phonenumber", "phone no", "phone num", "phoneno"),
        *("mobile", "mobile number", "mobile phone", "mobile phone number", "mobile no", "mobilephone", "cell"),
        *(
            "cell phone",
            "cellphone",
            "telephone",
            "telephone number",
            "tel",
            "tel no",
            "tel number",
            "subscriber number",
        ),
        *("subscriber msisdn", "msisdn", "ctn", "e164", "e 164", "phone e164", "contact phone", "customer phone"),
        *(
            "номер",
            "номера",
            "телефон",
            "телефоны",
            "номер телефона",
            "номера телефонов",
            "тел",
            "номер тел",
            "тел номер",
        ),
        *("телефонный номер", "мобильный", "мобильный телефон", "мобильный номер", "номер мобильного"),
        *("номер мобильного телефона", "моб телефон", "моб тел", "моб номер", "сотовый", "сотовый телефон"),
        *("номер сотового", "номер сотового телефона", "абонентский номер", "номер абонента", "телефон абонента"),
        *("номер телефона абонента", "контактный телефон", "телефон клиента", "номер телефона клиента"),
        *("телефона", "мобильного телефона", "телефона абонента", "телефона клиента"),  # behind the sign of a number
    }
)
FIRST_NAMES = frozenset(
    {
        *(
            "first",
            "from",
            "start",
            "begin",
            "range start",
            "range first",
            "first number",
            "start number",
            "number from",
        ),
        *("от", "с", "начало", "первый", "начало диапазона", "начальный номер", "первый номер", "номер от", "номер с"),
    }
)
LAST_NAMES = frozenset(
    {
        *("last", "to", "end", "range end", "range last", "last number", "end number", "number to"),
        *(
            "до",
            "по",
            "конец",
            "последний",
            "конец диапазона",
            "конечный номер",
            "последний номер",
            "номер до",
            "номер по",
        ),
    }
)
STATUS_NAMES = frozenset(
    {
        *("status", "state", "active", "is active", "in service", "number status", "phone status", "subscriber status"),
        *("статус", "состояние", "активен", "активность", "в обслуживании", "статус номера", "статус абонента"),
        *("состояние номера", "состояние абонента"),
    }
)
# Words of the end of a service.
_END_WORDS = (
    "\\bdeact|block|\\bsusp|terminat|\\bterm(ed)?\\b|disabl|clos|delet|remov|expir|\\bdead\\b|cancel|churn|ceas|retir|"
    "\\block|\\bbarr(ed|ing)\\b|archiv|fr(ee|o)z|\\bstop|finish|releas|\\bvoid|"
    "приостан|расторг|расторж|отключ|закры|удал|оконч|аннулир|прекращ|\\bвыключ|архив|\\bвыб[ыо]|\\bвывед|\\bвывод|"
    "освобо|списан|замор|\\bстоп|\\bснят|возврат|разорв"
)
# Words in the name of a column that may tell, in an unknown way, whether a row is in service.
_STATUS_WORDS = re.compile(
    f"{_END_WORDS}|status|state|activ|disconnect|\\bdisc(on)?\\b|end(ed)?\\b|action|operation|\\bop\\b|change|"
    "\\bsign\\b|\\bflag|event|reason|suspend|\\bvalid|until|enabl|\\b(in ?)?used?\\b|\\ba?live\\b|\\bsts?\\b|"
    "статус|состоян|актив|блокир|обслуж|действ|операци|изменен|признак|\\bзнак\\b|\\bфлаг|событ|причин|\\bвы?ключ|"
    "использ|годен|\\b(dt|date|дата) (to|till|по|до)\\b|\\b(to|till) (dt|date)\\b"
)
# Words in the name of a column of which yes says that a number is not in service.
_OPPOSITE = re.compile(
    f"{_END_WORDS}|\\bnot\\b|\\bin ?activ|disc|\\bend(ed)?\\b|\\bне\\b|\\bнеактив|\\bнедейств|деактив|блок"
)
# Cells of such a column, whatever its name.
CHANGES = frozenset(
    {
        *("+", "-", "\u2013", "\u2212", "+1", "-1", "add", "added", "new", "insert", "create", "connect", "update"),
        *("del", "delete", "drop", "remove", "disconnect", "a", "d", "i", "u", "r", "доб", "добавить", "добавлен"),
        *("новый", "подключить", "удал", "удалить", "исключить", "отключить", "снять", "in", "out"),
    }
)
# The same in words of any form: what happens to a number, or to its contract.
_CHANGED = re.compile(
    "\\b(de|re)?activat|terminat|disconnect|suspend|cancel|churn|\\bport(ed|ing)?[ -]?(in|out)\\b|remov|delet|withdraw|"
    "\\b(под|от|вы|пере)ключ|удал|исключ|расторг|расторж|закры|приостан|возобнов|деактив|активац|активир|"
    "\\bпере(ход|нос|нес)|\\bушел|\\bуход|\\bснят"
)
# Words in the name of one number among several: `old phone`, `msisdn 2`.
_WHICH = re.compile(
    "[0-9]+|\\b(old|new|prev|previous|second|secondary|additional|alt|alternative|other|extra|"
    "стар(ый|ые)|нов(ый|ые)|доп|дополнительный|второй|другой|прежний|запасной)\\b"
)
TOLD_MAX = 20


class UncertainLayout(ValueError):
    """A file whose columns cannot be told; the words say why, and how to go on."""


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """The options given for a file: the columns by name or position (the first is 1)."""

    column: str | None = None
    status_column: str | None = None
    every_row: bool = False


NO_OPTIONS = ColumnOptions()


@dataclass(frozen=True, slots=True)
class Layout:
    """The rules by which a file's lines are read. Columns count from 0."""

    delimiter: str
    names: list[str]
    skipped: int
    """Lines in front of the first row: the header, and Excel's own."""
    has_header: bool
    places: tuple[int, ...]
    """The column of the numbers, or the two of the ends of ranges."""
    status: int | None = None

    @property
    def is_plain(self) -> bool:
        """True if a line is a cell and nothing else."""
        return self.delimiter == NO_DELIMITER

    @property
    def asks_opposite(self) -> bool:
        """True if yes in the status column says, by its name, that a number is not in service: `deleted`."""
        if self.status is None or not self.has_header:
            return False
        return _OPPOSITE.search(_plain(self.names[self.status])) is not None

    def cells(self, line: str) -> list[str]:
        """Return the cells of a line, at least one. csv.Error if its quotes do not match."""
        if '"' not in line:
            return line.split(self.delimiter)
        return next(csv.reader([line], delimiter=self.delimiter, strict=True))

    def __str__(self) -> str:
        if self.is_plain:
            return "one column" + (f" ({self.names[0]})" if self.has_header else "")
        told = [f'delimiter "{DELIMITER_NAMES.get(self.delimiter, self.delimiter)}"']
        what = "numbers in column" if len(self.places) == 1 else "ranges in columns"
        told.append(f"{what} {self._told(self.places)}")
        if self.status is not None:
            told.append(f"status in column {self._told([self.status])}")
        read = {*self.places, self.status}
        if unread := [place for place in range(len(self.names)) if place not in read]:
            told.append(f"not read: {self._told(unread)}")
        return ", ".join(told)

    def _told(self, places: Iterable[int]) -> str:
        return _told(self.names, places, named=self.has_header)


def layout_of(lines: Sequence[str], wanted: ColumnOptions, *, ranges: bool = False, statuses: bool = False) -> Layout:
    """Return how a file is read that begins with these lines; UncertainLayout if that cannot be told.

    `ranges` and `statuses` say whether the file may hold them.
    """
    start, filled, delimiter = _first_line(lines)
    first = lines[filled] if filled < len(lines) else ""
    delimiter = delimiter or _delimiter(first)
    probe = Layout(delimiter, [], 0, has_header=False, places=())
    try:
        cells = [cell.strip() for cell in probe.cells(first)]
    except csv.Error:
        raise UncertainLayout(f"the quotes of line {filled + 1} do not match") from None
    places, has_header = _numbers(cells, wanted, ranges=ranges)
    status = _status(cells, wanted, places, has_header=has_header) if statuses else None
    if statuses and status is None and not wanted.every_row:
        _check_others(cells, _columns(probe, lines[filled + has_header :]), places, has_header=has_header)
    return Layout(
        delimiter,
        cells,
        filled + 1 if has_header else start,  # an empty line in front of rows is a line as any other
        has_header=has_header,
        places=places,
        status=status,
    )


def has_russian_name(line: str) -> bool:
    """Return True if a first line has a Russian name of a column that is known, whatever its delimiter."""
    known = NUMBER_NAMES | FIRST_NAMES | LAST_NAMES
    return any(not cell.isascii() and _plain(cell) in known for cell in re.split(r"[;,\t|]", line))


def _plain(name: str) -> str:
    """Return a column's name as the tables have it: small letters, and a space for all that is no letter or digit."""
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold().replace("ё", "е")).split())


def _told(names: Sequence[str], places: Iterable[int], *, named: bool = True) -> str:
    """Return columns as people count them, with their names; of very many the first ones."""
    told = [f"{place + 1} ({names[place]})" if named and _is_read(names[place]) else str(place + 1) for place in places]
    more = f" and {len(told) - TOLD_MAX:,} more" if len(told) > TOLD_MAX else ""
    return ", ".join(told[:TOLD_MAX]) + more


def _is_read(name: str) -> bool:
    """Return True for a name that there is, whose encoding is known: other bytes would tell a person nothing."""
    return bool(name) and not any("\udc80" <= letter <= "\udcff" for letter in name)


def _first_line(lines: Sequence[str]) -> tuple[int, int, str | None]:
    """Return where the table begins and its first line that is not empty, and the delimiter if Excel's line says it."""
    found = EXCEL_DELIMITER.fullmatch(lines[0].strip("\r\n\ufeff ")) if lines else None
    start = 1 if found else 0
    filled = next((place for place in range(start, len(lines)) if not _EMPTY.fullmatch(lines[place])), start)
    return start, filled, found[1] if found else None


def _delimiter(line: str) -> str:
    """Return what stands between the cells of a first line, or NO_DELIMITER."""
    counts = {one: re.sub('"[^"]*"', "", line).count(one) for one in DELIMITERS}
    found = [one for one in DELIMITERS if counts[one]]
    known = [one for one in found if any(_plain(cell) in NUMBER_NAMES | FIRST_NAMES for cell in line.split(one))]
    candidates = known or found
    most = max((counts[one] for one in candidates), default=0)
    likely = [one for one in candidates if counts[one] == most]
    if len(likely) > 1:
        told = " and ".join(f'"{DELIMITER_NAMES.get(one, one)}"' for one in likely)
        raise UncertainLayout(f"{told} both may be the delimiter; put a line such as sep={likely[0]} in front")
    return likely[0] if likely else NO_DELIMITER


def _numbers(cells: Sequence[str], wanted: ColumnOptions, *, ranges: bool) -> tuple[tuple[int, ...], bool]:
    """Return the column of the numbers, or the two of the ends of ranges, and whether the cells are a header."""
    if wanted.column is not None:
        place, is_name = place_of(cells, wanted.column, "--column")
        header = is_name or is_header_cell(cells[place]) or bool(_places(cells, NUMBER_NAMES))
        return (place,), header
    numbers = _places(cells, NUMBER_NAMES)
    firsts, lasts = _places(cells, FIRST_NAMES), _places(cells, LAST_NAMES)
    others = [place for place, cell in enumerate(cells) if _is_another(cell)] if numbers else []
    if len(numbers) + len(others) > 1 or (numbers and firsts and lasts):
        told = _told(cells, sorted({*numbers, *others, *firsts, *lasts}))
        raise UncertainLayout(f"several columns may hold the numbers: {told}; say which with --column")
    if numbers:
        return (numbers[0],), True
    if len(firsts) == len(lasts) == 1:
        if not ranges:
            raise UncertainLayout("a file of ranges; only numbers can be checked: say in which column with --column")
        return (firsts[0], lasts[0]), True
    if len(cells) == 1:
        return (0,), False
    if any(any(map(str.isdigit, cell)) for cell in cells):
        raise UncertainLayout(
            f"{len(cells)} columns and no header: say in which column the numbers are, such as --column 1"
        )
    told = _told(cells, range(len(cells)))
    raise UncertainLayout(f"no column has a name that is known for numbers: {told}; say which with --column")


def _status(cells: Sequence[str], wanted: ColumnOptions, taken: Collection[int], *, has_header: bool) -> int | None:
    """Return the column that says which rows are in service, or None if every row is."""
    if wanted.every_row:
        return None
    if wanted.status_column is not None:
        place, _ = place_of(cells, wanted.status_column, "--status-column")
        if place in taken:
            raise UncertainLayout("--status-column names the column of the numbers")
        return place
    if not has_header:
        return None
    known = [place for place in _places(cells, STATUS_NAMES) if place not in taken]
    likely = [place for place, cell in enumerate(cells) if place not in taken and _STATUS_WORDS.search(_plain(cell))]
    if len(known) == 1 and set(likely) <= set(known):
        return known[0]
    if known or likely:
        raise _uncertain_status(cells, sorted({*known, *likely}), named=True)
    return None


def _check_others(
    names: Sequence[str], columns: Sequence[Collection[str]], taken: Collection[int], *, has_header: bool
) -> None:
    """Refuse a file with a column that nobody named, and whose cells say what is in service or what has changed.

    Under a name of its own a column of yes and no says something else; without a header nobody knows.
    """
    words = ACTIVE | INACTIVE | CHANGES
    if has_header:
        words -= YES_OR_NO
    found = [
        place
        for place, cells in enumerate(columns)
        if place not in taken and cells and all(cell in words or _CHANGED.search(cell) for cell in cells)
    ]
    if found:
        raise _uncertain_status(names, found, named=has_header)


def _uncertain_status(names: Sequence[str], places: Iterable[int], *, named: bool) -> UncertainLayout:
    return UncertainLayout(
        f"what is in service may stand in {_told(names, places, named=named)}; say which with --status-column, or "
        "--every-row if every row is in service"
    )


def _columns(probe: Layout, lines: Iterable[str]) -> list[set[str]]:
    """Return what the cells of each column hold, without the empty ones."""
    columns: list[set[str]] = []
    for line in lines:
        try:
            cells = probe.cells(line)
        except csv.Error:
            continue  # its row is refused when its turn comes
        columns += [set() for _ in cells[len(columns) :]]
        for column, cell in zip(columns, cells, strict=False):
            column.update(filter(None, [normal(cell)]))
    return columns


def _places(cells: Sequence[str], names: Collection[str]) -> list[int]:
    return [place for place, cell in enumerate(cells) if _plain(cell) in names]


def _is_another(name: str) -> bool:
    """Return True if a column has one number of several: `phone 2`, `old msisdn`."""
    plain = _plain(name)
    rest = " ".join(_WHICH.sub(" ", plain).split())
    return plain not in NUMBER_NAMES and rest in NUMBER_NAMES


def is_header_cell(cell: str) -> bool:
    """Return True if a cell may be a column's name and no number."""
    return bool(cell) and not any(map(str.isdigit, cell))


def place_of(cells: Sequence[str], said: str, option: str) -> tuple[int, bool]:
    """Return the column that an option said, by its place or its name, and whether by its name."""
    if said.isascii() and said.isdigit():
        if not 1 <= int(said) <= len(cells):
            raise UncertainLayout(f"{option} {said}: the first line has {len(cells)} columns")
        return int(said) - 1, False
    found = [place for place, cell in enumerate(cells) if cell.casefold() == said.strip().casefold()]
    found = found or [place for place, cell in enumerate(cells) if _plain(cell) == _plain(said)]
    if len(found) != 1:
        told = _told(cells, range(len(cells)))
        many = "several columns have" if found else "no column has"
        raise UncertainLayout(f"{option}: {many} that name: {told}")
    return found[0], True
