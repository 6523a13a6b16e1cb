"""A file of users to import: CSV whose header names the columns, or a JSON object a line, as `export` writes both.

A row that cannot be read is given with the reason, and takes no other with it; a file whose columns cannot be told is
refused.
"""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.cli.reading.encoding import BOMS, Encoding, UnknownEncoding, encoding_of
from numcheck.cli.reading.layout import DELIMITER_NAMES, DELIMITERS, EXCEL_DELIMITER, NUMBER_NAMES, has_russian_name
from numcheck.cli.reading.source import SAMPLE_SIZE, Source
from numcheck.cli.spreadsheets import unguarded
from numcheck.errors import BadUsersFile
from numcheck.moments import read_moment
from numcheck.timestamps import timestamp
from numcheck.v1 import registration_pb2 as pb

LINE_SIZE_MAX = 131_072  # characters of a row

PORT, ADDRESS = "network_address.port", "network_address.address"
MOMENTS = ("registered_at", "refreshed_at", "possession_proved_at")
MAPS = ("identifier", "registration_data")
COLUMNS = ("user_id", "number", ADDRESS, PORT, *MAPS, *MOMENTS)
NOT_IMPORTED = frozenset({"service", "registration_id", "state", "due_at", "evidence"})
"""Columns of an export that an import passes over, as the node finds them out anew."""
OTHER_NAMES = {"network_address": ADDRESS, "address": ADDRESS, "port": PORT}
BAD_ROW = "BAD_ROW"


class BadRow(NamedTuple):
    """A row that cannot be read, and which field is the cause."""

    field: str
    reason: str = BAD_ROW


Row = pb.ImportedRegistration | BadRow


class _Unreadable(ValueError):
    """A value that cannot be read; its text is the field."""


class UsersFile:
    """A file that is read once for each try to import it; `told` says how."""

    def __init__(self, source: Source) -> None:
        """Look at the file's beginning. BadUsersFile if it is uncertain how it is to be read."""
        self._source = source
        with source.content() as (content, compression):
            sample = content.peek(SAMPLE_SIZE)
        try:
            self._encoding = _encoding(sample)
        except UnknownEncoding as error:
            raise BadUsersFile(f"{source.name}: {error}") from None
        first = sample.removeprefix(self._encoding.bom).decode(self._encoding.codec, "replace").lstrip()
        self._is_json = first.startswith("{")
        self.digest = source.digest()
        told = [
            compression,
            str(self._encoding),
            "JSON lines" if self._is_json else str(self._header(io.StringIO(first))),
        ]
        self.told = f"{source.name}: {', '.join(filter(None, told))}"

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Yield each row with the number of its first line. BadUsersFile names a line from which on nothing can be
        read."""
        with self._source.content() as (content, _compression):
            content.read(len(self._encoding.bom))
            text = io.TextIOWrapper(content, self._encoding.codec, newline="")
            line_number = 0
            try:
                for line_number, row in self._json_rows(text) if self._is_json else self._csv_rows(text):
                    yield line_number, row
            except UnicodeDecodeError:
                raise self._bad(line_number + 1, "a damaged character behind it") from None
            finally:
                text.detach()

    def share_read(self) -> float:
        """Return how much of the file has been read."""
        return self._source.share_read()

    def _json_rows(self, text: io.TextIOWrapper) -> Iterator[tuple[int, Row]]:
        for line_number in itertools.count(1):
            line = text.readline(LINE_SIZE_MAX)
            if not line:
                return
            if len(line) == LINE_SIZE_MAX:
                raise self._bad(line_number, f"a line of more than {LINE_SIZE_MAX:,} characters")
            if not line.isspace():
                yield line_number, _read(_user_of_json, line)

    def _csv_rows(self, text: io.TextIOWrapper) -> Iterator[tuple[int, Row]]:
        header = self._header(text)
        lines = _Lines(text)
        rows = csv.reader(lines, delimiter=header.delimiter, strict=True)
        first = header.line_count + 1
        try:
            for cells in rows:
                lines.size = 0
                if any(cells):
                    yield first, _read(header.user, cells)
                first = header.line_count + rows.line_num + 1
        except csv.Error:
            raise self._bad(
                first, f"its quotes do not match, or it has more than {LINE_SIZE_MAX:,} characters"
            ) from None

    def _header(self, text: Any) -> "_Header":
        try:
            return _header_of(text)
        except ValueError as error:
            raise BadUsersFile(f"{self._source.name}: {error}") from None

    def _bad(self, line_number: int, what: str) -> BadUsersFile:
        return BadUsersFile(f"{self._source.name}:{line_number}: {what}")


class _Lines:
    """The lines of a text, of which none is read beyond LINE_SIZE_MAX, nor several that are one row: csv.Error."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text
        self.size = 0
        """How much of the row was read; whoever takes the row puts it to 0."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_SIZE_MAX + 1 - self.size)
        self.size += len(line)
        if self.size > LINE_SIZE_MAX:
            raise csv.Error("a row that is too long")
        if not line:
            raise StopIteration
        return line


def _encoding(sample: bytes) -> Encoding:
    """Return the encoding of a file, all of whose letters have to be certain."""
    bom, codec = next(((bom, codec) for bom, codec in BOMS if sample.startswith(bom)), (b"", "utf-8"))
    if sample.removeprefix(bom).decode(codec, "replace").lstrip().startswith("{"):
        return Encoding(codec, bom)
    found = encoding_of(sample, whole=len(sample) < SAMPLE_SIZE, has_russian_name=has_russian_name)
    if not found.codec:
        raise UnknownEncoding("its letters cannot be told for certain; save it as UTF-8")
    return found


def _read(read: Callable[[Any], pb.ImportedRegistration], content: Any) -> Row:
    try:
        return read(content)
    except _Unreadable as unreadable:
        return BadRow(str(unreadable))


# --- CSV


class _Header(NamedTuple):
    """The columns of a CSV file: where each stands, and those that are entries of a map."""

    delimiter: str
    names: Sequence[str]
    places: Mapping[str, int]
    entries: Sequence[tuple[int, str, str]]
    line_count: int

    def user(self, cells: Sequence[str]) -> pb.ImportedRegistration:
        """Return what the cells of a row say."""
        if len(cells) > len(self.names) and any(cells[len(self.names) :]):
            raise _Unreadable("")
        values = {name: unguarded(cells[place]) for name, place in self.places.items() if place < len(cells)}
        maps = {name: _map_of(name, _json_of(values.get(name, ""))) for name in MAPS}
        for place, name, key in self.entries:
            if place < len(cells) and cells[place]:
                maps[name][key] = unguarded(cells[place])
        return _user(values, values.get(ADDRESS, ""), values.get(PORT, ""), maps)

    def __str__(self) -> str:
        delimiter = DELIMITER_NAMES.get(self.delimiter, self.delimiter)
        return f'CSV, delimiter "{delimiter}", columns {", ".join(self.names)}'


def _header_of(text: Any) -> _Header:
    """Return the header at the beginning of a text, which is read; ValueError if its columns cannot be told."""
    line, line_count = text.readline(LINE_SIZE_MAX), 1
    said = EXCEL_DELIMITER.fullmatch(line.strip("\r\n "))
    if said is not None:
        line, line_count = text.readline(LINE_SIZE_MAX), 2
    line = line.rstrip("\r\n")
    delimiter = said[1] if said else max(DELIMITERS, key=line.count)
    names = [_column(cell.strip()) for cell in next(csv.reader([line], delimiter=delimiter), [])]
    places = {name: place for place, name in enumerate(names) if name in COLUMNS}
    dotted = ((place, *name.partition(".")[::2]) for place, name in enumerate(names))
    entries = [(place, name, key) for place, name, key in dotted if name in MAPS and key]
    known = set(places) | {names[place] for place, _, _ in entries} | NOT_IMPORTED
    if unknown := [name for name in names if name not in known]:
        allowed = f"{', '.join(COLUMNS)}, and identifier.NAME and registration_data.NAME"
        raise ValueError(f"no such column: {', '.join(unknown)}; there are {allowed}")
    if missing := {"user_id", "number"} - set(places):
        raise ValueError(f"the header has no column {' and no column '.join(sorted(missing))}")
    if len(set(names)) < len(names):
        raise ValueError("two columns have the same name")
    return _Header(delimiter, names, places, entries, line_count)


def _column(cell: str) -> str:
    name = cell if cell.partition(".")[0] in MAPS else cell.lower()
    if " ".join(re.sub(r"[\W_]+", " ", name).split()) in NUMBER_NAMES:
        return "number"
    return OTHER_NAMES.get(name, name)


def _json_of(text: str) -> Any:
    """Return what a cell of JSON says; an empty map for an empty cell, None if it is no JSON."""
    try:
        return orjson.loads(text) if text else {}
    except ValueError:
        return None


# --- JSON


def _user_of_json(line: str) -> pb.ImportedRegistration:
    fields = _json_of(line)
    if not isinstance(fields, dict):
        raise _Unreadable("")
    address = fields.pop("network_address", None) or {}
    if isinstance(address, str):
        address = {"address": address}
    if not isinstance(address, dict) or address.keys() - {"address", "port"}:
        raise _Unreadable("network_address")
    if unknown := fields.keys() - {*COLUMNS, *NOT_IMPORTED}:
        raise _Unreadable(min(unknown) if min(unknown).isidentifier() else "")
    maps = {name: _map_of(name, fields.get(name) or {}) for name in MAPS}
    values = {name: _text_of(name, fields.get(name)) for name in ("user_id", "number", *MOMENTS)}
    where = _text_of(ADDRESS, address.get("address"))
    return _user(values, where, _text_of(PORT, address.get("port")), maps)


def _text_of(field: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"+{value}" if field == "number" else str(value)
    if not isinstance(value, str):
        raise _Unreadable(field)
    return value


# --- both


def _user(
    values: Mapping[str, str], address: str, port: str, maps: Mapping[str, dict[str, str]]
) -> pb.ImportedRegistration:
    return pb.ImportedRegistration(
        user_id=values.get("user_id", ""),
        number=values.get("number", ""),
        network_address=pb.NetworkAddress(address=address, port=_port_of(port)) if address else None,
        identifier=maps["identifier"],
        registration_data=maps["registration_data"],
        registered_at=_moment_of(values, "registered_at"),
        refreshed_at=_moment_of(values, "refreshed_at"),
        possession_proved_at=_moment_of(values, "possession_proved_at"),
    )


def _map_of(field: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise _Unreadable(field)
    return value


def _port_of(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise _Unreadable(PORT)
    return int(text)


def _moment_of(values: Mapping[str, str], field: str) -> Timestamp | None:
    """Return a moment of ISO 8601, in UTC unless it says otherwise; None for no text."""
    text = values.get(field)
    if not text:
        return None
    try:
        return timestamp(read_moment(text))
    except ValueError:
        raise _Unreadable(field) from None
