"""Rows that carry a checksum of themselves: a flipped bit of a version, a count or a moment shows (R3)."""

from collections.abc import Mapping
from typing import Any

import xxhash
from sqlalchemy import Row, Table

from numcheck.errors import StoreDamaged

CHECKSUM = "row_checksum"  # the column


def new_row(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to insert: the values, and the checksum of them."""
    return {**values, CHECKSUM: _checksum(table, values)}


def changes_of(table: Table, row: Row[Any], **changes: Any) -> dict[str, Any]:
    """Return what to update in a row that was checked: the changes, and the checksum that it has with them."""
    return {**changes, CHECKSUM: _checksum(table, {**row._mapping, **changes})}


def checked(table: Table, row: Row[Any], of_what: str) -> Row[Any]:
    """Return the row; StoreDamaged unless it, with all its columns, is what was stored."""
    if _checksum(table, row._asdict()) != row._mapping[CHECKSUM]:
        raise StoreDamaged(f"the row of {of_what} is not what was stored")
    return row


def _checksum(table: Table, values: Mapping[str, Any]) -> bytes:
    """Of every column, null where `values` has none, but the checksum's own and those that the engine fills in."""
    covered = [column.name for column in table.c if column.name != CHECKSUM and column.autoincrement is not True]
    told = repr([table.name, *(values.get(name) for name in covered)])
    return xxhash.xxh3_128_digest(told.encode())
