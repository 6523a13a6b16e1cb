"""Serving operators, by the plan and the portings in the store.

A push is judged by the state of both when its stream began. Any node may change them meanwhile, so the transaction that
commits a push, or confirms one, looks again while it holds the turn.
"""

from collections.abc import Callable, Mapping

from pyroaring import BitMap
from sqlalchemy import Connection, func, select

from numcheck._bits import CHUNK_NUMBERS
from numcheck.active import Basis, PushContent, ServedNumbers
from numcheck.errors import ConcurrentPush
from numcheck.store.blocks import Kind, chunks_of, read_chunk, read_ported
from numcheck.store.heads import EVERY_OPERATOR, read_head
from numcheck.store.history import Point, is_lost, read_point
from numcheck.store.plans import own_ranges
from numcheck.store.schema import plan_series


def read_basis(connection: Connection) -> Basis:
    """Return which state of the plan and of the portings this transaction sees."""
    plan_revision = connection.scalar(select(func.max(plan_series.c.revision))) or 0
    return Basis(plan_revision, read_head(connection, Kind.PORTED, EVERY_OPERATOR).version, read_point(connection))


def check_history(connection: Connection, basis: Basis) -> None:
    """Raise ConcurrentPush if the store has lost what a push was judged by: versions of then may be others' by now."""
    if basis.point is not None and is_lost(connection, Point(*basis.point)):
        raise ConcurrentPush("the store has lost what was there when the push began")


def served_numbers(
    connection: Connection, operator_id: int, ported: Callable[[int], Mapping[int, BitMap]]
) -> ServedNumbers:
    """Return what an operator serves; `ported` reads who has a chunk's ported numbers, when that is first asked for."""
    others = {*chunks_of(connection, Kind.ACTIVE, operator_id), *chunks_of(connection, Kind.PORTED, operator_id)}
    return ServedNumbers(operator_id, own_ranges(connection, operator_id), ported, others)


def check_judgement(connection: Connection, operator_id: int, content: PushContent) -> None:
    """Raise ConcurrentPush if the plan and the portings of now judge a push otherwise than those that it was judged by:
    the operator serves some of its numbers no more, or some that were skipped."""
    if read_basis(connection).judges_as(content.basis):
        return
    served = served_numbers(connection, operator_id, lambda chunk: read_ported(connection, chunk))
    if _takes_strangers(connection, operator_id, content, served) or _skips_own(content, served):
        raise ConcurrentPush(
            "the numbering plan or the portings have changed since the push began: "
            "the operator does not serve the same of its numbers any more"
        )


def _takes_strangers(
    connection: Connection, operator_id: int, content: PushContent, served: Mapping[int, BitMap]
) -> bool:
    """Return True if the push adds what is not served, or removes what is neither served nor in the set."""
    if any(places - served.get(chunk, BitMap()) for chunk, places in content.adds.items()):
        return True
    gone = {chunk: places - served.get(chunk, BitMap()) for chunk, places in content.removes.items()}
    return any(
        places - read_chunk(connection, Kind.ACTIVE, operator_id, chunk) for chunk, places in gone.items() if places
    )


def _skips_own(content: PushContent, served: Mapping[int, BitMap]) -> bool:
    """Return True if a number that was skipped is served now. Of more than are named nobody knows: as if one were."""
    refused = content.refused
    return refused.count > len(refused.examples) or any(
        number % CHUNK_NUMBERS in served.get(number // CHUNK_NUMBERS, BitMap()) for number in refused.examples
    )
