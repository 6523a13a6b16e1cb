"""The files of a portability clearing house: which numbers went to which operator, by the house's own codes.

A file is a CSV of its own name, or a ZIP with one. It is read in one pass, whatever its size; what is kept is eight
bytes a number. A file that is not what its name and its RowCount say is refused, and the line named.
"""

import hashlib
import io
import lzma
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import groupby
from pathlib import Path
from typing import IO, NamedTuple

from pyroaring import BitMap

from numcheck.errors import BadPortingsFile
from numcheck.moments import read_moment
from numcheck.plan import text_fault

NAME = re.compile(
    r"(?P<kind>Port_All_Full|Port_All|Port_Increment|Return_Increment|Operators)_(?P<time>\d{12})_(?P<sequence>\d{1,9})"
)
HEADERS = {
    "Port_All": "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount",
    "Port_All_Full": "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount,"
    "NPId,DonorId,RangeHolderId,OldRoute,OldMNC,ProcessType",
    "Port_Increment": "NPId,Number,RecipientId,DonorId,RangeHolderId,OldRoute,NewRoute,OldMNC,NewMNC,RegionCode,"
    "PortDate,RowCount",
    "Return_Increment": "NPId,Number,OwnerId,RangeHolderId,RangeHolderMNC,OldRoute,NewRoute,RegionCode,PortDate,"
    "RowCount",
    "Operators": "OrgCode,MNC,TIN,OrgName,RowCount",
}
MOSCOW = timezone(timedelta(hours=3))  # the house's clock
NUMBER_SIZE = 10
FIRST_OF_COUNTRY = 70_000_000_000  # the files leave the 7 out
FIRST_NUMBER = 79_000_000_000  # that a file can hold: a BitMap of 32 bits holds all that may follow
TAX_ID_LENGTHS = (10, 12)
LINE_SIZE_MAX = 4_096
CODE_LENGTH_MAX = 64
REPEATED_MAX = 100_000  # numbers of a file with several rows: each costs some hundred bytes
CONTENT_SIZE_MAX = 4_294_967_296  # bytes of a file, inflated: 50 million rows
BROKEN = (  # what zipfile raises of an archive that is cut, altered, locked, or packed in a way it does not know
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, IndexError, OSError),
)


@dataclass(frozen=True, slots=True)
class FileName:
    """A file's name, read: its kind, its moment, and its position in the sequence."""

    path: Path
    kind: str
    time: datetime
    sequence: int

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.path.name.rpartition(".")[0]

    def push_id(self) -> str:
        """Return what a push of the file is known by: its name and what it holds. One that is issued anew under its old
        name, or is whole now and was not before, is another push."""
        with _opened(self) as content:
            return f"{self.stem}/{hashlib.file_digest(content, 'sha256').hexdigest()[:16]}"  # type: ignore[arg-type]

    @property
    def is_snapshot(self) -> bool:
        """True if the file has all portings, not what changed of them."""
        return self.kind.startswith("Port_All")


class _Move(NamedTuple):
    """A row's content: a number, the code of the operator that serves it (None: its range's holder), and since when."""

    number: int
    recipient: str | None
    port_date: str


@dataclass(slots=True)
class Portings:
    """The numbers of a file (arrays of unsigned 64-bit integers): ported, by the recipient's code, and returned."""

    ported: "dict[str, array[int]]" = field(default_factory=dict)
    returned: "array[int]" = field(default_factory=lambda: array("Q"))
    row_count: int = 0

    def take(self, move: _Move) -> None:
        """Add a number that went to an operator, or home."""
        if move.recipient is None:
            self.returned.append(move.number)
            return
        numbers = self.ported.get(move.recipient)
        if numbers is None:
            numbers = self.ported[move.recipient] = array("Q")
        numbers.append(move.number)


@dataclass(frozen=True, slots=True)
class Member:
    """An operator as the house knows it; the tax id is None where the house has none that is one."""

    code: str
    name: str
    tax_id: str | None


def file_name(path: Path) -> FileName:
    """Return what a file is by its name; BadPortingsFile if it is none of the house's."""
    match = NAME.fullmatch(path.name.rpartition(".")[0])
    if match is None or path.suffix.lower() not in (".csv", ".zip"):
        known = ", ".join(HEADERS)
        raise BadPortingsFile(
            f"{path.name}: not a file of the clearing house: <type>_YYYYMMDDHHMM_<n>.csv or .zip ({known})"
        )
    try:
        time = datetime.strptime(match["time"], "%Y%m%d%H%M").replace(tzinfo=MOSCOW).astimezone(UTC)
    except ValueError:
        raise BadPortingsFile(f"{path.name}: the name has a time that is none") from None
    return FileName(path, match["kind"], time, int(match["sequence"]))


def sequence_warning(file: FileName, previous: int) -> str | None:
    """Return what the file's number tells beside the number applied before it of its kind (0: none): that files between
    are missing, or that it does not rise. All portings need none before them."""
    missing = range(previous + 1, file.sequence)
    if file.is_snapshot or not previous or file.sequence == previous + 1:
        return None
    if not missing:
        return (
            f"its number is not above that of the {file.kind} before it, {previous}: look whether the house counts anew"
        )
    numbers = f"{missing[0]} is" if len(missing) == 1 else f"{missing[0]} to {missing[-1]} are"
    return (
        f"{file.kind} {numbers} missing, and what changed there: push a newer Port_All, unless one pushed since has it"
    )


def of_one_moment(files: Iterable[FileName]) -> Iterator[list[FileName]]:
    """Yield files in the order in which they are to be pushed, and increments of one moment together: which of them
    has a number's last row, only PortDate tells."""
    for (_, is_snapshot), grouped in groupby(in_order(files), key=lambda file: (file.time, file.is_snapshot)):
        some = list(grouped)
        yield from ([one] for one in some) if is_snapshot else [some]


def read_portings(files: Sequence[FileName]) -> list[Portings]:
    """Return the portings of each file of one moment; BadPortingsFile if one cannot be trusted.

    Of a number that has several rows, of one file or of several, the last by PortDate counts. Such are few: only they
    are looked at twice.
    """
    found, seen, repeated = [Portings() for _ in files], BitMap(), BitMap()
    for file, portings in zip(files, found, strict=True):
        for _, row in _moves(file):
            place = row.number - FIRST_NUMBER
            (repeated if place in seen else seen).add(place)
            portings.take(row)
    if not repeated:
        return found
    if len(repeated) > REPEATED_MAX:
        raise BadPortingsFile(f"{files[0].path.name}: more than {REPEATED_MAX:,} numbers have several rows")
    return _read_repeated(files, repeated)


class _Dated(NamedTuple):
    """A row of a number that has several: when it was ported, the line, and whose portings the row belongs to."""

    moment: datetime
    line: str
    row: _Move
    portings: Portings


def _read_repeated(files: Sequence[FileName], repeated: BitMap) -> list[Portings]:
    found, last = [Portings() for _ in files], dict[int, _Dated]()
    for file, portings in zip(files, found, strict=True):
        for line_number, row in _moves(file):
            if row.number - FIRST_NUMBER not in repeated:
                portings.take(row)
                continue
            one = _Dated(_port_date(file, line_number, row), f"{file.path.name}:{line_number}", row, portings)
            before = last.get(row.number)
            if before is None or one.moment > before.moment:
                last[row.number] = one
            elif one.moment == before.moment and one.row.recipient != before.row.recipient:
                raise BadPortingsFile(f"{one.line}: the number of {before.line} with its PortDate and another operator")
    for one in last.values():
        one.portings.take(one.row)
    return found


def _port_date(file: FileName, line_number: int, row: _Move) -> datetime:
    try:
        return read_moment(row.port_date, MOSCOW)
    except ValueError:
        raise BadPortingsFile(
            f"{file.path.name}:{line_number}: the number has several rows, and this one's PortDate is no moment"
        ) from None


def _moves(file: FileName) -> Iterator[tuple[int, _Move]]:
    """Each row of portings with its line's number."""
    read_row = {"Port_Increment": _read_increment, "Return_Increment": _read_return}.get(file.kind, _read_owner)
    for line_number, cells in _rows(file):
        try:
            yield line_number, read_row(cells)
        except ValueError as error:
            raise BadPortingsFile(f"{file.path.name}:{line_number}: {error}") from None


def _read_owner(cells: list[str]) -> _Move:
    return _Move(_number(cells[0]), _code(cells[1]), cells[5])


def _read_increment(cells: list[str]) -> _Move:
    recipient, range_holder = _code(cells[2]), cells[4].strip()
    return _Move(_number(cells[1]), None if recipient == range_holder else recipient, cells[10])


def _read_return(cells: list[str]) -> _Move:
    return _Move(_number(cells[1]), None, cells[8])


def _number(cell: str) -> int:
    if len(cell) != NUMBER_SIZE or not (cell.isascii() and cell.isdigit() and cell[0] == "9"):
        raise ValueError("the number is not ten digits that start with 9")
    return FIRST_OF_COUNTRY + int(cell)


def _code(cell: str) -> str:
    code = cell.strip()
    if not code:
        raise ValueError("the row names no operator")
    if not code.isprintable() or len(code) > CODE_LENGTH_MAX:
        raise ValueError(f"the operator's code is not of up to {CODE_LENGTH_MAX} plain characters")
    return code


# --- operators


def read_operators(file: FileName) -> dict[str, Member]:
    """Return the operators of a file by their codes; BadPortingsFile if it cannot be trusted."""
    members: dict[str, Member] = {}
    for line_number, cells in _rows(file):
        tax_id = cells[2].strip()
        try:
            code = _code(cells[0])
        except ValueError as error:
            raise BadPortingsFile(f"{file.path.name}:{line_number}: {error}") from None
        if fault := text_fault(cells[3]):
            raise BadPortingsFile(f"{file.path.name}:{line_number}: {fault}")
        known = tax_id if tax_id.isdigit() and len(tax_id) in TAX_ID_LENGTHS else None
        before = members.get(code)
        if before is not None and known is not None and before.tax_id not in (None, known):
            raise BadPortingsFile(f"{file.path.name}:{line_number}: {code} has two tax ids")
        if before is None or before.tax_id is None:
            members[code] = Member(code, " ".join(cells[3].replace('"', " ").split()), known)
    return members


# --- rows


def _rows(file: FileName) -> Iterator[tuple[int, list[str]]]:
    """Each row's cells with its line's number; refuses a file that does not have its header or its RowCount."""
    name, header = file.path.name, HEADERS[file.kind]
    column_count, place_of_count = header.count(",") + 1, header.split(",").index("RowCount")
    expected, row_count = None, 0
    with _lines(file) as lines:
        if next(lines, "").strip() != header:
            raise BadPortingsFile(f"{name}:1: the header is not that of a {file.kind} file")
        for line_number, line in enumerate(lines, 2):
            if not line.strip():
                continue
            if not line.endswith("\n") and len(line) >= LINE_SIZE_MAX:
                raise BadPortingsFile(f"{name}:{line_number}: a line of more than {LINE_SIZE_MAX:,} characters")
            cells = _cells(file.kind, line.rstrip("\r\n"))
            if len(cells) != column_count:
                raise BadPortingsFile(f"{name}:{line_number}: {len(cells)} columns instead of {column_count}")
            expected = _row_count(file, line_number, cells[place_of_count].strip(), expected)
            row_count += 1
            yield line_number, cells
    if row_count != (expected or 0):
        raise BadPortingsFile(
            f"{name}: {row_count:,} rows, and RowCount says {expected or 0:,}: the file is cut or altered"
        )


def _cells(kind: str, line: str) -> list[str]:
    if kind != "Operators":
        return line.split(",")
    # A name may hold commas, and text behind its closing quote: it is what is left between its neighbours.
    head, separator, row_count = line.rpartition(",")
    return [*head.split(",", 3), row_count] if separator else [line]


def _row_count(file: FileName, line_number: int, cell: str, expected: int | None) -> int:
    """Return what the first row says; the others have nothing, 0, or the same."""
    if expected is not None and cell in ("", "0", str(expected)):
        return expected
    if expected is not None:
        raise BadPortingsFile(f"{file.path.name}:{line_number}: another RowCount than the first row's {expected:,}")
    if not (cell.isascii() and cell.isdigit()):
        raise BadPortingsFile(f"{file.path.name}:{line_number}: the first row has no RowCount")
    return int(cell)


@contextmanager
def _lines(file: FileName) -> Iterator[Iterator[str]]:
    """Yield the lines of a file, decoded as they are read."""
    with _opened(file) as content:
        text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
        yield iter(lambda: text.readline(LINE_SIZE_MAX), "")


@contextmanager
def _opened(file: FileName) -> Iterator[IO[bytes]]:
    """Yield the bytes of a file, inflated as they are read; BadPortingsFile if they cannot be, or are too many."""
    try:
        with _content(file) as content:
            yield content
    except UnicodeDecodeError:
        raise BadPortingsFile(f"{file.path.name}: it is not UTF-8 text") from None
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the archive's
            raise BadPortingsFile(f"{file.path.name}: it cannot be read: {error.strerror}") from None
        raise BadPortingsFile(f"{file.path.name}: the archive is cut, damaged or locked") from None


@contextmanager
def _content(file: FileName) -> Iterator[IO[bytes]]:
    if file.path.suffix.lower() == ".csv":
        _check_size(file, file.path.stat().st_size)
        with file.path.open("rb") as plain:
            yield plain
        return
    with zipfile.ZipFile(file.path) as archive:
        names = archive.namelist()
        if names != [f"{file.stem}.csv"]:
            raise BadPortingsFile(f"{file.path.name}: the archive does not hold just {file.stem}.csv")
        _check_size(file, archive.getinfo(names[0]).file_size)  # no more of it is ever inflated
        with archive.open(names[0]) as member:
            yield member


def _check_size(file: FileName, size: int) -> None:
    if size > CONTENT_SIZE_MAX:
        raise BadPortingsFile(f"{file.path.name}: more than {CONTENT_SIZE_MAX:,} bytes")


def in_order(files: Iterable[FileName]) -> list[FileName]:
    """Files in the order in which they are to be pushed."""
    return sorted(files, key=lambda file: (file.time, file.sequence, file.kind))
