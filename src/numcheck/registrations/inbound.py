"""Messages that reach this node itself, from the numbers that are verified (II.2)."""

from collections.abc import Callable
from datetime import datetime

from numcheck.errors import ProofNotAccepted
from numcheck.moments import microseconds
from numcheck.registrations.codes import word_of
from numcheck.registrations.completion import Completion
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import InboundProof
from numcheck.registrations.registration import VerificationState
from numcheck.registrations.typed import words_in
from numcheck.registrations.vault import Vault
from numcheck.steps import alone
from numcheck.store import Registrations, VerificationRow


class Inbound:
    """Takes messages for the verifications that wait for one. Safe to use from any thread."""

    def __init__(
        self, registrations: Registrations, vault: Vault, completion: Completion, *, now: Callable[[], datetime]
    ) -> None:
        self._registrations, self._vault, self._completion, self._now = registrations, vault, completion, now

    def take(self, number: int, text: str) -> int:
        """Give a message to the verifications of the number whose words it has; for how many it was right.

        One that has a word, but none of theirs, counts as a try of each that waits (R8): somebody guesses. One that
        comes once more, after its word was right, is no try of others. One that has nothing like a word is nobody's: no
        text is what a call has.
        """
        words = words_in(text)
        if not words:
            return 0
        now = self._now()
        found = self._registrations.verifications_of(
            self._vault.number_tags(number),
            Method.INBOUND.value,
            states=(VerificationState.WAITING, *VerificationState.PROVED),
            now_us=microseconds(now),
        )
        waiting = [one for one in found if one.state == VerificationState.WAITING]
        meant = [one for one in found if self._word(one) in words]
        return sum(self._complete(one, InboundProof(number, text, now)) for one in meant or waiting)

    def _word(self, verification: VerificationRow) -> str | None:
        key = self._vault.try_key(verification.key_id)
        return None if key is None else word_of(key.word_digest(verification.verification_id))

    def _complete(self, verification: VerificationRow, proof: InboundProof) -> bool:
        try:
            alone(self._completion.complete(verification.service, verification.verification_id, proof))
        except ProofNotAccepted:
            return False
        return True
