"""The numbering plan in the store: its ranges, replaced by series, each with a checksum over its rows."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import xxhash
from sqlalchemy import Connection, delete, insert, select

from numcheck._bits import CHUNK_NUMBERS
from numcheck.active import AllottedRange
from numcheck.active.members import Move, home, moves
from numcheck.errors import StoreDamaged
from numcheck.plan import Country, NumberingPlan, Range
from numcheck.store.blocks import Kind, read_chunk
from numcheck.store.database import raise_revision
from numcheck.store.moments import microseconds, moment
from numcheck.store.operators import OperatorBook
from numcheck.store.schema import plan_series, ranges


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
    """What an import did: the series that it replaced, the revision that holds it, and what it changed.

    `added`, `removed` and `moved` numbers are allotted now, no more, or to another operator; `lost` has the active
    numbers by operator that count no more, as it does not hold their ranges now.
    """

    revision: int
    series: tuple[str, ...]
    range_count: int
    number_count: int
    added: int = 0
    removed: int = 0
    moved: int = 0
    lost: Mapping[int, int] = field(default_factory=dict)


def replace_plan(
    connection: Connection, plan: NumberingPlan, series: Collection[str], *, source: str, now: datetime
) -> PlanImport:
    """Make the plan's ranges those of these series of its country."""
    country, operator_ids = plan.country, OperatorBook(connection).operator_ids(plan)
    before = [held for held in read_ranges(connection) if held.first in country]
    revision = raise_revision(connection)
    for one in sorted(series):
        rows = [_stored(plan, held, operator_ids) for held in plan.ranges if country.series(held.first) == one]
        number_count = sum(row.last - row.first + 1 for row in rows)
        info = SeriesInfo(country.calling_code, one, source, now, len(rows), number_count)
        _replace_series(connection, country, info, rows, revision)
    changed = list(moves(before, [held for held in read_ranges(connection) if held.first in country]))
    counts: Counter[str] = Counter()
    for move in changed:
        counts[_kind(move)] += move.last - move.first + 1
    return PlanImport(
        revision,
        tuple(sorted(series)),
        len(plan.ranges),
        plan.number_count,
        added=counts["added"],
        removed=counts["removed"],
        moved=counts["moved"],
        lost=_lost(connection, changed),
    )


def _kind(move: Move) -> str:
    if move.old_operator_id is None:
        return "added"
    return "removed" if move.new_operator_id is None else "moved"


def _lost(connection: Connection, changed: Iterable[Move]) -> dict[int, int]:
    """How many active numbers of each operator lie in what it held before."""
    left: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for one in changed:
        if one.old_operator_id is not None:
            for chunk in range(one.first // CHUNK_NUMBERS, one.last // CHUNK_NUMBERS + 1):
                left[one.old_operator_id, chunk].append((one.first, one.last))
    lost: Counter[int] = Counter()
    for (operator_id, chunk), bounds in left.items():
        lost[operator_id] += len(read_chunk(connection, Kind.ACTIVE, operator_id, chunk) & home(bounds, chunk))
    return {operator_id: count for operator_id, count in sorted(lost.items()) if count}


def _replace_series(
    connection: Connection, country: Country, info: SeriesInfo, rows: list[AllottedRange], revision: int
) -> None:
    same = (plan_series.c.calling_code == info.calling_code) & (plan_series.c.series == info.series)
    connection.execute(delete(plan_series).where(same))
    first, last = country.series_bounds(info.series)
    connection.execute(delete(ranges).where(ranges.c.first_number.between(first, last)))
    if rows:
        connection.execute(insert(ranges), [_row(one) for one in rows])
    # A series that lost all its ranges stays, so that the revision which took them shows.
    connection.execute(
        insert(plan_series).values(
            calling_code=info.calling_code,
            series=info.series,
            source=info.source,
            imported_at_us=microseconds(info.imported_at),
            range_count=info.range_count,
            number_count=info.number_count,
            revision=revision,
            checksum=_checksum_of(rows),
        )
    )


def read_series(connection: Connection) -> list[SeriesInfo]:
    """The loaded series of the numbering plan."""
    columns = [column for column in plan_series.c if column.name not in ("revision", "checksum")]
    order = (plan_series.c.calling_code, plan_series.c.series)
    rows = connection.execute(select(*columns).order_by(*order)).all()
    return [SeriesInfo(code, series, source, moment(at), *counts) for code, series, source, at, *counts in rows]


def read_ranges(connection: Connection) -> list[AllottedRange]:
    """Every range of the numbering plan, ascending; StoreDamaged if they are not what was imported."""
    rows = [AllottedRange(*row) for row in connection.execute(select(ranges).order_by(ranges.c.first_number))]
    checked_count = 0
    for stored in connection.execute(select(plan_series)):
        prefix = f"{stored.calling_code}{stored.series}"
        held = [row for row in rows if str(row.first).startswith(prefix)]
        if _checksum_of(held) != stored.checksum:
            raise StoreDamaged(f"series {prefix} of the numbering plan is not what was imported; import it again")
        checked_count += len(held)
    if checked_count != len(rows):
        raise StoreDamaged("the numbering plan has ranges of a series that was not imported")
    return rows


def _stored(plan: NumberingPlan, held: Range, operator_ids: Mapping[str, int]) -> AllottedRange:
    mobile = plan.country.is_mobile(held.first)
    return AllottedRange(held.first, held.last, operator_ids[held.holder_key], mobile, held.region)


def _row(held: AllottedRange) -> dict[str, object]:
    return dict(zip(ranges.c.keys(), held, strict=True))


def _checksum_of(held: Iterable[AllottedRange]) -> bytes:
    checksum = xxhash.xxh3_128()
    for one in held:
        checksum.update(f"{one.first};{one.last};{one.operator_id};{one.mobile:d};{one.region}\n".encode())
    return checksum.digest()
