"""What happened to a service's registrations, in order, from any event on: what a watch is told.

Invariants: events are read in the order of their chain and none is left out; a position is that of the last event that
was told among the service's own, so that whoever gives it back goes on behind it, whatever happened in between, and
learns nothing of how many events others have.
"""

from typing import NamedTuple

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.registrations.events import FIRST_HASH, SignedHead, sign_head
from numcheck.registrations.vault import Vault
from numcheck.store import EventRow, Registrations

log = structlog.get_logger()

PIECE_SIZE = 500


class Told(NamedTuple):
    """An event, and whose registration it is about; None once it is erased, or if it is not what was written."""

    event: EventRow
    user_id: str | None


class History:
    """The events of an installation, as services may see them."""

    def __init__(self, registrations: Registrations, vault: Vault, signing_key: Ed25519PrivateKey) -> None:
        self._registrations, self._vault, self._signing_key = registrations, vault, signing_key

    def signed_head(self, service: str, signed_at_us: int) -> SignedHead:
        """Return the newest event of a service, signed: its hash covers all events before it, of whichever service."""
        newest = self._registrations.events.try_newest(service)
        sequence, digest = (newest.service_sequence, newest.hash) if newest else (0, FIRST_HASH)
        return sign_head(self._signing_key, sequence, digest, signed_at_us, service=service)

    def after(self, service: str, sequence: int) -> list[Told]:
        """Return the next events of a service behind a position; none if there are none yet."""
        events = self._registrations.events.of_service(service, sequence, count_max=PIECE_SIZE)
        if not events:
            return []
        sealed = self._registrations.sealed_records(sorted({event.registration_id for event in events}))
        users = self._vault.user_ids(sealed)
        for row in sealed:
            if row.registration_id not in users:
                log.error("a registration is not what was written", registration_id=row.registration_id.hex())
        return [Told(event, users.get(event.registration_id)) for event in events]
