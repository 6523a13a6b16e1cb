"""Operators of this installation, matched to the holders of a plan.

The key is the tax id (INN); a holder known by name alone is the one operator with that folded name. An operator once
known by name alone gets its tax id from the first plan that tells it, and keeps its id.
"""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from numcheck.errors import OperatorMove
from numcheck.plan import Holder, NumberingPlan
from numcheck.store.schema import operator_names, operators

MOVES_TOLD = 3
NAME_LENGTH_TOLD = 40  # a status has room for some thousand bytes


def largest_moves(counts: Mapping[tuple[int, int], int], names: Mapping[int, str]) -> list[OperatorMove]:
    """Return the largest of the moves from an operator to another, the largest first."""
    largest = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOVES_TOLD]
    told = {operator_id: name[:NAME_LENGTH_TOLD] for operator_id, name in names.items()}
    return [OperatorMove(old, told[old], new, told[new], count) for (old, new), count in largest]


class OperatorBook:
    """The operators of the store inside of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._by_tax_id: dict[str, int] = {}
        self._unnumbered: set[int] = set()  # without a tax id
        self._by_name: dict[str, set[int]] = defaultdict(set)
        for operator_id, tax_id in connection.execute(select(operators.c.operator_id, operators.c.tax_id)):
            if tax_id is None:
                self._unnumbered.add(operator_id)
            else:
                self._by_tax_id[tax_id] = operator_id
        for name, operator_id in connection.execute(select(operator_names.c.folded_name, operator_names.c.operator_id)):
            self._by_name[name].add(operator_id)

    def operator_ids(self, plan: NumberingPlan) -> dict[str, int]:
        """Return the operator of each of the plan's holders by holder key; new ones are added, the largest first.

        Those with a tax id come before the others, so that a name is known to be several operators' when it is one's
        only name.
        """
        totals = plan.totals()
        order = {one.key: (one.tax_id is None, -totals.get(one.key, 0), one.key) for one in plan.holders.values()}
        held = sorted(plan.holders.values(), key=lambda holder: order[holder.key])
        return {holder.key: self._record(holder, plan.country.calling_code) for holder in held}

    def _record(self, holder: Holder, calling_code: int) -> int:
        operator_id = self._find(holder)
        if operator_id is None:
            operator_id = self._add(holder, calling_code)
        else:
            self._rename(operator_id, holder)
        self._record_names(operator_id, holder)
        return operator_id

    def _find(self, holder: Holder) -> int | None:
        named = set().union(*(self._by_name[name] for name in holder.folded_names))
        if holder.tax_id is None:
            known = named if len(named) == 1 else named & self._unnumbered
            return min(known, default=None)
        if holder.tax_id in self._by_tax_id:
            return self._by_tax_id[holder.tax_id]
        return min(named & self._unnumbered, default=None)

    def _add(self, holder: Holder, calling_code: int) -> int:
        row = {"calling_code": calling_code, "tax_id": holder.tax_id, "display_name": holder.name}
        key = self._connection.execute(insert(operators).values(row)).inserted_primary_key
        assert key is not None
        operator_id = int(key[0])
        self._remember(operator_id, holder.tax_id)
        return operator_id

    def _rename(self, operator_id: int, holder: Holder) -> None:
        changes: dict[str, str] = {}
        if holder.folded_names:  # a plan of tax ids alone leaves the name as it is
            changes["display_name"] = holder.name
        if holder.tax_id is not None:
            changes["tax_id"] = holder.tax_id
            self._remember(operator_id, holder.tax_id)
        statement = update(operators).where(operators.c.operator_id == operator_id)
        self._connection.execute(statement.values(changes))

    def _remember(self, operator_id: int, tax_id: str | None) -> None:
        if tax_id is None:
            self._unnumbered.add(operator_id)
        else:
            self._unnumbered.discard(operator_id)
            self._by_tax_id[tax_id] = operator_id

    def _record_names(self, operator_id: int, holder: Holder) -> None:
        for name in sorted(holder.folded_names):
            if operator_id not in self._by_name[name]:
                self._by_name[name].add(operator_id)
                self._connection.execute(insert(operator_names).values(folded_name=name, operator_id=operator_id))
