"""Continuous re-verification: what becomes of registrations on numbers that were taken away from their operator.

Invariants: every VERIFIED registration on a withdrawn number becomes REVOKED, with its event, in one transaction with
the note that those numbers are done: once, whatever crashes. A verification that was under way on one ends, as the code
may lie with whoever had the number before. A number that was withdrawn and is back counts as withdrawn: it may be
another subscriber's now, so that its registrations have to be verified anew.
"""

from collections.abc import Callable
from datetime import datetime

from numcheck.identity.registration import VerificationState, tell
from numcheck.identity.states import Act, RegistrationState, after
from numcheck.identity.vault import Vault
from numcheck.store import Registrations, RegistrationWork, Standing, Withdrawn
from numcheck.store.moments import microseconds

PIECE_SIZE = 20_000  # numbers in a transaction: others wait no longer than it takes


class Withdrawals:
    """Revokes what is registered on withdrawn numbers. Any number of threads and nodes may; each piece is done once."""

    def __init__(self, registrations: Registrations, vault: Vault, *, now: Callable[[], datetime]) -> None:
        self._registrations, self._vault, self._now = registrations, vault, now
        self._stopped = False

    def stop(self) -> None:
        """End after the piece under way; the rest waits in the store."""
        self._stopped = True

    def follow(self) -> int:
        """Do all that there is to do; how many registrations were revoked."""
        count = 0
        while not self._stopped and self._registrations.any_withdrawn():
            count += self._registrations.write(self._piece)
        return count

    def _piece(self, work: RegistrationWork) -> int:
        numbers = work.next_withdrawn(count_max=PIECE_SIZE)
        if numbers is None:
            return 0
        tags = self._vault.tags_of_numbers(numbers.numbers)
        found = work.of_numbers(tags, states=(RegistrationState.PENDING, RegistrationState.VERIFIED))
        work.end_verifications_of([one.registration_id for one in found], VerificationState.ENDED)
        verified = [one for one in found if one.state == RegistrationState.VERIFIED]
        self._revoke(work, verified, numbers)
        work.set_withdrawn_done(numbers)
        return len(verified)

    def _revoke(self, work: RegistrationWork, verified: list[Standing], numbers: Withdrawn) -> None:
        state, now_us = after(RegistrationState.VERIFIED, Act.WITHDRAW), microseconds(self._now())
        work.move_many([one.registration_id for one in verified], state=state)
        for one in verified:
            moved = one._replace(state=int(state))
            tell(work, moved, Act.WITHDRAW, now_us, cause=numbers.cause.value, revision=numbers.revision)
