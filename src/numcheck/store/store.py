"""The store: the numbering plan, the operators and their active sets, each change in one transaction.

Invariants: ranges never overlap; every change raises the revision in the transaction that makes it, so that whoever
has applied revision N has seen every change up to it; an operator's id is never given to another. On disk after a
crash at any step: the state before the transaction or the state after it.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import xxhash
from pyroaring import BitMap
from sqlalchemy import Connection, delete, func, insert, select, update

from numcheck.active import ActiveSet, Operator, PushContent, PushHeader, chunk_digest
from numcheck.active.active_set import set_digest
from numcheck.errors import StoreDamaged, StoreMissing, UnknownOperator
from numcheck.plan import Country, NumberingPlan, Range
from numcheck.store import journal
from numcheck.store.database import Database, raise_revision
from numcheck.store.events import Chain, EventLog
from numcheck.store.journal import Head, Pushed, Receipt
from numcheck.store.operators import OperatorBook
from numcheck.store.registrations import Registrations
from numcheck.store.schema import (
    active_chunks,
    active_sets,
    installation,
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
        self._database = Database(path, read_only=read_only)

    @staticmethod
    def exists(data_dir: Path) -> bool:
        """Whether there is a store in the data directory."""
        return (data_dir / FILE_NAME).exists()

    def close(self) -> None:
        """Close the connection; what was acknowledged is on disk already."""
        self._database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def one_moment(self) -> AbstractContextManager[None]:
        """Everything read inside is of one revision, whatever is committed meanwhile over another connection."""
        return self._database.one_moment()

    @property
    def engine_name(self) -> str:
        """The engine underneath and its version."""
        return self._database.engine_name

    @property
    def revision(self) -> int:
        """Of the last change that was committed; 0 before the first."""
        with self._database.reading() as connection:
            return int(connection.execute(select(installation.c.revision)).scalar_one())

    def registrations(self, chain: Chain) -> Registrations:
        """The registrations, whose events are linked as `chain` says; to be made once: writers share transactions."""
        return Registrations(self._database, chain)

    def events(self) -> EventLog:
        """The events, to be read."""
        return EventLog(self._database)

    # --- the numbering plan

    def import_plan(self, plan: NumberingPlan, *, source: str, now: datetime) -> PlanImport:
        """Replace the series that the plan's rows speak of; other series stay as they are."""
        with self._database.writing() as connection:
            operator_ids = OperatorBook(connection).operator_ids(plan)
            series = sorted(plan.series)
            for one in series:
                held = [held for held in plan.ranges if plan.country.series(held.first) == one]
                rows = [_stored(plan, held, operator_ids) for held in held]
                self._replace_series(connection, plan.country, one, rows, source, now)
            revision = raise_revision(connection)
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
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).order_by(*order)).all()
        return [SeriesInfo(code, series, source, _moment(at), *counts) for code, series, source, at, *counts in rows]

    def ranges(self) -> list[StoredRange]:
        """Every range of the numbering plan, ascending; StoreDamaged if they are not what was imported."""
        with self._database.reading() as connection:
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
        with self._database.reading() as connection:
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
        chunks = [journal.chunk_row(operator_id, chunk, bitmap) for chunk, bitmap in active_set.chunks()]
        with self._database.writing() as connection:
            if not connection.scalar(select(func.count()).where(operators.c.operator_id == operator_id)):
                raise UnknownOperator(f"there is no operator {operator_id}")
            own = active_sets.c.operator_id == operator_id
            version = (connection.scalar(select(active_sets.c.version).where(own)) or 0) + 1
            journal.drop_set(connection, operator_id)
            connection.execute(delete(active_sets).where(own))
            connection.execute(
                insert(active_sets).values(
                    operator_id=operator_id,
                    version=version,
                    data_time_us=_microseconds(data_time),
                    stored_at_us=_microseconds(now),
                    number_count=len(active_set),
                    synthetic=synthetic,
                )
            )
            if chunks:
                connection.execute(insert(active_chunks), chunks)
            raise_revision(connection)
        return version

    def active_counts(self) -> dict[int, int]:
        """How many active numbers each operator that supplied data has."""
        with self._database.reading() as connection:
            rows = connection.execute(select(active_sets.c.operator_id, active_sets.c.number_count)).all()
        return {row.operator_id: row.number_count for row in rows}

    def active_set(self, operator_id: int) -> ActiveSet:
        """An operator's active set, whole; empty if it supplied none. StoreDamaged if it is not what was stored."""
        with self._database.reading() as connection:
            chunks = journal.chunks_of(connection, operator_id)
            active_set = ActiveSet({chunk: journal.read_chunk(connection, operator_id, chunk) for chunk in chunks})
            row = connection.execute(select(active_sets).where(active_sets.c.operator_id == operator_id)).one_or_none()
        if len(active_set) != (row.number_count if row else 0):
            raise StoreDamaged(f"the active set of operator {operator_id} does not have its count")
        if row is not None and row.digest is not None and active_set.digest() != row.digest:
            raise StoreDamaged(f"the active set of operator {operator_id} does not have its digest")
        return active_set

    def active_chunk(self, operator_id: int, chunk: int) -> BitMap | None:
        """One chunk of an operator's active set, or None if nothing is active in it; StoreDamaged as above."""
        with self._database.reading() as connection:
            return journal.read_chunk(connection, operator_id, chunk) or None

    # --- pushes

    def head(self, operator_id: int) -> Head:
        """The head of an operator's active set; version 0 if it supplied none. UnknownOperator if there is none."""
        with self._database.reading() as connection:
            return journal.head(connection, operator_id)

    def served_ranges(self, operator_id: int) -> list[tuple[int, int]]:
        """First and last number of each range that the plan allots to an operator, ascending."""
        columns = (ranges.c.first_number, ranges.c.last_number)
        statement = select(*columns).where(ranges.c.operator_id == operator_id).order_by(ranges.c.first_number)
        with self._database.reading() as connection:
            return [(row.first_number, row.last_number) for row in connection.execute(statement)]

    def digest(self, operator_id: int) -> tuple[Head, bytes]:
        """The head of an active set and its digest, empty for version 0; computed when first asked for."""
        while True:
            head = self.head(operator_id)
            if head.digest is not None or not head.version:
                return head, head.digest or b""
            with self._database.reading() as connection:
                chunks = journal.chunks_of(connection, operator_id)
            # A chunk a turn, so that pushes go on meanwhile; what they change is seen below, and all begins anew.
            found = [(chunk, self.active_chunk(operator_id, chunk)) for chunk in chunks]
            digest = set_digest((chunk, chunk_digest(bitmap)) for chunk, bitmap in found if bitmap)
            with self._database.writing() as connection:
                own = (active_sets.c.operator_id == operator_id) & (active_sets.c.version == head.version)
                connection.execute(update(active_sets).where(own).values(digest=digest))

    def try_pushed(self, operator_id: int, push_id: str) -> Pushed | None:
        """What became of the push of that push_id, or None if there was none."""
        with self._database.reading() as connection:
            return journal.try_pushed(connection, operator_id, push_id)

    def push(self, header: PushHeader, content: PushContent, *, base_version: int, token: str, now: datetime) -> Pushed:
        """Apply a push to the version that was the head when it began, or hold it: durable when this returns.

        `token` is what confirms it if it is held. Raises NotServed, BadPush, or ConcurrentPush if the head has moved.
        """
        content.check(header)
        with self._database.writing() as connection:
            if header.push_id is not None:
                pushed = journal.try_pushed(connection, header.operator_id, header.push_id)
                if pushed is not None:
                    return pushed
            receipt = Receipt(base_version, token, _microseconds(header.data_time), _microseconds(now))
            return journal.push(connection, header, content, receipt, raise_revision)

    def confirm_push(self, operator_id: int, token: str, *, now: datetime) -> Pushed:
        """Apply a held push, durable when this returns; UnknownPush if there is none of that token."""
        with self._database.writing() as connection:
            return journal.confirm(connection, operator_id, token, _microseconds(now), raise_revision)


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
