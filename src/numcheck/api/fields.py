"""Fields that several messages about registrations have, read and checked."""

from collections.abc import Sequence
from typing import Any

from numcheck.errors import BadRegistration
from numcheck.registrations.record import NetworkAddress


def network_address_of(given: Sequence[Any] | None) -> NetworkAddress:
    """Return a message's network_address, of which the values are given; BadRegistration if it has none, or none that
    can be."""
    if given is None:
        raise BadRegistration("network_address", "there is no network address")
    return NetworkAddress.checked(*given)
