"""Translates ImportRegistrations. The rules are in registrations/importing.py."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from numcheck import e164
from numcheck.api.calls import CallerWaits, parsed
from numcheck.api.fields import network_address_of
from numcheck.api.slots import Slots
from numcheck.errors import BadRegistration, NotANumber
from numcheck.registrations import record as records
from numcheck.registrations.importing import PIECE_SIZE, Import, ImportedUser, Importer, Refusal
from numcheck.store import RefusedRow
from numcheck.timestamps import try_microseconds
from numcheck.v1 import registration_pb2 as pb

ROWS_PER_MESSAGE_MAX = 10_000
IMPORTS_MAX = 4  # each holds a thread, and half of a core
IMPORTS_PER_SERVICE_MAX = 2  # more than one, so that a connection that broke bars nobody


class Imports:
    """Answers the calls of ImportRegistrations."""

    def __init__(
        self,
        importer: Importer,
        own_service: Callable[[Any, CallerWaits], str],
        asked: Callable[[int], None],
        *,
        default_region: str,
    ) -> None:
        """`own_service` returns the service of a header, or raises if the caller may not touch it; `asked` counts the
        rows, each of which becomes what the operator's data says of its number."""
        self._importer, self._own_service, self._asked = importer, own_service, asked
        self._default_region = default_region
        self._slots = Slots(IMPORTS_MAX, IMPORTS_PER_SERVICE_MAX)

    def answers(self, requests: Iterator[bytes], context: CallerWaits) -> Iterator[bytes]:
        """Take an import: yield an answer to its header, and to each message of rows."""
        first = parsed(pb.ImportRegistrationsRequest, next(requests, b""))
        if not first.HasField("header"):
            raise BadRegistration("header", "the first message has no header")
        header = first.header
        service = self._own_service(header, context)
        import_id = _import_id(header)
        with self._slots.take(service):
            one = self._importer.begin(service, import_id, sends_codes=header.send_codes)
            yield _answer(one)
            for page in self._importer.refused_before(one) if one.progress.refused_count else ():
                yield _answer(one, page)
            for message in _messages(first, requests):
                self._asked(len(message.rows))
                one, refused = self._importer.take(one, list(self._pieces(message.rows)))
                yield _answer(one, refused)

    def _pieces(self, rows: Sequence[pb.ImportedRegistration]) -> Iterator[Callable[[], list[ImportedUser | Refusal]]]:
        if len(rows) > ROWS_PER_MESSAGE_MAX:
            raise BadRegistration("rows", f"the message has more than {ROWS_PER_MESSAGE_MAX:,} rows")
        for first in range(0, len(rows), PIECE_SIZE):
            yield partial(_users_of, rows[first : first + PIECE_SIZE], self._default_region)


def _messages(first: Any, requests: Iterator[bytes]) -> Iterator[Any]:
    """Yield the messages that have rows."""
    if first.rows:
        yield first
    for request in requests:
        message = parsed(pb.ImportRegistrationsRequest, request)
        if message.HasField("header"):
            raise BadRegistration("header", "only the first message has a header")
        yield message


def _import_id(header: pb.ImportHeader) -> str:
    if not header.import_id:
        raise BadRegistration("header.import_id", "the import has no import_id")
    return records.check_request_id(header.import_id, "header.import_id")


def _answer(one: Import, refused: Sequence[RefusedRow] = ()) -> bytes:
    return pb.ImportRegistrationsResponse(
        **one.progress._asdict(),
        refused=[pb.RefusedRow(row=place, reason=reason, field=field) for place, reason, field in refused],
    ).SerializeToString()


def _users_of(rows: Sequence[pb.ImportedRegistration], default_region: str) -> list[ImportedUser | Refusal]:
    numbers = _numbers([row.number for row in rows], default_region)
    return [_user(row, number) for row, number in zip(rows, numbers, strict=True)]


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


def _user(row: pb.ImportedRegistration, number: int) -> ImportedUser | Refusal:
    """Return the user of a row, or the reason for its refusal."""
    if not number:
        return Refusal(NotANumber.reason, "number")
    try:
        user_id, address = records.check_user_id(row.user_id), network_address_of(row)
        record = records.record_bytes(
            user_id,
            number,
            records.check_identifier(row.identifier),
            (address.address, address.port),
            records.check_registration_data(row.registration_data),
        )
        moments = (_moment_us(row, field) for field in ("registered_at", "refreshed_at", "possession_proved_at"))
        return ImportedUser(user_id, number, record, *moments)
    except BadRegistration as error:
        return Refusal(error.reason, error.field)


def _moment_us(row: pb.ImportedRegistration, field: str) -> int:
    """Return a moment in microseconds; 0 if there is none."""
    if not row.HasField(field):
        return 0
    found = try_microseconds(getattr(row, field))
    if found is None or found <= 0:
        raise BadRegistration(field, "that is no moment, or one before 1970")
    return found
