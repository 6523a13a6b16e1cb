"""Many rows, or many values, in one statement of the driver's own words.

SQLAlchemy takes longer for a row than the engine does, and 50 microseconds for a statement. And each statement that a
driver runs gives Python's lock away: with as many callers as share a transaction, a statement a row is a wait for
another of them a row.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Dialect, Table

ROWS_PER_STATEMENT = 256  # of 16 columns, 4,096 parameters: SQLite takes 32,766, PostgreSQL 65,535
MANY_ROWS_PER_STATEMENT = 1_000  # of 21 columns at most
VALUES_PER_STATEMENT = 10_000

T = TypeVar("T")


def driver_of(connection: Connection) -> Any:
    """Return the driver's own connection: sqlite3's or psycopg's, which have `execute` in common."""
    return connection.connection.driver_connection


def fetch(connection: Connection, selection: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, which has a `?` for each value, or list of values: `IN ?`."""
    rows: list[tuple[Any, ...]] = _executed(connection, selection, values).fetchall()
    return rows


def run(connection: Connection, change: str, *values: Any) -> int:
    """Run a statement, which has a `?` for each value, and return how many rows it has changed."""
    return int(_executed(connection, change, values).rowcount)


def _executed(connection: Connection, statement: str, values: Sequence[Any]) -> Any:
    counts = tuple([len(value) if type(value) is list else None for value in values])
    flat = chain.from_iterable([value if type(value) is list else (value,) for value in values])
    return driver_of(connection).execute(_with_places(statement, placeholder(connection), counts), tuple(flat))


@lru_cache(maxsize=512)
def _with_places(statement: str, place: str, counts: tuple[int | None, ...]) -> str:
    """Return the statement with the driver's placeholders: of so many values each, None for one that is no list."""
    first, *others = statement.split("?")
    places = (place if count is None else f"({', '.join([place] * count) or 'NULL'})" for count in counts)
    return first + "".join(one + other for one, other in zip(places, others, strict=True))


def pieces(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Return the values in their order, as many at a time as a statement takes."""
    return (values[first : first + size] for first in range(0, len(values), size))


def rows_at_once(count: int) -> int:
    """Return how many of so many rows go into a statement: few forms of statements, and few statements."""
    return MANY_ROWS_PER_STATEMENT if count >= MANY_ROWS_PER_STATEMENT else ROWS_PER_STATEMENT


def insert_rows(
    connection: Connection, table: Table, rows: Sequence[NamedTuple], *, at_once: int = ROWS_PER_STATEMENT
) -> None:
    """Add rows of one type, whose fields are named as columns of the table are; `at_once` of them in a statement."""
    if rows:
        insert_values(connection, table, rows[0]._fields, rows, at_once=at_once)


def insert_values(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]], *, at_once: int
) -> None:
    """Add rows of values of the columns of these names; `at_once` of them in a statement."""
    for some in pieces(rows, at_once):
        statement = _insertion(table.name, names, placeholder(connection), len(some))
        driver_of(connection).execute(statement, tuple(chain.from_iterable(some)))


def insert_returning(
    connection: Connection,
    table: Table,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    returned: Sequence[str],
) -> list[Sequence[Any]]:
    """Add rows as `insert_values`, and return these columns of each, in any order."""
    made: list[Sequence[Any]] = []
    for some in pieces(rows, ROWS_PER_STATEMENT):
        statement = _insertion(table.name, names, placeholder(connection), len(some))
        values = tuple(chain.from_iterable(some))
        made += driver_of(connection).execute(f"{statement} RETURNING {', '.join(returned)}", values).fetchall()
    return made


@lru_cache(maxsize=2 * ROWS_PER_STATEMENT)
def _insertion(table: str, columns: tuple[str, ...], place: str, count: int) -> str:
    row = f"({', '.join([place] * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * count)}"


def placeholder(connection: Connection) -> str:
    """Return what the driver has for a value."""
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


def change_each(connection: Connection, change: str, given: Sequence[Any], rows: Sequence[Sequence[Any]]) -> int:
    """Run `change` for rows of values, which it names column1 and so on of `{values}`; rows changed.

    It has a `?` for each of what is given, in front of `{values}`.
    """
    place, count = placeholder(connection), 0
    for some in pieces(rows, VALUES_PER_STATEMENT // len(rows[0])):
        row = f"({', '.join([place] * len(some[0]))})"
        statement = change.replace("?", place).format(values=f"VALUES {', '.join([row] * len(some))}")
        count += driver_of(connection).execute(statement, (*given, *chain.from_iterable(some))).rowcount
    return count


def write_each(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Write values into the columns of these names of rows that are there, each found by the value of the first."""
    if rows:
        change_each(connection, _writing(table, names, connection.dialect), [], rows)


@lru_cache(maxsize=64)
def _writing(table: Table, names: tuple[str, ...], dialect: Dialect) -> str:
    # A column of nothing but NULL has no type of its own.
    values = (
        f"{name} = CAST(changed.column{place} AS {table.c[name].type.compile(dialect)})"
        for place, name in enumerate(names[1:], 2)
    )
    found = f"{table.name}.{names[0]} = changed.column1"
    return f"UPDATE {table.name} SET {', '.join(values)} FROM ({{values}}) AS changed WHERE {found}"


def rows_where(connection: Connection, selection: str, values: Sequence[Any]) -> list[Sequence[Any]]:
    """Return the rows that `selection`, which ends with `IN`, finds for any of the values."""
    found: list[Sequence[Any]] = []
    for some in pieces(values, VALUES_PER_STATEMENT):
        places = ",".join([placeholder(connection)] * len(some))
        found += driver_of(connection).execute(f"{selection} ({places})", tuple(some)).fetchall()
    return found
