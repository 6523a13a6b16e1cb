"""Translates ImportRegistrations. The rules are in registrations/importing.py."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from numcheck import e164
from numcheck.api.calls import CallerWaits
from numcheck.api.fields import network_address_of
from numcheck.api.registration_messages import read_import, read_imported
from numcheck.api.slots import Slots
from numcheck.errors import BadRegistration, NotANumber
from numcheck.registrations import record as records
from numcheck.registrations.importing import PIECE_SIZE, Import, ImportedUser, Importer, Refusal
from numcheck.store import RefusedRow
from numcheck.v1 import registration_pb2 as pb

ROWS_PER_MESSAGE_MAX = 10_000
IMPORTS_MAX = 4  # each holds a thread, and half of a core
IMPORTS_PER_SERVICE_MAX = 2  # more than one, so that a connection that broke bars nobody

FIELDS = [field.name for field in pb.ImportedRegistration.DESCRIPTOR.fields]
NUMBER, MOMENTS = FIELDS.index("number"), FIELDS[-3:]

Row = Sequence[Any]
"""The values of an ImportedRegistration, in the order of its fields."""


class Imports:
    """Answers the calls of ImportRegistrations."""

    def __init__(
        self,
        importer: Importer,
        own_service: Callable[[str], str],
        asked: Callable[[int], None],
        *,
        default_region: str,
    ) -> None:
        """`own_service` returns a service by its name, or raises if the caller may not touch it; `asked` counts the
        rows, each of which becomes what the operator's data says of its number."""
        self._importer, self._own_service, self._asked = importer, own_service, asked
        self._default_region = default_region
        self._slots = Slots(IMPORTS_MAX, IMPORTS_PER_SERVICE_MAX)

    def answers(self, requests: Iterator[bytes], _context: CallerWaits) -> Iterator[bytes]:
        """Take an import: yield an answer to its header, and to each message of rows."""
        header, rows = read_import(next(requests, b""))
        if header is None:
            raise BadRegistration("header", "the first message has no header")
        service, import_id, sends_codes = header
        self._own_service(service)
        import_id = _import_id(import_id)
        with self._slots.take(service):
            one = self._importer.begin(service, import_id, sends_codes=sends_codes)
            yield _answer(one)
            for page in self._importer.refused_before(one) if one.progress.refused_count else ():
                yield _answer(one, page)
            for some in _messages(rows, requests):
                self._asked(len(some))
                one, refused = self._importer.take(one, list(self._pieces(some)))
                yield _answer(one, refused)

    def _pieces(self, rows: Sequence[bytes]) -> Iterator[Callable[[], list[ImportedUser | Refusal]]]:
        if len(rows) > ROWS_PER_MESSAGE_MAX:
            raise BadRegistration("rows", f"the message has more than {ROWS_PER_MESSAGE_MAX:,} rows")
        for first in range(0, len(rows), PIECE_SIZE):
            yield partial(_users_of, rows[first : first + PIECE_SIZE], self._default_region)


def _messages(first: Sequence[bytes], requests: Iterator[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield the rows of each message that has some."""
    if first:
        yield first
    for request in requests:
        header, rows = read_import(request)
        if header is not None:
            raise BadRegistration("header", "only the first message has a header")
        yield rows


def _import_id(import_id: str) -> str:
    if not import_id:
        raise BadRegistration("header.import_id", "the import has no import_id")
    return records.check_request_id(import_id, "header.import_id")


def _answer(one: Import, refused: Sequence[RefusedRow] = ()) -> bytes:
    return pb.ImportRegistrationsResponse(
        **one.progress._asdict(),
        refused=[pb.RefusedRow(row=place, reason=reason, field=field) for place, reason, field in refused],
    ).SerializeToString()


def _users_of(messages: Sequence[bytes], default_region: str) -> list[ImportedUser | Refusal]:
    rows = list(map(read_imported, messages))
    numbers = _numbers([row[NUMBER] for row in rows], default_region)
    return list(map(_user, rows, numbers))


def _numbers(texts: Sequence[str], default_region: str) -> Sequence[int]:
    """Return the number of each text; 0 where there is none."""
    lines = "".join(f"{text}\n" for text in texts)
    numbers = e164.parse_lines(lines.encode(), default_region)
    if len(numbers) == len(texts):
        return numbers
    return array("Q", [_number(text, default_region) for text in texts])  # a text has a line feed in it


def _number(text: str, default_region: str) -> int:
    try:
        return e164.parse(text, default_region)
    except NotANumber:
        return 0


def _user(row: Row, number: int) -> ImportedUser | Refusal:
    """Return the user of a row, or the reason for its refusal."""
    if not number:
        return Refusal(NotANumber.reason, "number")
    user_id, identifier, _, address, data, *moments = row
    try:
        record = records.record_bytes(
            records.check_user_id(user_id),
            number,
            records.check_identifier(identifier),
            network_address_of(address),
            records.check_registration_data(data),
        )
        return ImportedUser(user_id, number, record, *map(_moment_us, moments, MOMENTS))
    except BadRegistration as error:
        return Refusal(error.reason, error.field)


def _moment_us(given: int | None, field: str) -> int:
    """Return a moment in microseconds; 0 if there is none."""
    if given is None:
        return 0
    if given <= 0:  # NO_MOMENT among them
        raise BadRegistration(field, "that is no moment, or one before 1970")
    return given
