"""Messages that reach this node itself, from the numbers that are verified (II.2)."""

from collections.abc import Callable
from datetime import datetime

from numcheck.errors import ProofNotAccepted
from numcheck.identity.policy import Method
from numcheck.identity.proofs import InboundProof
from numcheck.identity.vault import Vault
from numcheck.identity.verifier import Verifier
from numcheck.store import Registrations
from numcheck.store.moments import microseconds


class Inbound:
    """Takes messages for the verifications that wait for one. Safe to use from any thread."""

    def __init__(
        self, registrations: Registrations, vault: Vault, verifier: Verifier, *, now: Callable[[], datetime]
    ) -> None:
        self._registrations, self._vault, self._verifier, self._now = registrations, vault, verifier, now

    def take(self, number: int, text: str) -> int:
        """Give a message to every verification that waits for one from the number; how many it completed.

        It counts as a try of each (R8). One without a word is nobody's: no text is what a call has.
        """
        if not text.split():
            return 0
        now, completed = self._now(), 0
        tags = self._vault.number_tags(number)
        for service, verification_id in self._registrations.waiting(
            tags, Method.INBOUND.value, now_us=microseconds(now)
        ):
            try:
                self._verifier.complete(service, verification_id, InboundProof(number, text, now))
            except ProofNotAccepted:
                continue
            completed += 1
        return completed
