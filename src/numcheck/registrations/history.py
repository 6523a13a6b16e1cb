"""The history of a service's registrations, in order, from any event on: what a watch is told.

Invariants: events are read in the order of their chain and none is left out; a position is that of the last event that
was told among the service's own, so that whoever gives it back goes on behind it, whatever happened in between, and
learns nothing of how many events others have. A token is a position and the beginning of its event's hash: of a history
that the store does not have, it is refused, as another event may have come to its position since.
"""

import re
from typing import NamedTuple

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.errors import BadResumeToken
from numcheck.registrations.events import FIRST_HASH, SignedHead, sign_head
from numcheck.registrations.vault import Vault
from numcheck.store import EventRow, Registrations

log = structlog.get_logger()

PIECE_SIZE = 500
FIRST_TOKEN = "0"
TOKEN = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{16})")


class Told(NamedTuple):
    """An event, and whose registration it is about; None once it is erased, or if it is not what was written."""

    event: EventRow
    user_id: str | None


def token_of(service_sequence: int, digest: bytes) -> str:
    """Return the token of a service's event, by its position and hash; of position 0 the one before the first."""
    return f"{service_sequence}-{digest[:8].hex()}" if service_sequence else FIRST_TOKEN


class History:
    """The events of an installation, as services may see them."""

    def __init__(self, registrations: Registrations, vault: Vault, signing_key: Ed25519PrivateKey) -> None:
        self._registrations, self._vault, self._signing_key = registrations, vault, signing_key

    def signed_head(self, service: str, signed_at_us: int) -> SignedHead:
        """Return the newest event of a service, signed: its hash covers all events before it, of whichever service."""
        newest = self._registrations.events.try_newest(service)
        sequence, digest = (newest.service_sequence, newest.hash) if newest else (0, FIRST_HASH)
        return sign_head(self._signing_key, sequence, digest, signed_at_us, service=service)

    def position_of(self, service: str, token: str) -> int | None:
        """Return the position of a token; None if it is none. BadResumeToken if it is of a history that was lost."""
        if token == FIRST_TOKEN:
            return 0
        read = TOKEN.fullmatch(token)
        if read is None:
            return None
        position = int(read[1])
        found = self._registrations.events.of_service(service, position - 1, count_max=1)
        if [token_of(one.service_sequence, one.hash) for one in found] != [token]:
            raise BadResumeToken(
                "the store does not have the event of the resume_token: it is another service's, or the store was "
                "restored or failed over to an older state; resume from an older token, or from the beginning"
            )
        return position

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
