"""Operators that rows name. The key is the tax id: one operator's name is spelled in several ways."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from numcheck.plan.model import Holder, fold_name
from numcheck.plan.rows import Row

Naming = tuple[str, str]
"""An operator as rows name it: the name as it is spelled, and the tax id; either may be empty."""


class HolderBook:
    """The holders of rows that were read together.

    A row without tax id whose folded name stands with exactly one tax id in other rows means that holder; else its
    folded name is its key.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        number_counts: dict[Naming, int] = defaultdict(int)
        for row in rows:
            number_counts[row.operator, row.tax_id] += row.last - row.first + 1
        self._folded = {name: fold_name(name) for name, _ in number_counts}
        self._keys = self._find_keys(number_counts)
        self.holders = self._find_holders(number_counts)

    def key(self, row: Row) -> str:
        """Return the key of a row's holder."""
        return self._keys[row.operator, row.tax_id]

    def _find_keys(self, namings: Iterable[Naming]) -> dict[Naming, str]:
        tax_ids: dict[str, set[str]] = defaultdict(set)
        for name, tax_id in namings:
            if tax_id:
                tax_ids[self._folded[name]].add(tax_id)
        return {(name, tax_id): _key(self._folded[name], tax_id, tax_ids) for name, tax_id in namings}

    def _find_holders(self, number_counts: Mapping[Naming, int]) -> dict[str, Holder]:
        spellings: dict[str, dict[str, int]] = {}
        for naming, number_count in number_counts.items():
            counts = spellings.setdefault(self._keys[naming], defaultdict(int))
            counts[naming[0]] += number_count
        return {key: self._holder(key, counts) for key, counts in spellings.items()}

    def _holder(self, key: str, number_counts: Mapping[str, int]) -> Holder:
        """Return the holder under the name with the most numbers, the first seen of equals."""
        kind, _, rest = key.partition(":")
        tax_id = rest if kind == "inn" else None
        names = [name for name in number_counts if name]
        name = max(names, key=number_counts.__getitem__, default=rest)
        return Holder(key, tax_id, name, frozenset(self._folded[name] for name in names))


def _key(folded: str, tax_id: str, tax_ids: Mapping[str, set[str]]) -> str:
    known = {tax_id} if tax_id else tax_ids.get(folded, set())
    return f"inn:{min(known)}" if len(known) == 1 else f"name:{folded}"
