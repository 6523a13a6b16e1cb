"""Continuous re-verification: what becomes of registrations on numbers that were taken away from their operator.

Invariants: every VERIFIED registration on a withdrawn number becomes REVOKED, with its event, in one transaction for a
piece of the numbers; doing a piece again does nothing. A number that was withdrawn and is back counts as withdrawn: it
may be another subscriber's now, so that its registrations have to be verified anew.
"""

from collections.abc import Sequence

from numcheck.identity.registration import act, store_changes
from numcheck.identity.states import Act, RegistrationState
from numcheck.identity.vault import Vault
from numcheck.store import RegistrationWork

PIECE_SIZE = 10_000  # numbers in a transaction: others wait no longer than it takes


def withdraw(work: RegistrationWork, vault: Vault, numbers: Sequence[int], now_us: int) -> int:
    """Revoke what is VERIFIED on these numbers, a piece of a push at most; how many registrations were."""
    tags = [tag for number in numbers for tag in vault.number_tags(number)]
    revoked = work.of_numbers(tags, state=RegistrationState.VERIFIED)
    for row in revoked:
        store_changes(work, row, act(work, row, Act.WITHDRAW, now_us, changes={}))
    return len(revoked)
