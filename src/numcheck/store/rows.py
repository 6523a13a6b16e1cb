"""Rows that carry a checksum of themselves: a flipped bit of a version, a count or a moment shows (R3)."""

from collections.abc import Mapping
from typing import Any

import xxhash
from sqlalchemy import Row, Table

from numcheck.errors import StoreDamaged

CHECKSUM = "row_checksum"


def row_checksum(table: Table, values: Mapping[str, Any]) -> bytes:
    """Of every column of a row, null where `values` has none, but those that the engine fills in."""
    covered = [column.name for column in table.c if column.name != CHECKSUM and column.autoincrement is not True]
    told = repr([table.name, *(values.get(name) for name in covered)])
    return xxhash.xxh3_128_digest(told.encode())


def check_row(table: Table, row: Row[Any], of_what: str) -> None:
    """Raise StoreDamaged unless the row, with all its columns, is what was stored."""
    if row_checksum(table, row._asdict()) != row._mapping[CHECKSUM]:
        raise StoreDamaged(f"the row of {of_what} is not what was stored")
