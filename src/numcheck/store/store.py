"""The store: the numbering plan, the operators and their active sets, each change in one transaction.

Invariants: ranges never overlap; every change raises the revision in the transaction that makes it, so that whoever
has applied revision N has seen every change up to it; an operator's id is never given to another. On disk after a
crash at any step: the state before the transaction or the state after it.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import xxhash
from pyroaring import BitMap
from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, insert, inspect, select, update
from sqlalchemy.exc import DatabaseError

from numcheck.active import ActiveSet, Operator, chunk_digest
from numcheck.active.active_set import set_digest
from numcheck.errors import StoreDamaged, StoreMissing, StoreTooNew, UnknownOperator
from numcheck.plan import Country, NumberingPlan, Range
from numcheck.store.engine import sqlite_engine
from numcheck.store.operators import OperatorBook
from numcheck.store.schema import (
    SCHEMA_VERSION,
    active_chunks,
    active_sets,
    installation,
    metadata,
    operators,
    plan_series,
    ranges,
)

FILE_NAME = "numcheck.db"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoredRange(NamedTuple):
    """A contiguous allocation of numbers to one operator; first and last are inclusive."""

    first: int
    last: int
    operator_id: int
    mobile: bool
    region: str


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """A series of the numbering plan, all codes with one first digit, and where it came from."""

    calling_code: int
    series: str
    source: str
    imported_at: datetime
    range_count: int
    number_count: int


@dataclass(frozen=True, slots=True)
class PlanImport:
    """What an import did: the series that it replaced and the revision that holds it."""

    revision: int
    series: tuple[str, ...]
    range_count: int
    number_count: int


class Store:
    """All that this installation knows. Methods may be called from any thread; they take turns."""

    def __init__(self, data_dir: Path, *, read_only: bool = False) -> None:
        """Open the store of a data directory, making it if need be; the writer must hold the directory's lock.

        Raises StoreMissing (read_only), StoreTooNew, StoreDamaged.
        """
        path = data_dir / FILE_NAME
        if read_only and not self.exists(data_dir):
            raise StoreMissing(f"there is no store in {data_dir}; `numcheck demo` or `numcheck plan import` makes one")
        data_dir.mkdir(parents=True, exist_ok=True)
        self._turn = threading.RLock()
        self._engine = sqlite_engine(path, read_only=read_only)
        with self._transaction() as connection:
            self._check_schema(connection, read_only=read_only)

    @staticmethod
    def exists(data_dir: Path) -> bool:
        """Whether there is a store in the data directory."""
        return (data_dir / FILE_NAME).exists()

    def close(self) -> None:
        """Close the connection; what was acknowledged is on disk already."""
        self._engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._turn:
            try:
                with self._engine.begin() as connection:
                    yield connection
            except DatabaseError as error:
                raise StoreDamaged(f"the store cannot be read or written: {error.orig}") from None
            except UnicodeDecodeError:  # the driver's, from a damaged schema or from its own message about one
                raise StoreDamaged("the store cannot be read: there is text in it that is none") from None

    @staticmethod
    def _check_schema(connection: Connection, *, read_only: bool) -> None:
        if not read_only and not inspect(connection).has_table(installation.name):
            metadata.create_all(connection)
            connection.execute(insert(installation).values(id=1, schema_version=SCHEMA_VERSION, revision=0))
        version = connection.scalar(select(installation.c.schema_version))
        if version is None or version > SCHEMA_VERSION:
            raise StoreTooNew(f"the store has schema {version}; this numcheck knows up to {SCHEMA_VERSION}")

    @staticmethod
    def _raise_revision(connection: Connection) -> int:
        # The update takes the row's lock first, so that revisions are committed in their order on every engine.
        connection.execute(update(installation).values(revision=installation.c.revision + 1))
        return int(connection.execute(select(installation.c.revision)).scalar_one())

    @property
    def engine_name(self) -> str:
        """The engine underneath and its version."""
        return f"SQLite {sqlite3.sqlite_version}"

    @property
    def revision(self) -> int:
        """Of the last change that was committed; 0 before the first."""
        with self._transaction() as connection:
            return int(connection.execute(select(installation.c.revision)).scalar_one())

    # --- the numbering plan

    def import_plan(self, plan: NumberingPlan, *, source: str, now: datetime) -> PlanImport:
        """Replace the series that the plan's rows speak of; other series stay as they are."""
        with self._transaction() as connection:
            operator_ids = OperatorBook(connection).operator_ids(plan)
            series = sorted(plan.series)
            for one in series:
                held = [held for held in plan.ranges if plan.country.series(held.first) == one]
                rows = [_stored(plan, held, operator_ids) for held in held]
                self._replace_series(connection, plan.country, one, rows, source, now)
            revision = self._raise_revision(connection)
        return PlanImport(revision, tuple(series), len(plan.ranges), plan.number_count)

    @staticmethod
    def _replace_series(
        connection: Connection, country: Country, series: str, rows: list[StoredRange], source: str, now: datetime
    ) -> None:
        same = (plan_series.c.calling_code == country.calling_code) & (plan_series.c.series == series)
        connection.execute(delete(plan_series).where(same))
        first, last = country.series_bounds(series)
        connection.execute(delete(ranges).where(ranges.c.first_number.between(first, last)))
        connection.execute(insert(ranges), [_row(one) for one in rows])
        connection.execute(
            insert(plan_series).values(
                calling_code=country.calling_code,
                series=series,
                source=source,
                imported_at_us=_microseconds(now),
                range_count=len(rows),
                number_count=sum(one.last - one.first + 1 for one in rows),
                checksum=_checksum_of(rows),
            )
        )

    def series(self) -> list[SeriesInfo]:
        """The loaded series of the numbering plan."""
        columns = [column for column in plan_series.c if column.name != "checksum"]
        order = (plan_series.c.calling_code, plan_series.c.series)
        with self._transaction() as connection:
            rows = connection.execute(select(*columns).order_by(*order)).all()
        return [SeriesInfo(code, series, source, _moment(at), *counts) for code, series, source, at, *counts in rows]

    def ranges(self) -> list[StoredRange]:
        """Every range of the numbering plan, ascending; StoreDamaged if they are not what was imported."""
        with self._transaction() as connection:
            rows = [StoredRange(*row) for row in connection.execute(select(ranges).order_by(ranges.c.first_number))]
            checksums = connection.execute(select(plan_series)).all()
        checked_count = 0
        for stored in checksums:
            prefix = f"{stored.calling_code}{stored.series}"
            held = [row for row in rows if str(row.first).startswith(prefix)]
            if _checksum_of(held) != stored.checksum:
                raise StoreDamaged(f"series {prefix} of the numbering plan is not what was imported; import it again")
            checked_count += len(held)
        if checked_count != len(rows):
            raise StoreDamaged("the numbering plan has ranges of a series that was not imported")
        return rows

    # --- operators and their active sets

    def operators(self) -> list[Operator]:
        """Every operator with the head of its active set, by id."""
        joined = operators.outerjoin(active_sets)
        columns = (operators, active_sets.c.version, active_sets.c.data_time_us, active_sets.c.synthetic)
        statement = select(*columns).select_from(joined).order_by(operators.c.operator_id)
        with self._transaction() as connection:
            rows = connection.execute(statement).all()
        return [
            Operator(
                operator_id=row.operator_id,
                display_name=row.display_name,
                tax_id=row.tax_id,
                data_version=row.version or 0,
                data_time=None if row.data_time_us is None else _moment(row.data_time_us),
                synthetic=bool(row.synthetic),
            )
            for row in rows
        ]

    def replace_active_set(
        self, operator_id: int, active_set: ActiveSet, *, data_time: datetime, now: datetime, synthetic: bool = False
    ) -> int:
        """Make this the operator's active set; return its new version. UnknownOperator if there is no such operator."""
        chunks = [_chunk_row(operator_id, chunk, bitmap) for chunk, bitmap in active_set.chunks()]
        with self._transaction() as connection:
            if not connection.scalar(select(func.count()).where(operators.c.operator_id == operator_id)):
                raise UnknownOperator(f"there is no operator {operator_id}")
            own = active_sets.c.operator_id == operator_id
            version = (connection.scalar(select(active_sets.c.version).where(own)) or 0) + 1
            connection.execute(delete(active_chunks).where(active_chunks.c.operator_id == operator_id))
            connection.execute(delete(active_sets).where(own))
            connection.execute(
                insert(active_sets).values(
                    operator_id=operator_id,
                    version=version,
                    data_time_us=_microseconds(data_time),
                    stored_at_us=_microseconds(now),
                    number_count=len(active_set),
                    digest=set_digest((row["chunk"], row["digest"]) for row in chunks),
                    synthetic=synthetic,
                )
            )
            if chunks:
                connection.execute(insert(active_chunks), chunks)
            self._raise_revision(connection)
        return version

    def active_counts(self) -> dict[int, int]:
        """How many active numbers each operator that supplied data has."""
        with self._transaction() as connection:
            rows = connection.execute(select(active_sets.c.operator_id, active_sets.c.number_count)).all()
        return {row.operator_id: row.number_count for row in rows}

    def active_set(self, operator_id: int) -> ActiveSet:
        """An operator's active set, whole; empty if it supplied none. StoreDamaged if it is not what was stored."""
        rows = self._chunk_rows(operator_id, active_chunks.c.bitmap)
        active_set = ActiveSet({row.chunk: _read_bitmap(operator_id, row) for row in rows})
        if _digest_of(rows) != active_set.digest():
            raise StoreDamaged(f"the active set of operator {operator_id} does not have its digest")
        return active_set

    def active_chunk(self, operator_id: int, chunk: int) -> BitMap | None:
        """One chunk of an operator's active set, or None if nothing is active in it; StoreDamaged as above."""
        only_its_bitmap = case((active_chunks.c.chunk == chunk, active_chunks.c.bitmap))
        rows = self._chunk_rows(operator_id, only_its_bitmap.label("bitmap"))
        return next((_read_bitmap(operator_id, row) for row in rows if row.chunk == chunk), None)

    def _chunk_rows(self, operator_id: int, bitmap: ColumnElement[bytes]) -> Sequence[Row[Any]]:
        """Every chunk of an operator's active set, none missing or too many: a lost one must not read as empty."""
        columns = (active_chunks.c.chunk, active_chunks.c.digest, active_chunks.c.checksum, bitmap)
        with self._transaction() as connection:
            digest = connection.scalar(select(active_sets.c.digest).where(active_sets.c.operator_id == operator_id))
            rows = connection.execute(select(*columns).where(active_chunks.c.operator_id == operator_id)).all()
        if _digest_of(rows) != (digest or set_digest([])):
            raise StoreDamaged(f"the chunks of the active set of operator {operator_id} are not those that were stored")
        return rows


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def _stored(plan: NumberingPlan, held: Range, operator_ids: dict[str, int]) -> StoredRange:
    mobile = plan.country.is_mobile(held.first)
    return StoredRange(held.first, held.last, operator_ids[held.holder_key], mobile, held.region)


def _row(held: StoredRange) -> dict[str, object]:
    return dict(zip(ranges.c.keys(), held, strict=True))


def _checksum_of(held: Iterable[StoredRange]) -> bytes:
    checksum = xxhash.xxh3_128()
    for one in held:
        checksum.update(f"{one.first};{one.last};{one.operator_id};{one.mobile:d};{one.region}\n".encode())
    return checksum.digest()


def _chunk_row(operator_id: int, chunk: int, bitmap: BitMap) -> dict[str, Any]:
    serialized = bitmap.serialize()
    return {
        "operator_id": operator_id,
        "chunk": chunk,
        "number_count": len(bitmap),
        "digest": chunk_digest(bitmap),
        "checksum": _checksum_of_chunk(operator_id, chunk, serialized),
        "bitmap": serialized,
    }


def _checksum_of_chunk(operator_id: int, chunk: int, serialized: bytes) -> bytes:
    # With its key in front, so that a bitmap in another's place shows as well.
    return xxhash.xxh3_128_digest(f"{operator_id};{chunk};".encode() + serialized)


def _digest_of(rows: Sequence[Row[Any]]) -> bytes | None:
    """The digest of an active set as its chunks' rows have it; None if they hold what no row was written with."""
    try:
        return set_digest((row.chunk, row.digest) for row in rows)
    except (AttributeError, OverflowError, TypeError):
        return None


def _read_bitmap(operator_id: int, row: Row[Any]) -> BitMap:
    if _checksum_of_chunk(operator_id, row.chunk, row.bitmap) != row.checksum:
        raise StoreDamaged(f"chunk {row.chunk} of the active set of operator {operator_id} is not what was stored")
    return BitMap.deserialize(row.bitmap)
