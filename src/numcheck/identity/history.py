"""What happened to a service's registrations, in order, from any event on: what a watch is told.

Invariants: events are read in the order of their chain and none is left out; a position is the sequence of the last
event that was told, so that whoever gives it back goes on behind it, whatever happened in between.
"""

from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.identity.events import FIRST_HASH, SignedHead, sign_head
from numcheck.identity.vault import Vault
from numcheck.store import EventRow, Registrations

PIECE_SIZE = 250


class Told(NamedTuple):
    """An event, and whose registration it is about; None once it is erased."""

    event: EventRow
    user_id: str | None


class History:
    """The events of an installation, as services may see them."""

    def __init__(self, registrations: Registrations, vault: Vault, signing_key: Ed25519PrivateKey) -> None:
        self._registrations, self._vault, self._signing_key = registrations, vault, signing_key

    def signed_head(self, signed_at_us: int) -> SignedHead:
        """The newest event of all services, signed."""
        head = self._registrations.events.try_head()
        sequence, digest = (head.sequence, head.hash) if head else (0, FIRST_HASH)
        return sign_head(self._signing_key, sequence, digest, signed_at_us)

    def after(self, service: str, sequence: int) -> list[Told]:
        """The next events of a service behind a position; none if there are none yet."""
        events = self._registrations.events.after(sequence, service=service, count_max=PIECE_SIZE)
        if not events:
            return []
        sealed = self._registrations.sealed_records(sorted({event.registration_id for event in events}))
        users = self._vault.user_ids(sealed)
        return [Told(event, users.get(event.registration_id)) for event in events]
