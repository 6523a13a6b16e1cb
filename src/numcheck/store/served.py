"""Who serves which numbers, as the plan and the portings in the store say it.

A push is judged by what they said when its stream began. They may be committed meanwhile, by any node, so whoever
commits a push or confirms one looks again, in the transaction that holds the turn.
"""

from collections.abc import Callable, Mapping

from pyroaring import BitMap
from sqlalchemy import Connection, func, select

from numcheck.active import Basis, ServedNumbers
from numcheck.errors import ConcurrentPush
from numcheck.store.blocks import Kind, chunks_of, read_ported
from numcheck.store.heads import EVERY_OPERATOR, read_head
from numcheck.store.plans import own_ranges
from numcheck.store.schema import plan_series


def read_basis(connection: Connection) -> Basis:
    """Which state of the plan and of the portings this transaction sees."""
    plan_revision = connection.scalar(select(func.max(plan_series.c.revision))) or 0
    return Basis(plan_revision, read_head(connection, Kind.PORTED, EVERY_OPERATOR).version)


def served_numbers(
    connection: Connection, operator_id: int, ported: Callable[[int], Mapping[int, BitMap]]
) -> ServedNumbers:
    """What an operator serves; `ported` reads who has a chunk's ported numbers, when that is first asked for."""
    others = {*chunks_of(connection, Kind.ACTIVE, operator_id), *chunks_of(connection, Kind.PORTED, operator_id)}
    return ServedNumbers(operator_id, own_ranges(connection, operator_id), ported, others)


def check_served(connection: Connection, operator_id: int, added: Mapping[int, BitMap]) -> None:
    """Raise ConcurrentPush if the operator does not serve every one of these places, by chunk, now."""
    served = served_numbers(connection, operator_id, lambda chunk: read_ported(connection, chunk))
    for chunk, places in added.items():
        if places - served.get(chunk, BitMap()):
            raise ConcurrentPush(
                "the numbering plan or the portings have changed since the push began: "
                "the operator serves some of its numbers no more"
            )
