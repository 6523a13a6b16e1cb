"""Imports of registrations, as rows: how far each has come, which of its rows were refused, and many rows at once.

Invariant: how far an import has come is written in the transaction that makes its registrations, so that each row
counts once, whatever ends the call or the process.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, repeat
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from numcheck.store.bindings import Binder, Columns, new_contents, new_macs
from numcheck.store.bulk import insert_rows, rows_where
from numcheck.store.rows import checked, new_row
from numcheck.store.schema import imports, refused_rows

REQUESTS_BY_USER = "SELECT user_tag, request_tag FROM registrations WHERE user_tag IN"


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


class NewRegistrations(NamedTuple):
    """New registrations of a service, as columns: one pass a column costs a fraction of a row at a time.

    `common` has the columns in which all are alike, `columns` the others; `kinds` and `details` are those of their
    events.
    """

    common: Mapping[str, Any]
    columns: Mapping[str, Sequence[Any]]
    kinds: Sequence[str]
    details: Sequence[str]

    @property
    def service(self) -> str:
        """Their service."""
        service: str = self.common["service"]
        return service

    def with_contents(self, binder: Binder) -> "NewRegistrations":
        """Return them with the digests of what is recorded in each."""
        contents = new_contents(binder, self.common["key_id"], self._all())
        return self._replace(columns={**self.columns, "content": contents})

    def only(self, wanted: Sequence[bool]) -> "NewRegistrations":
        """Return those of them that are wanted."""
        columns = {name: list(compress(values, wanted)) for name, values in self.columns.items()}
        return NewRegistrations(
            self.common, columns, list(compress(self.kinds, wanted)), list(compress(self.details, wanted))
        )

    def bound(self, binder: Binder, sequence: int) -> Columns:
        """Return every column of the rows that a transaction writes after the event of this sequence."""
        columns = {**self._all(), "sequence": repeat(sequence)}
        return {**columns, "mac": new_macs(binder, self.common["key_id"], columns)}

    def _all(self) -> dict[str, Iterable[Any]]:
        return {**{name: repeat(value) for name, value in self.common.items()}, **self.columns}


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
