"""Threads that wait for somebody else have few places, and one service leaves some of them to others."""

from contextlib import ExitStack

import pytest

from numcheck.places import Places


@pytest.mark.parametrize(("count", "own"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6)])
def test_a_service_leaves_places_to_others_however_many_it_asks_for(count: int, own: int) -> None:
    """As where a gateway or an operator is slow and one service waits for it more often than there are places."""
    some = Places(count)
    for _ in range(2):
        with ExitStack() as held:
            for service, taken in (("flood", own), ("other", count - own)):
                assert [held.enter_context(some.taken(service)) for _ in range(taken + 1)] == [True] * taken + [False]
