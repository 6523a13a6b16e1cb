"""Codes that are handed over at once have few places, and one service leaves some of them to others."""

from contextlib import ExitStack

import pytest

from numcheck.delivery import places
from numcheck.delivery.places import Places
from numcheck.errors import DeliveryFailed


@pytest.mark.parametrize(("count", "own"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6)])
def test_a_services_codes_leave_places_to_others_however_many_they_are(
    monkeypatch: pytest.MonkeyPatch, count: int, own: int
) -> None:
    """As where a gateway is slow and one service sends more than it takes: the next service's codes still go."""
    monkeypatch.setattr(places, "PLACE_TIMEOUT_S", 0)
    some = Places(count)
    for _ in range(2):
        with ExitStack() as held:
            for service, taken in (("flood", own), ("other", count - own)):
                for _ in range(taken):
                    held.enter_context(some.taken(service, "the gateway"))
                with pytest.raises(DeliveryFailed, match="the gateway is too slow"), some.taken(service, "the gateway"):
                    pass
