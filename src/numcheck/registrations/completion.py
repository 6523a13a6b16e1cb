"""What completes a verification: a try that is counted, a proof that is compared, and what it makes of a registration.

Invariants: a try is counted, durably, before anything is compared (R8). What is right is right however often and at
once it is given.
"""

import threading
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import NamedTuple
from weakref import WeakValueDictionary

from numcheck.errors import IndexBehind, ProofNotAccepted
from numcheck.moments import microseconds, moment
from numcheck.registrations import codes
from numcheck.registrations.evidence import from_json, to_json
from numcheck.registrations.policy import Method, alternatives_of
from numcheck.registrations.proofs import Proof
from numcheck.registrations.registration import (
    Outcome,
    Registration,
    VerificationState,
    act,
    follow_withdrawal,
    store_changes,
)
from numcheck.registrations.states import Act, allows
from numcheck.registrations.vault import Vault
from numcheck.registrations.verifier import Course, Finding, VerificationRequest, Verifier
from numcheck.steps import Alone, Steps
from numcheck.store import RegistrationRow, Registrations, RegistrationWork, VerificationRow


class Taken(NamedTuple):
    """A try that was counted; its id is None if the verification was given the right proof before."""

    verification: VerificationRow
    registration: Registration
    try_id: int | None


class Completion:
    """Takes proofs for verifications that wait for the user. Safe to ask from any thread."""

    def __init__(self, registrations: Registrations, vault: Vault, verifier: Verifier) -> None:
        self._registrations, self._vault, self._verifier = registrations, vault, verifier
        self._turns: WeakValueDictionary[bytes, threading.Lock] = WeakValueDictionary()
        self._turns_lock = threading.Lock()

    def complete(self, service: str, verification_id: bytes, proof: Proof) -> Steps[Outcome]:
        """Give a verification what it waits for, and go on with the attempt that it belongs to.

        ProofNotAccepted if it is wrong, over, or out of tries; IndexNotReady, with no try counted; IndexBehind, with
        the proof taken: it may be given again.
        """
        self._verifier.check_ready()
        # One at a time on this node: a proof that is given twice at once takes no try from itself.
        turn = self._turn_of(verification_id)
        if not turn.acquire(blocking=False):
            yield Alone(turn.acquire)
        try:
            done = yield from self._complete(service, verification_id, proof)
        finally:
            turn.release()
        return (yield from self._verifier.delivered(service, done.registration.record.number, done))

    def _turn_of(self, verification_id: bytes) -> threading.Lock:
        with self._turns_lock:
            return self._turns.setdefault(verification_id, threading.Lock())

    def _complete(self, service: str, verification_id: bytes, proof: Proof) -> Steps[Outcome]:
        now = self._verifier.now()
        taking = partial(self._take_try, service=service, verification_id=verification_id, proof=proof, now=now)
        taken: Taken = yield self._registrations.writing(taking)
        if not self._is_right(taken, proof, now):
            if taken.try_id is not None:
                failing = partial(self._fail, service=service, verification_id=verification_id, now=now)
                yield self._registrations.writing(failing)
            raise _refusal(taken.verification, now)
        finding = yield from self._finding(taken, proof, now)
        going_on = partial(self._go_on, taken=taken, proof=proof, finding=finding, now=now)
        done: Outcome = yield self._registrations.writing(going_on)
        return done

    def _is_right(self, taken: Taken, proof: Proof, now: datetime) -> bool:
        verification = taken.verification
        key = self._vault.try_key(verification.key_id)
        accepted = proof.accepted(
            verification,
            taken.registration.record.number,
            # A key that was dropped compares nothing any more.
            same_secret=lambda secret: (
                key is not None
                and codes.same_mac(verification.secret_mac, key.code_mac(verification.verification_id, secret))
            ),
            policy=self._verifier.policy_for(verification.service),
            now=now,
        )
        return accepted and (taken.try_id is not None or _was_given(proof, verification, taken.registration))

    def _finding(self, taken: Taken, proof: Proof, now: datetime) -> Steps[Finding]:
        """Return what is known of the number; outside of any transaction, as an operator may have to be asked."""
        verification, registration = taken.verification, taken.registration
        course = _course(verification)
        if taken.try_id is not None:
            course = course.after(proof.evidence(Method(verification.method), microseconds(now)))
        service, number = verification.service, registration.record.number
        finding = self._verifier.find(service, number)
        if taken.try_id is None and not _is_open(verification, registration, now):
            return finding
        return (yield from self._verifier.with_live_answer(finding, service, number, course))

    def _found(
        self, work: RegistrationWork, service: str, verification_id: bytes
    ) -> tuple[VerificationRow, Registration] | None:
        verification = work.verification(verification_id)
        if verification is None or verification.service != service:
            return None
        row = work.get(verification.registration_id)
        if row is None or not _is_newest(work, row, verification):
            return None
        record = self._vault.open(row)
        row = follow_withdrawal(work, row, record.number, microseconds(self._verifier.now()))
        return work.verification(verification_id) or verification, Registration(row, record)

    def _take_try(
        self, work: RegistrationWork, service: str, verification_id: bytes, proof: Proof, now: datetime
    ) -> Taken | ProofNotAccepted:
        """Count a try; ProofNotAccepted if there is none left, or nothing to try."""
        found = self._found(work, service, verification_id)
        if found is None:
            row = work.verification(verification_id)
            return ProofNotAccepted() if row is None or row.service != service else _refusal(row, now, is_over=True)
        verification, registration = found
        if not proof.fits(Method(verification.method)):
            return _refusal(verification, now)
        if verification.state in VerificationState.PROVED:
            return Taken(verification, registration, None)
        now_us, record = microseconds(now), registration.record
        number_tags = self._vault.number_tags(record.number)
        user_tags = self._vault.user_tags(service, record.user_id)
        wrong = work.wrong_tries(service, number_tags, user_tags, since_us=microseconds(now - codes.DAY))
        if not codes.may_try(*wrong) or not allows(registration.state, Act.CONFIRM):
            return _refusal(verification, now, is_over=True)
        if not work.take_try(verification_id, tries_max=codes.TRIES_MAX, now_us=now_us):
            return _refusal(verification, now)
        counted = verification._replace(tries=verification.tries + 1)
        return Taken(counted, registration, work.insert_try(service, number_tags[0], user_tags[0], now_us))

    def _fail(self, work: RegistrationWork, service: str, verification_id: bytes, now: datetime) -> None:
        """End the verification if that was its last try."""
        found = self._found(work, service, verification_id)
        if found is None or found[0].state != VerificationState.WAITING or found[0].tries < codes.TRIES_MAX:
            return
        verification, (row, _) = found
        waits, ended = VerificationState.WAITING, VerificationState.ENDED
        work.set_verification(verification_id, from_state=waits, to_state=ended)
        details = {"verification_id": verification_id.hex(), "method": verification.method}
        store_changes(work, row, act(work, row, Act.FAIL, microseconds(now), changes={}, **details))

    def _go_on(
        self, work: RegistrationWork, taken: Taken, proof: Proof, finding: Finding, now: datetime
    ) -> Outcome | IndexBehind | ProofNotAccepted:
        """Write what a right proof comes to: an error for the caller does not undo it."""
        found = self._found(work, taken.verification.service, taken.verification.verification_id)
        if found is None:
            return _refusal(taken.verification, now, is_over=True)
        verification, registration = found
        if verification.state in VerificationState.PROVED:
            if taken.try_id is not None:
                work.clear_try(taken.try_id)  # another node was given a proof meanwhile
            if not _was_given(proof, verification, registration):
                return _refusal(verification, now)
            if not _is_open(verification, registration, now):
                return Outcome(registration, self._verifier.current(work, registration.row, now))
            return self._attempt(work, verification, registration, finding, now)
        if taken.try_id is None or not self._may_prove(work, verification, registration, proof, now):
            return _refusal(verification, now)
        verification, proved = self._prove(work, verification, registration, taken.try_id, proof, now)
        return self._attempt(work, verification, proved, finding, now, fresh=True)

    def _may_prove(
        self,
        work: RegistrationWork,
        verification: VerificationRow,
        registration: Registration,
        proof: Proof,
        now: datetime,
    ) -> bool:
        if verification.state != VerificationState.WAITING:
            return False
        if allows(registration.state, Act.CONFIRM) and self._first_use(work, verification.service, proof, now):
            return True
        self._fail(work, verification.service, verification.verification_id, now)
        return False

    def _prove(
        self,
        work: RegistrationWork,
        verification: VerificationRow,
        registration: Registration,
        try_id: int,
        proof: Proof,
        now: datetime,
    ) -> tuple[VerificationRow, Registration]:
        """Note that the verification was given what it waits for; return it and the registration."""
        given = (*from_json(verification.given), proof.evidence(Method(verification.method), microseconds(now)))
        proved = verification._replace(state=VerificationState.CONFIRMED, given=to_json(given))
        work.change_verification(proved)
        work.clear_try(try_id)
        work.complete_send(verification.verification_id)
        row, record = registration
        if proof.assertion is not None:
            record = replace(record, assertion_id=proof.assertion[1])
            row = store_changes(work, row, row._replace(**self._vault.sealed(row.registration_id, row.service, record)))
        return proved, Registration(row, record)

    def _attempt(
        self,
        work: RegistrationWork,
        verification: VerificationRow,
        registration: Registration,
        finding: Finding,
        now: datetime,
        *,
        fresh: bool = False,
    ) -> Outcome | IndexBehind:
        """Go on with the attempt that a proved verification belongs to, and store what becomes of the registration."""
        course, behind = _course(verification, fresh=fresh), None
        try:
            attempt = self._verifier.attempt(
                work, registration, course, finding, VerificationRequest(registration.record.network_address), now
            )
        except IndexBehind as error:
            attempt, behind = self._verifier.unanswered(work, registration.row, course, now), error
        if attempt.denied:
            verification = verification._replace(state=VerificationState.DENIED)
            work.change_verification(verification)
        stored = replace(attempt, row=store_changes(work, registration.row, attempt.row))
        if stored.verification is None or not stored.verification.verification_id:
            stored = replace(stored, verification=self._verifier.told(verification, now))
        return behind or stored.outcome(registration.record)

    def _first_use(self, work: RegistrationWork, service: str, proof: Proof, now: datetime) -> bool:
        """Return True if the proof is no assertion, or one that has verified nobody of the service yet; now it has."""
        if proof.assertion is None:
            return True
        return work.take_assertion(self._vault.assertion_tags(service, *proof.assertion), microseconds(now))


def _refusal(verification: VerificationRow, now: datetime, *, is_over: bool = False) -> ProofNotAccepted:
    """Return the refusal of a proof, with what is left of the verification for who knows its id."""
    waits = verification.state == VerificationState.WAITING and verification.expires_at_us > microseconds(now)
    tries_left = codes.TRIES_MAX - verification.tries if waits and not is_over else 0
    return ProofNotAccepted(tries_left, _text(verification.expires_at_us))


def _text(at_us: int) -> str:
    """Return a moment as RFC 3339 writes it."""
    return moment(at_us).isoformat().replace("+00:00", "Z")


def _course(verification: VerificationRow, *, fresh: bool = False) -> Course:
    """Return the course of the attempt that a verification belongs to."""
    return Course(
        alternatives_of(verification.alternatives),
        from_json(verification.given),
        verification.attempt_id,
        verification.as_of_revision,
        fresh,
    )


def _is_newest(work: RegistrationWork, row: RegistrationRow, verification: VerificationRow) -> bool:
    """Return True if a verification is the registration's newest, or of the same attempt as that."""
    if row.verification_id in (None, verification.verification_id):
        return row.verification_id is not None
    newest = work.verification(row.verification_id)
    return newest is not None and newest.attempt_id == verification.attempt_id


def _is_open(verification: VerificationRow, registration: Registration, now: datetime) -> bool:
    """Return True if what was proved last has come to no answer, and still may."""
    return (
        verification.state == VerificationState.CONFIRMED
        and registration.row.verification_id == verification.verification_id
        and registration.row.proofs != verification.given
        and verification.expires_at_us > microseconds(now)
        and allows(registration.state, Act.CONFIRM)
    )


def _was_given(proof: Proof, verification: VerificationRow, registration: Registration) -> bool:
    """Return True if a proof that is right may be the one that was given: of an assertion, only the very one."""
    if proof.assertion is None:
        return True
    authority = from_json(verification.given)[-1].authority
    return proof.assertion == (authority, registration.record.assertion_id)
