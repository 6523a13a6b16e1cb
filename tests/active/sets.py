"""Active sets of the numbers that a test names."""

from collections.abc import Iterable

from pyroaring import BitMap

from numcheck._bits import CHUNK_NUMBERS
from numcheck.active import ActiveSet


def active_set_of(numbers: Iterable[int]) -> ActiveSet:
    """The numbers in any order, repeated or not."""
    places: dict[int, list[int]] = {}
    for number in numbers:
        places.setdefault(number // CHUNK_NUMBERS, []).append(number % CHUNK_NUMBERS)
    return ActiveSet({chunk: BitMap(members) for chunk, members in places.items()})
