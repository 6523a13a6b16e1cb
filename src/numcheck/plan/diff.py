"""Differences of two numbering plans, number by number and not line by line.

Most lines of two successive registry files differ in a spelling only, so ranges are compared by the numbers that they
hold and by holder. A plan without tax ids is compared with one that has them by folded name, where that is unambiguous.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from numcheck.plan.model import Holder, NumberingPlan, Range

Kind = Literal["added", "removed", "moved"]
Keys = tuple[str | None, str | None]
"""The holders of a number in the old plan and in the new one."""

NOBODY: Keys = (None, None)


class Change(NamedTuple):
    """Numbers from `first` to `last`, both inclusive, that changed in the same way; None is: allotted to nobody."""

    first: int
    last: int
    old_holder: Holder | None
    new_holder: Holder | None

    @property
    def size(self) -> int:
        """Count of numbers that changed."""
        return self.last - self.first + 1

    @property
    def kind(self) -> Kind:
        """Allotted now, allotted no more, or with another operator."""
        if self.old_holder is None:
            return "added"
        return "removed" if self.new_holder is None else "moved"


@dataclass(slots=True)
class HolderDiff:
    """One holder's numbers: old_count + added + moved_in - removed - moved_out == new_count."""

    holder: Holder
    old_count: int = 0
    new_count: int = 0
    added: int = 0
    removed: int = 0
    moved_in: int = 0
    moved_out: int = 0


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """Changes in ascending order, none that could be joined with its neighbour, and what they add up to.

    `moved` numbers have another operator now. `by_holder` has every holder of either plan by key: that with the tax id
    if only one of the plans tells it.
    """

    changes: tuple[Change, ...]
    added: int
    removed: int
    moved: int
    unchanged: int
    by_holder: Mapping[str, HolderDiff]


class _Stretch(NamedTuple):
    """Successive numbers with the same holders, by key, in both plans."""

    first: int
    last: int
    old_key: str | None
    new_key: str | None


def diff(old: NumberingPlan, new: NumberingPlan) -> PlanDiff:
    """Compare two plans of one country; ValueError if they are of two."""
    if old.country != new.country:
        raise ValueError(f"{old.country.name} cannot be compared with {new.country.name}")
    holders = {**old.holders, **new.holders}
    old_keys, new_keys = _shared_keys(old.holders, new.holders), _shared_keys(new.holders, old.holders)
    stretches = list(_stretches(_rekeyed(old.ranges, old_keys), _rekeyed(new.ranges, new_keys)))
    changes = tuple(_changes(stretches, holders))
    counts: Counter[Kind] = Counter()
    for change in changes:
        counts[change.kind] += change.size
    unchanged = sum(one.last - one.first + 1 for one in stretches if one.old_key == one.new_key)
    by_holder = {key: HolderDiff(holders[key]) for key in (*old_keys.values(), *new_keys.values())}
    _count(stretches, by_holder)
    return PlanDiff(changes, counts["added"], counts["removed"], counts["moved"], unchanged, by_holder)


def _shared_keys(holders: Mapping[str, Holder], others: Mapping[str, Holder]) -> dict[str, str]:
    """Return the key under which each holder is compared: its own, or that of the one other with a tax id and its
    name."""
    named: dict[str, set[str]] = defaultdict(set)
    for other in others.values():
        if other.tax_id is not None:
            for name in other.folded_names:
                named[name].add(other.key)
    keys = {}
    for key, holder in holders.items():
        known = set().union(*(named.get(name, set()) for name in holder.folded_names))
        keys[key] = min(known) if holder.tax_id is None and len(known) == 1 else key
    return keys


def _rekeyed(ranges: Iterable[Range], keys: Mapping[str, str]) -> list[Range]:
    return [held._replace(holder_key=keys[held.holder_key]) for held in ranges]


def _stretches(old: Sequence[Range], new: Sequence[Range]) -> Iterator[_Stretch]:
    """Yield the allotted numbers of either plan in stretches as long as can be, ascending."""
    cuts = sorted({cut for held in (*old, *new) for cut in (held.first, held.last + 1)})
    first, keys = 0, NOBODY
    # At the last cut both plans have ended, so that the last stretch comes out as well.
    for cut, keys_here in zip(cuts, zip(_keys_at(old, cuts), _keys_at(new, cuts), strict=True), strict=True):
        if keys_here != keys:
            if keys != NOBODY:
                yield _Stretch(first, cut - 1, *keys)
            first, keys = cut, keys_here


def _keys_at(ranges: Sequence[Range], numbers: Iterable[int]) -> Iterator[str | None]:
    """Yield the holder of each of ascending numbers, or None where there is none."""
    index = 0
    for number in numbers:
        while index < len(ranges) and ranges[index].last < number:
            index += 1
        held = index < len(ranges) and ranges[index].first <= number
        yield ranges[index].holder_key if held else None


def _changes(stretches: Iterable[_Stretch], holders: Mapping[str, Holder]) -> Iterator[Change]:
    for first, last, old_key, new_key in stretches:
        if old_key != new_key:
            old_holder = None if old_key is None else holders[old_key]
            yield Change(first, last, old_holder, None if new_key is None else holders[new_key])


def _count(stretches: Iterable[_Stretch], by_holder: Mapping[str, HolderDiff]) -> None:
    for first, last, old_key, new_key in stretches:
        size = last - first + 1
        if old_key is not None:
            _count_old(by_holder[old_key], size, new_key)
        if new_key is not None:
            _count_new(by_holder[new_key], size, old_key)


def _count_old(totals: HolderDiff, size: int, new_key: str | None) -> None:
    totals.old_count += size
    if new_key is None:
        totals.removed += size
    elif new_key != totals.holder.key:
        totals.moved_out += size


def _count_new(totals: HolderDiff, size: int, old_key: str | None) -> None:
    totals.new_count += size
    if old_key is None:
        totals.added += size
    elif old_key != totals.holder.key:
        totals.moved_in += size
