"""The numbering plan in the store: its ranges, replaced by series, each with a checksum over its ranges.

Invariant: the data time of a series goes back only by an import that says so; other rows of no known moment leave none.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict, TypeVar

import xxhash
from pyroaring import BitMap
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from numcheck._bits import CHUNK_NUMBERS
from numcheck.active import AllottedRange
from numcheck.active.members import Move, home, moves, served
from numcheck.errors import BadPlan, MovesTooMuch, OlderData, PlanShrinks, StoreDamaged
from numcheck.moments import microseconds, moment
from numcheck.plan import Country, NumberingPlan, Range, changes_too_much, fold_name
from numcheck.store import recorded
from numcheck.store.blocks import Kind, read_chunk, read_ported
from numcheck.store.history import raise_revision
from numcheck.store.operators import OperatorBook, largest_moves
from numcheck.store.rows import changes_of, checked, new_row
from numcheck.store.schema import installation, operator_names, operators, plan_series, ranges
from numcheck.store.withdrawals import Cause, withdraw

RENAMED_SHARE = 0.9  # of an operator's numbers
AHEAD_MAX = timedelta(days=1)  # of the clock: a file's day begins in the east before it does in UTC

Stretch = TypeVar("Stretch", AllottedRange, Move)


class Origin(NamedTuple):
    """The origin of rows: their source, the moment at which they were true (None: unknown), and that of the import."""

    source: str
    data_time: datetime | None
    imported_at: datetime


class Meant(TypedDict, total=False):
    """The guards that an import switches off, each by itself: `force` lets it take much of a series from its operators,
    `allow_older` lets it replace a newer one."""

    force: bool
    allow_older: bool


class Known(NamedTuple):
    """The rows of the operators by id, before an import and after it."""

    before: dict[int, Row[Any]]
    after: dict[int, Row[Any]]


class Renaming(NamedTuple):
    """An operator, by its tax id, that goes by another name than before, and how many numbers it holds."""

    operator_id: int
    old_name: str
    new_name: str
    number_count: int


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """A series of the numbering plan, all codes with one first digit, where it came from, and when that was true."""

    calling_code: int
    series: str
    source: str
    data_time: datetime | None
    imported_at: datetime
    range_count: int
    number_count: int


@dataclass(frozen=True, slots=True)
class PlanImport:
    """The effect of an import: the series that it replaced, the revision that holds it, and its changes.

    `range_count` and `number_count` are of the country's whole plan, as it is now. `added`, `removed` and `moved`
    numbers are newly allotted, no longer allotted, or allotted to another operator; `lost` has the active numbers, by
    operator, that no longer count, as the operator does not hold their ranges now. `renamed` has the operators with a
    name that they never had, the largest first.
    """

    revision: int
    series: tuple[str, ...]
    range_count: int
    number_count: int
    added: int = 0
    removed: int = 0
    moved: int = 0
    lost: Mapping[int, int] = field(default_factory=dict)
    renamed: Sequence[Renaming] = ()


def replace_plan(
    connection: Connection, plan: NumberingPlan, series: Collection[str], origin: Origin, meant: Meant
) -> PlanImport:
    """Make the plan's ranges those of these series of its country. Unless that is meant, PlanShrinks or MovesTooMuch if
    it takes more than a tenth of a series from its operators, and OlderData if a series is newer."""
    country, operators_before = plan.country, _operator_rows(connection)
    _check_moment(connection, country, series, origin, allow_older=meant.get("allow_older", False))
    names_before = _names(connection)
    operator_ids = OperatorBook(connection).operator_ids(plan)
    before = [held for held in read_ranges(connection) if held.first in country]
    rows_of = {
        one: [_stored(plan, held, operator_ids) for held in plan.ranges if country.series(held.first) == one]
        for one in sorted(series)
    }
    if operators_before == _operator_rows(connection) and _are_there(connection, country, rows_of):
        return _imported_again(connection, plan, series, origin)
    revision = raise_revision(connection)
    for one, rows in rows_of.items():
        _replace_series(connection, country, one, origin, rows, revision)
    after = [held for held in read_ranges(connection) if held.first in country]
    changed = list(moves(before, after))
    known = Known(*(_by_id(rows) for rows in (operators_before, _operator_rows(connection))))
    if not meant.get("force"):
        for one in sorted(series):
            _check_change(one, _within(country, one, before), _within(country, one, changed), known)
    mobile = [move for move in changed if country.is_mobile(move.first)]
    withdraw(connection, revision, Cause.PLAN, _withdrawn(connection, mobile), microseconds(origin.imported_at))
    recorded.begin(connection, microseconds(origin.imported_at))
    counts = _counts(changed)
    return PlanImport(
        revision,
        tuple(sorted(series)),
        *_whole_plan(connection, country),
        added=counts["added"],
        removed=counts["removed"],
        moved=counts["moved"],
        lost=_lost(connection, changed),
        renamed=_renamed(known, names_before, after),
    )


def _check_moment(
    connection: Connection, country: Country, series: Collection[str], origin: Origin, *, allow_older: bool
) -> None:
    """Raise BadPlan if the data is of a moment to come, OlderData if one of these series is newer and may not go back
    (R17). Data of the same moment is not older."""
    if origin.data_time is None:
        return
    if origin.data_time > origin.imported_at + AHEAD_MAX:
        raise BadPlan("header.data_time", "the data_time is ahead of the clock by more than a day")
    for held in _loaded(connection, country) if not allow_older else ():
        newest = held.data_time_us
        if held.series in series and newest is not None and newest > microseconds(origin.data_time):
            raise OlderData(origin.data_time, f"series {held.series}xx of the plan", moment(newest), series=held.series)


def _names(connection: Connection) -> Mapping[int, set[str]]:
    """Return every name that each operator has had, folded."""
    names: defaultdict[int, set[str]] = defaultdict(set)
    for operator_id, name in connection.execute(select(operator_names.c.operator_id, operator_names.c.folded_name)):
        names[operator_id].add(name)
    return names


def _renamed(known: Known, names: Mapping[int, set[str]], held: Iterable[AllottedRange]) -> list[Renaming]:
    """Return the operators with a tax id that got a name they never had: another spelling is none."""
    found = {
        one: (row.display_name, known.after[one].display_name)
        for one, row in known.before.items()
        if row.tax_id not in (None, row.display_name) and fold_name(known.after[one].display_name) not in names[one]
    }
    if not found:
        return []
    counts: Counter[int] = Counter()
    for one in held:
        counts[one.operator_id] += one.last - one.first + 1
    renamed = [Renaming(one, *found[one], counts[one]) for one in found]
    return sorted(renamed, key=lambda one: (-one.number_count, one.operator_id))


def _operator_rows(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(select(operators).order_by(operators.c.operator_id)).all()


def _by_id(rows: Iterable[Row[Any]]) -> dict[int, Row[Any]]:
    return {row.operator_id: row for row in rows}


def _are_there(connection: Connection, country: Country, rows_of: Mapping[str, Sequence[AllottedRange]]) -> bool:
    """Return True if each of these series is loaded and has just these rows."""
    checksums = {row.series: row.checksum for row in _loaded(connection, country)}
    return all(checksums.get(one) == _checksum_of(rows) for one, rows in rows_of.items())


def _imported_again(connection: Connection, plan: NumberingPlan, series: Collection[str], origin: Origin) -> PlanImport:
    """Keep where the series came from last and when that was true, if it is known; no index has to follow."""
    changes: dict[str, Any] = {"source": origin.source, "imported_at_us": microseconds(origin.imported_at)}
    if origin.data_time is not None:
        changes["data_time_us"] = microseconds(origin.data_time)
    for row in _loaded(connection, plan.country):
        if row.series in series:
            values = changes_of(plan_series, row, **changes)
            connection.execute(update(plan_series).where(_is(plan.country, row.series)).values(values))
    revision = int(connection.execute(select(installation.c.revision)).scalar_one())
    return PlanImport(revision, tuple(sorted(series)), *_whole_plan(connection, plan.country))


def _whole_plan(connection: Connection, country: Country) -> tuple[int, int]:
    """Return how many ranges a country's plan has, and how many numbers they hold."""
    loaded = _loaded(connection, country)
    return sum(one.range_count for one in loaded), sum(one.number_count for one in loaded)


def _check_change(series: str, before: Sequence[AllottedRange], changed: Sequence[Move], known: Known) -> None:
    """Raise PlanShrinks or MovesTooMuch if a change of a series ends or moves more than a tenth of it."""
    number_count = sum(one.last - one.first + 1 for one in before)
    removed = _counts(changed)["removed"]
    if changes_too_much(removed, number_count):
        raise PlanShrinks(series, removed, number_count)
    moved = _moved(before, changed, known)
    if changes_too_much(removed + moved.total(), number_count):
        # Under their names of before: a file whose columns have slipped gives operators others' names.
        largest = largest_moves(moved, {one: row.display_name for one, row in (known.after | known.before).items()})
        raise MovesTooMuch(f"numbers of series {series}xx", moved.total(), removed, number_count, largest)


def _moved(before: Sequence[AllottedRange], changed: Sequence[Move], known: Known) -> Counter[tuple[int, int]]:
    """Return how many numbers go from an operator to another. An operator that was known by its name alone and hands
    nearly all that it held to one with a tax id is that one, under another spelling."""
    held: Counter[int] = Counter()
    for one in before:
        held[one.operator_id] += one.last - one.first + 1
    moved: Counter[tuple[int, int]] = Counter()
    for move in changed:
        if move.old_operator_id is not None and move.new_operator_id is not None:
            moved[move.old_operator_id, move.new_operator_id] += move.last - move.first + 1
    for (old, new), count in list(moved.items()):
        got_tax_id = known.before[old].tax_id is None and known.after[new].tax_id is not None
        if got_tax_id and count >= RENAMED_SHARE * held[old]:
            del moved[old, new]
    return moved


def _within(country: Country, series: str, stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return the stretches of a series: none reaches over the end of a code."""
    return [one for one in stretches if country.series(one.first) == series]


def _counts(changed: Iterable[Move]) -> Counter[str]:
    """Return how many numbers are added, removed or moved."""
    counts: Counter[str] = Counter()
    for move in changed:
        counts[_kind(move)] += move.last - move.first + 1
    return counts


def _withdrawn(connection: Connection, changed: Iterable[Move]) -> dict[int, BitMap]:
    """Return the places, by chunk, that nobody may serve any more or another operator serves: not those that are
    ported."""
    ended: dict[int, list[tuple[int, int]]] = defaultdict(list)
    passed_on: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for move in changed:
        if move.old_operator_id is not None:
            kind = ended if move.new_operator_id is None else passed_on
            for chunk in range(move.first // CHUNK_NUMBERS, move.last // CHUNK_NUMBERS + 1):
                kind[chunk].append((move.first, move.last))
    places = {chunk: home(bounds, chunk) for chunk, bounds in ended.items()}
    for chunk, bounds in passed_on.items():
        ported = BitMap.union(BitMap(), *read_ported(connection, chunk).values())
        places[chunk] = places.get(chunk, BitMap()) | (home(bounds, chunk) - ported)
    return places


def _kind(move: Move) -> str:
    if move.old_operator_id is None:
        return "added"
    return "removed" if move.new_operator_id is None else "moved"


def _lost(connection: Connection, changed: Iterable[Move]) -> dict[int, int]:
    """Return how many active numbers of each operator lie in what it held before."""
    left: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for one in changed:
        if one.old_operator_id is not None:
            for chunk in range(one.first // CHUNK_NUMBERS, one.last // CHUNK_NUMBERS + 1):
                left[one.old_operator_id, chunk].append((one.first, one.last))
    lost: Counter[int] = Counter()
    for (operator_id, chunk), bounds in left.items():
        # Numbers ported to another operator did not count before, either.
        counted = served(home(bounds, chunk), read_ported(connection, chunk), operator_id) & home(bounds, chunk)
        lost[operator_id] += len(read_chunk(connection, Kind.ACTIVE, operator_id, chunk) & counted)
    return {operator_id: count for operator_id, count in sorted(lost.items()) if count}


def _replace_series(
    connection: Connection, country: Country, series: str, origin: Origin, rows: list[AllottedRange], revision: int
) -> None:
    connection.execute(delete(plan_series).where(_is(country, series)))
    first, last = country.series_bounds(series)
    connection.execute(delete(ranges).where(ranges.c.first_number.between(first, last)))
    if rows:
        connection.execute(insert(ranges), [_row(one) for one in rows])
    # A series that lost all its ranges stays, so that the revision which took them shows.
    values = {
        "calling_code": country.calling_code,
        "series": series,
        "source": origin.source,
        "data_time_us": None if origin.data_time is None else microseconds(origin.data_time),
        "imported_at_us": microseconds(origin.imported_at),
        "range_count": len(rows),
        "number_count": sum(row.last - row.first + 1 for row in rows),
        "revision": revision,
        "checksum": _checksum_of(rows),
    }
    connection.execute(insert(plan_series).values(new_row(plan_series, values)))


def _is(country: Country, series: str) -> ColumnElement[bool]:
    return (plan_series.c.calling_code == country.calling_code) & (plan_series.c.series == series)


def _loaded(connection: Connection, country: Country | None = None) -> list[Row[Any]]:
    """Return the rows of the loaded series, of every country or of one; StoreDamaged if one is not what was stored."""
    rows = connection.execute(select(plan_series).order_by(plan_series.c.calling_code, plan_series.c.series))
    return [
        checked(plan_series, row, f"series {row.calling_code}{row.series} of the numbering plan")
        for row in rows
        if country is None or row.calling_code == country.calling_code
    ]


def read_series(connection: Connection) -> list[SeriesInfo]:
    """Return the loaded series of the numbering plan."""
    return [
        SeriesInfo(
            row.calling_code,
            row.series,
            row.source,
            None if row.data_time_us is None else moment(row.data_time_us),
            moment(row.imported_at_us),
            row.range_count,
            row.number_count,
        )
        for row in _loaded(connection)
    ]


def own_ranges(connection: Connection, operator_id: int) -> list[tuple[int, int]]:
    """Return an operator's ranges, ascending, as first and last numbers."""
    columns = (ranges.c.first_number, ranges.c.last_number)
    statement = select(*columns).where(ranges.c.operator_id == operator_id).order_by(ranges.c.first_number)
    return [(row.first_number, row.last_number) for row in connection.execute(statement)]


def read_ranges(connection: Connection) -> list[AllottedRange]:
    """Every range of the numbering plan, ascending; StoreDamaged if they are not what was imported."""
    rows = [AllottedRange(*row) for row in connection.execute(select(ranges).order_by(ranges.c.first_number))]
    checked_count = 0
    for stored in _loaded(connection):
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
