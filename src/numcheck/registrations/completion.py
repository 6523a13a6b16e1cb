"""What completes a verification: a try that is counted, a proof that is compared, and what it makes of a registration.

Invariants: a try is counted, durably, before anything is compared (R8). What is right is right however often and at
once it is given.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from weakref import WeakValueDictionary

from numcheck.errors import ProofNotAccepted
from numcheck.moments import microseconds
from numcheck.registrations import codes
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.policy import Method, Policy
from numcheck.registrations.proofs import Proof
from numcheck.registrations.registration import (
    Registration,
    VerificationState,
    act,
    follow_withdrawal,
    store_changes,
)
from numcheck.registrations.states import Act, allows
from numcheck.registrations.vault import Vault
from numcheck.steps import Alone, Steps
from numcheck.store import RegistrationRow, Registrations, RegistrationWork, VerificationRow


class Confirmed(Protocol):
    """Gives the row of a registration whose number is confirmed."""

    def __call__(
        self, work: RegistrationWork, row: RegistrationRow, evidence: Evidence, now: datetime, **changes: Any
    ) -> RegistrationRow:
        """Return the row, with these changes besides."""


class Completion:
    """Ends verifications that wait for the user. Safe to ask from any thread."""

    def __init__(
        self,
        registrations: Registrations,
        vault: Vault,
        confirmed: Confirmed,
        *,
        policy_for: Callable[[str], Policy],
        now: Callable[[], datetime],
    ) -> None:
        self._registrations, self._vault, self._confirmed = registrations, vault, confirmed
        self._policy_for, self._now = policy_for, now
        self._turns: WeakValueDictionary[bytes, threading.Lock] = WeakValueDictionary()
        self._turns_lock = threading.Lock()

    def complete(self, service: str, verification_id: bytes, proof: Proof) -> Steps[Registration]:
        """Give a verification what it waits for. ProofNotAccepted if it is wrong, over, or out of tries."""
        # One at a time on this node: a proof that is given twice at once takes no try from itself.
        turn = self._turn_of(verification_id)
        if not turn.acquire(blocking=False):
            yield Alone(turn.acquire)
        try:
            return (yield from self._complete(service, verification_id, proof))
        finally:
            turn.release()

    def _turn_of(self, verification_id: bytes) -> threading.Lock:
        with self._turns_lock:
            return self._turns.setdefault(verification_id, threading.Lock())

    def _complete(self, service: str, verification_id: bytes, proof: Proof) -> Steps[Registration]:
        now = self._now()
        taking = partial(self._take_try, service=service, verification_id=verification_id, proof=proof, now=now)
        taken = yield self._registrations.writing(taking)
        if taken is None:
            raise ProofNotAccepted("the proof is not accepted")
        verification, registration, try_id = taken
        key, policy = self._vault.try_key(verification.key_id), self._policy_for(service)
        accepted = proof.accepted(
            verification,
            registration.record.number,
            # A key that was dropped compares nothing any more.
            same_secret=lambda secret: (
                key is not None
                and codes.same_mac(verification.secret_mac, key.code_mac(verification.verification_id, secret))
            ),
            policy=policy,
            now=now,
        )
        if try_id is None:  # it was confirmed before: the same proof gets the same answer
            done: Registration | None = registration if accepted and _was_given(proof, registration) else None
        else:
            ending = partial(self._end, try_id=try_id, proof=proof if accepted else None, now=now)
            done = yield self._registrations.writing(lambda work: ending(work, verification))
        if done is None:
            raise ProofNotAccepted("the proof is not accepted")
        return done

    def _found(
        self, work: RegistrationWork, service: str, verification_id: bytes
    ) -> tuple[VerificationRow, Registration] | None:
        verification = work.verification(verification_id)
        if verification is None or verification.service != service:
            return None
        row = work.get(verification.registration_id)
        if row is None or row.verification_id != verification_id:
            return None
        record = self._vault.open(row)
        row = follow_withdrawal(work, row, record.number, microseconds(self._now()))
        return work.verification(verification_id) or verification, Registration(row, record)

    def _take_try(
        self, work: RegistrationWork, service: str, verification_id: bytes, proof: Proof, now: datetime
    ) -> tuple[VerificationRow, Registration, int | None] | None:
        """Count a try; None if there is none left, or nothing to try. The id is None if it was confirmed before."""
        found = self._found(work, service, verification_id)
        if found is None or not proof.fits(Method(found[0].method)):
            return None
        verification, registration = found
        if verification.state == VerificationState.CONFIRMED:
            return verification, registration, None
        now_us, record = microseconds(now), registration.record
        number_tags = self._vault.number_tags(record.number)
        user_tags = self._vault.user_tags(service, record.user_id)
        wrong = work.wrong_tries(service, number_tags, user_tags, since_us=microseconds(now - codes.DAY))
        if not codes.may_try(*wrong) or not allows(registration.state, Act.CONFIRM):
            return None
        if not work.take_try(verification_id, tries_max=codes.TRIES_MAX, now_us=now_us):
            return None
        counted = verification._replace(tries=verification.tries + 1)
        return counted, registration, work.insert_try(service, number_tags[0], user_tags[0], now_us)

    def _end(
        self,
        work: RegistrationWork,
        verification: VerificationRow,
        try_id: int,
        proof: Proof | None,
        now: datetime,
    ) -> Registration | None:
        """Write what a try came to: the registration if it is verified, None if not."""
        found = self._found(work, verification.service, verification.verification_id)
        if found is None:
            return None
        state, registration = found[0].state, found[1]
        if proof is not None and state == VerificationState.CONFIRMED and _was_given(proof, registration):
            work.clear_try(try_id)  # another node was given the same meanwhile
            return registration
        if state != VerificationState.WAITING:
            return None
        may = proof is not None and allows(registration.state, Act.CONFIRM)
        if proof is None or not may or not self._first_use(work, verification.service, proof, now):
            self._fail(work, verification, registration.row, now)
            return None
        return self._confirm(work, verification, registration, try_id, proof, now)

    @staticmethod
    def _fail(work: RegistrationWork, verification: VerificationRow, row: RegistrationRow, now: datetime) -> None:
        """End the verification if that was its last try."""
        if verification.tries < codes.TRIES_MAX:
            return
        verification_id = verification.verification_id
        waits, ended = VerificationState.WAITING, VerificationState.ENDED
        work.set_verification(verification_id, from_state=waits, to_state=ended)
        details = {"verification_id": verification_id.hex(), "method": verification.method}
        store_changes(work, row, act(work, row, Act.FAIL, microseconds(now), changes={}, **details))

    def _confirm(
        self,
        work: RegistrationWork,
        verification: VerificationRow,
        registration: Registration,
        try_id: int,
        proof: Proof,
        now: datetime,
    ) -> Registration:
        verification_id, (row, record) = verification.verification_id, registration
        waits, confirmed = VerificationState.WAITING, VerificationState.CONFIRMED
        work.set_verification(verification_id, from_state=waits, to_state=confirmed)
        work.clear_try(try_id)
        work.complete_send(verification_id)
        evidence = proof.evidence(Method(verification.method), microseconds(now))
        moved = self._confirmed(work, row, evidence, now, as_of_revision=verification.as_of_revision)
        if proof.assertion is not None:
            record = replace(record, assertion_id=proof.assertion[1])
            moved = moved._replace(**self._vault.sealed(row.registration_id, row.service, record))
        return Registration(store_changes(work, row, moved), record)

    def _first_use(self, work: RegistrationWork, service: str, proof: Proof, now: datetime) -> bool:
        """Return True if the proof is no assertion, or one that has verified nobody of the service yet; now it has."""
        if proof.assertion is None:
            return True
        return work.take_assertion(self._vault.assertion_tags(service, *proof.assertion), microseconds(now))


def _was_given(proof: Proof, registration: Registration) -> bool:
    """Return True if a proof that is right may be the one that verified: of an assertion, only the very one."""
    evidence = registration.evidence
    if proof.assertion is None:
        return True
    return evidence is not None and proof.assertion == (evidence.authority, evidence.assertion_id)
