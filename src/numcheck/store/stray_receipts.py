"""Stray receipts: those of couriers that came to another node than the one that sent the code, until that takes them.

Invariant: each is taken once, by whoever removes it. A row names no number and no code: a courier's own names of a
message, and what became of it.
"""

import json
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import insert, select

from numcheck.store.bulk import fetch
from numcheck.store.database import Database
from numcheck.store.schema import stray_receipts

ID_SIZE = 16
TAKE = "DELETE FROM stray_receipts WHERE receipt_id IN ? RETURNING receipt_id"


class Stray(NamedTuple):
    """A receipt for a message that the node to which it came does not know, by the names that the message may have."""

    courier: str
    names: Sequence[str]
    outcome: str


class StrayReceipts:
    """The receipts that wait for the node that they are for. Methods may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, strays: Sequence[Stray]) -> None:
        """Keep receipts, durably, for whichever node knows them."""
        rows = [
            {
                "receipt_id": secrets.token_bytes(ID_SIZE),
                "courier": one.courier,
                "names": json.dumps(list(one.names)),
                "outcome": one.outcome,
            }
            for one in strays
        ]
        with self._database.writing() as connection:
            connection.execute(insert(stray_receipts), rows)

    def waiting(self, *, count_max: int) -> dict[bytes, Stray]:
        """Return receipts that nobody has taken, by their ids."""
        with self._database.reading() as connection:
            rows = connection.execute(select(stray_receipts).limit(count_max)).all()
        return {row.receipt_id: Stray(row.courier, json.loads(row.names), row.outcome) for row in rows}

    def take(self, receipt_ids: Sequence[bytes]) -> list[bytes]:
        """Remove receipts; return those that nobody else has taken."""
        with self._database.writing() as connection:
            return [receipt_id for (receipt_id,) in fetch(connection, TAKE, list(receipt_ids))]
