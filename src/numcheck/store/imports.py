"""Imports of registrations, as rows: how far each has come, which of its rows were refused, and many rows at once.

Invariant: how far an import has come is written in the transaction that makes its registrations, so that each row
counts once, whatever ends the call or the process.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from numcheck.store.bindings import Binder, RegistrationBinding
from numcheck.store.bulk import insert_rows, rows_where
from numcheck.store.registration_rows import RegistrationRow
from numcheck.store.rows import checked, new_row
from numcheck.store.schema import imports, refused_rows

REQUESTS_BY_USER = "SELECT user_tag, request_tag FROM registrations WHERE user_tag IN"
SEQUENCE = RegistrationRow._fields.index("sequence")
UNBOUND_FIELDS = ("sequence", "reminded_of_us", "content", "mac")
assert RegistrationRow._fields[SEQUENCE:] == UNBOUND_FIELDS, "a new row's digests and what they need come last"


class ImportProgress(NamedTuple):
    """How far an import has come: so many rows, each of which made a registration, was there already or was refused."""

    row_count: int = 0
    made_count: int = 0
    already_count: int = 0
    refused_count: int = 0


class RefusedRow(NamedTuple):
    """A row that was not recorded, by its place in the import."""

    place: int
    reason: str
    field: str


class _StoredRefusal(NamedTuple):
    import_tag: bytes
    place: int
    reason: str
    field: str


def read_progress(connection: Connection, import_tags: Sequence[bytes]) -> tuple[bytes, ImportProgress]:
    """Return an import's progress and the tag that it is under: the first, if it has not begun."""
    row = connection.execute(select(imports).where(imports.c.import_tag.in_(import_tags))).first()
    if row is None:
        return import_tags[0], ImportProgress()
    row = checked(imports, row, "an import of registrations")
    return row.import_tag, ImportProgress(row.row_count, row.made_count, row.already_count, row.refused_count)


def write_progress(connection: Connection, import_tag: bytes, progress: ImportProgress, at_us: int) -> None:
    """Keep how far an import has come."""
    connection.execute(delete(imports).where(imports.c.import_tag == import_tag))
    values = {"import_tag": import_tag, "at_us": at_us, **progress._asdict()}
    connection.execute(insert(imports).values(new_row(imports, values)))


def write_refused(connection: Connection, import_tag: bytes, refused: Sequence[RefusedRow]) -> None:
    """Keep which rows of an import were refused."""
    insert_rows(connection, refused_rows, [_StoredRefusal(import_tag, *row) for row in refused])


def read_refused(connection: Connection, import_tag: bytes, *, after: int, count_max: int) -> list[RefusedRow]:
    """Return the next refused rows of an import behind a place."""
    wanted = (refused_rows.c.import_tag == import_tag) & (refused_rows.c.place > after)
    columns = (refused_rows.c[name] for name in RefusedRow._fields)
    rows = connection.execute(select(*columns).where(wanted).order_by(refused_rows.c.place).limit(count_max))
    return list(map(RefusedRow._make, rows))


def prune(connection: Connection, *, before_us: int) -> None:
    """Forget the imports whose last row came before a moment."""
    old = select(imports.c.import_tag).where(imports.c.at_us < before_us)
    connection.execute(delete(refused_rows).where(refused_rows.c.import_tag.in_(old)))
    connection.execute(delete(imports).where(imports.c.at_us < before_us))


def requests_of(connection: Connection, user_tags: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
    """Return the tag of the request that made each registration of these users, by the user's tag."""
    found: list[tuple[bytes, bytes | None]] = rows_where(connection, REQUESTS_BY_USER, user_tags)  # type: ignore[assignment]
    return dict(found)


def bound_rows(
    binder: Binder, binding: RegistrationBinding, rows: Sequence[RegistrationRow], *, sequence: int
) -> list[RegistrationRow]:
    """Return new rows, which no time was reminded of yet, with their digests."""
    contents = binding.contents(binder, rows)
    made = [
        RegistrationRow._make((*row[:SEQUENCE], sequence, None, content, b""))
        for row, content in zip(rows, contents, strict=True)
    ]
    macs = binding.macs(binder, made)
    return [RegistrationRow._make((*row[:-1], mac)) for row, mac in zip(made, macs, strict=True)]
