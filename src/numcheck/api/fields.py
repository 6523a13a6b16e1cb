"""Fields that several messages about registrations have, read and checked."""

from typing import Any

from numcheck.errors import BadRegistration
from numcheck.registrations.record import NetworkAddress


def network_address_of(message: Any) -> NetworkAddress:
    """Return a message's network_address; BadRegistration if it has none, or none that can be."""
    if not message.HasField("network_address"):
        raise BadRegistration("network_address", "there is no network address")
    given = message.network_address
    return NetworkAddress.checked(given.address, given.port)
