"""Completes a verification: a try that is counted, a proof that is compared, and what it makes of a registration.

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
from numcheck.moments import microseconds, rfc3339
from numcheck.registrations import codes
from numcheck.registrations.deciding import Problem
from numcheck.registrations.evidence import Evidence, from_json, to_json
from numcheck.registrations.policy import Method, alternatives_of
from numcheck.registrations.proofs import Proof
from numcheck.registrations.record import NumberChange
from numcheck.registrations.registration import (
    Outcome,
    Registration,
    VerificationState,
    apply,
    follow_withdrawal,
    store_changes,
)
from numcheck.registrations.states import EventKind, allows
from numcheck.registrations.vault import Vault
from numcheck.registrations.verifier import Course, Finding, VerificationRequest, Verifier
from numcheck.steps import Alone, Steps
from numcheck.store import Needs, RegistrationRow, Registrations, RegistrationWork, Try, TryRow, VerificationRow


class Found(NamedTuple):
    """A verification that counts, its registration, and the change of number that it is for, if it is for one."""

    verification: VerificationRow
    registration: Registration
    change: NumberChange | None

    @property
    def number(self) -> int:
        """The number that it verifies."""
        return self.registration.record.number if self.change is None else self.change.number

    @property
    def assertion_id(self) -> str:
        """The assertion that was given last."""
        return self.registration.record.assertion_id if self.change is None else self.change.assertion_id

    @property
    def is_synthetic(self) -> bool:
        """True if it is a test number's, and so good for nothing once that is none any more."""
        is_fixed = bool(Method(self.verification.method).code_digits) and not self.verification.next_code_at_us
        return is_fixed or any(one.synthetic for one in from_json(self.verification.given))

    @property
    def can_be_completed(self) -> bool:
        """True if the registration stands where a right proof can do what the verification is for."""
        return allows(self.registration.state, EventKind.CONFIRM if self.change is None else EventKind.CHANGE)

    def course(self, *, fresh: bool = False) -> Course:
        """Return the course of the attempt that the verification belongs to."""
        verification = self.verification
        return Course(
            alternatives_of(verification.alternatives),
            from_json(verification.given),
            verification.attempt_id,
            verification.as_of_revision,
            fresh,
            self.change,
        )


class Taken(NamedTuple):
    """A try that was counted; None if the verification was given the right proof before."""

    found: Found
    tried: Try | None


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
        return (yield from self._verifier.delivered(done))

    def _turn_of(self, verification_id: bytes) -> threading.Lock:
        with self._turns_lock:
            return self._turns.setdefault(verification_id, threading.Lock())

    def _complete(self, service: str, verification_id: bytes, proof: Proof) -> Steps[Outcome]:
        now = self._verifier.now()
        taking = partial(self._take_try, service=service, verification_id=verification_id, proof=proof, now=now)
        taken: Taken = yield self._registrations.writing(taking, Needs(verification_id=verification_id, tries=True))
        if not self._is_right(taken, proof, now):
            if taken.tried is not None:
                failing = partial(self._fail, service=service, verification_id=verification_id, now=now)
                yield self._registrations.writing(failing, Needs(verification_id=verification_id))
            raise _refusal(taken.found.verification, now)
        finding = yield from self._finding(taken, proof, now)
        going_on = partial(self._go_on, taken=taken, proof=proof, finding=finding, now=now)
        needs = Needs(verification_id=verification_id, holders=True)
        done: Outcome = yield self._registrations.writing(going_on, needs)
        return done

    def _is_right(self, taken: Taken, proof: Proof, now: datetime) -> bool:
        verification = taken.found.verification
        key = self._vault.try_key(verification.key_id)
        accepted = proof.accepted(
            verification,
            taken.found.number,
            # A key that was dropped compares nothing any more.
            same_secret=lambda secret: (
                key is not None
                and codes.same_mac(verification.secret_mac, key.code_mac(verification.verification_id, secret))
            ),
            policy=self._verifier.policy_for(verification.service),
            now=now,
        )
        return accepted and (taken.tried is not None or _was_given(proof, taken.found))

    def _finding(self, taken: Taken, proof: Proof, now: datetime) -> Steps[Finding]:
        """Return what is known of the number; outside of any transaction, as an operator may have to be asked."""
        found, verification = taken.found, taken.found.verification
        course = found.course()
        if taken.tried is not None:
            course = course.after(proof.evidence(Method(verification.method), microseconds(now)))
        finding = self._verifier.find(verification.service, found.number)
        if taken.tried is None and not _is_open(found, now):
            return finding
        return (yield from self._verifier.with_live_answer(finding, verification.service, found.number, course))

    def _found(self, work: RegistrationWork, service: str, verification_id: bytes) -> Found | None:
        verification = work.verifications.get(verification_id)
        if verification is None or verification.service != service:
            return None
        row = work.get(verification.registration_id)
        if row is None or not _is_newest(work, row, verification):
            return None
        record = self._vault.open(row)
        if work.try_waiting_withdrawal(record.number, row.as_of_revision) is not None:
            row = follow_withdrawal(work, row, record.number, microseconds(self._verifier.now()))
            verification = work.verifications.get(verification_id) or verification
        return Found(verification, Registration(row, record), self._vault.try_change(verification))

    def _take_try(
        self, work: RegistrationWork, service: str, verification_id: bytes, proof: Proof, now: datetime
    ) -> Taken | ProofNotAccepted:
        """Count a try; ProofNotAccepted if there is none left, or nothing to try."""
        found = self._found(work, service, verification_id)
        if found is None:
            row = work.verifications.get(verification_id)
            return ProofNotAccepted() if row is None or row.service != service else _refusal(row, now, is_over=True)
        verification = found.verification
        if not proof.fits(Method(verification.method)):
            return _refusal(verification, now)
        if verification.state in VerificationState.PROVED:
            return Taken(found, None)
        now_us, number_tags = microseconds(now), self._vault.number_tags(found.number)
        user_tags = self._vault.user_tags(service, found.registration.record.user_id)
        network_tags = [verification.network_tag]
        since_us = microseconds(now - codes.DAY)
        wrong = work.sends.wrong_tries(service, number_tags, network_tags, user_tags, since_us=since_us)
        # Nobody is hurt by guesses at a test number, and whoever tests makes many.
        is_bounded = not self._verifier.is_test_number(found.number)
        if (is_bounded and not codes.may_try(*wrong)) or not found.can_be_completed:
            return _refusal(verification, now, is_over=True)
        if not work.verifications.take_try(verification, tries_max=codes.TRIES_MAX, now_us=now_us):
            return _refusal(verification, now)
        counted = found._replace(verification=verification._replace(tries=verification.tries + 1))
        one = TryRow(service, number_tags[0], user_tags[0], verification.network_tag, now_us)
        return Taken(counted, work.sends.insert_try(one))

    def _fail(self, work: RegistrationWork, service: str, verification_id: bytes, now: datetime) -> None:
        """End the verification if that was its last try."""
        found = self._found(work, service, verification_id)
        if found is None:
            return
        verification, row = found.verification, found.registration.row
        if verification.state != VerificationState.WAITING or verification.tries < codes.TRIES_MAX:
            return
        waits, ended = VerificationState.WAITING, VerificationState.ENDED
        work.verifications.set_state(verification_id, from_state=waits, to_state=ended)
        details = {"verification_id": verification_id.hex(), "method": verification.method}
        store_changes(work, row, apply(work, row, EventKind.FAIL, microseconds(now), changes={}, **details))

    def _go_on(
        self, work: RegistrationWork, taken: Taken, proof: Proof, finding: Finding, now: datetime
    ) -> Outcome | IndexBehind | ProofNotAccepted:
        """Write what a right proof comes to: an error for the caller does not undo it."""
        verification = taken.found.verification
        found = self._found(work, verification.service, verification.verification_id)
        if found is None or (found.is_synthetic and not finding.test_code):
            return _refusal(verification, now, is_over=True)
        if found.verification.state in VerificationState.PROVED:
            if taken.tried is not None:
                work.sends.clear_try(taken.tried)  # another node was given a proof meanwhile
            if not _was_given(proof, found):
                return _refusal(found.verification, now)
            if not _is_open(found, now) or self._was_taken(work, found):
                return self._told_again(work, found, now)
            return self._attempt(work, found, finding, now)
        if taken.tried is None or not self._may_prove(work, found, proof, now):
            return _refusal(found.verification, now)
        evidence = proof.evidence(Method(found.verification.method), microseconds(now))
        evidence = evidence._replace(synthetic=bool(finding.test_code))
        proved = self._prove(work, found, taken.tried, proof, evidence)
        return self._attempt(work, proved, finding, now, fresh=True)

    def _told_again(self, work: RegistrationWork, found: Found, now: datetime) -> Outcome:
        """Return the answer to a proof that has done already what it can do."""
        denied = found.change is not None and found.verification.state == VerificationState.DENIED
        verification = self._verifier.current(work, found.registration.row, now)
        return Outcome(found.registration, verification, Problem.NUMBER_DENIED if denied else "")

    @staticmethod
    def _was_taken(work: RegistrationWork, found: Found) -> bool:
        """Return True if the number was taken from its operator since the verification began: whoever has it now is
        not, for all that is known, who has proved it."""
        return bool(work.withdrawn_since(found.number, found.verification.as_of_revision))

    def _may_prove(self, work: RegistrationWork, found: Found, proof: Proof, now: datetime) -> bool:
        verification = found.verification
        if verification.state != VerificationState.WAITING:
            return False
        if self._was_taken(work, found):
            waits, ended = VerificationState.WAITING, VerificationState.ENDED
            work.verifications.set_state(verification.verification_id, from_state=waits, to_state=ended)
            return False
        if found.can_be_completed and self._first_use(work, verification.service, proof, now):
            return True
        self._fail(work, verification.service, verification.verification_id, now)
        return False

    def _prove(self, work: RegistrationWork, found: Found, tried: Try, proof: Proof, evidence: Evidence) -> Found:
        """Note that the verification was given what it waits for, and return all as it is then."""
        verification, (row, record), change = found
        given = (*from_json(verification.given), evidence)
        proved = verification._replace(state=VerificationState.CONFIRMED, given=to_json(given))
        if proof.assertion is not None and change is not None:
            change = replace(change, assertion_id=proof.assertion[1])
            sealed = self._vault.sealed_change(proved.key_id, proved.verification_id, change)
            proved = proved._replace(sealed_change=sealed)
        elif proof.assertion is not None:
            record = record._replace(assertion_id=proof.assertion[1])
            row = store_changes(work, row, row._replace(**self._vault.sealed(row.registration_id, row.service, record)))
        work.verifications.change(proved)
        work.sends.clear_try(tried)
        work.sends.complete(verification.verification_id)
        return Found(proved, Registration(row, record), change)

    def _attempt(
        self, work: RegistrationWork, found: Found, finding: Finding, now: datetime, *, fresh: bool = False
    ) -> Outcome | IndexBehind:
        """Go on with the attempt that a proved verification belongs to, and store what becomes of the registration."""
        verification, registration, _ = found
        course, behind = found.course(fresh=fresh), None
        wanted = VerificationRequest(course.about(registration.record).network_address)
        try:
            attempt = self._verifier.attempt(work, registration, course, finding, wanted, now)
        except IndexBehind as error:
            attempt, behind = self._verifier.unanswered(work, registration, course, now), error
        if attempt.denied:
            verification = verification._replace(state=VerificationState.DENIED)
            work.verifications.change(verification)
        stored = attempt.stored(store_changes(work, registration.row, attempt.row))
        if stored.verification is None or not stored.verification.verification_id:
            stored = stored._replace(verification=self._verifier.told(verification, now))
        return behind or stored

    def _first_use(self, work: RegistrationWork, service: str, proof: Proof, now: datetime) -> bool:
        """Return True if the proof is no assertion, or one that has verified nobody of the service yet; now it has."""
        if proof.assertion is None:
            return True
        return work.verifications.take_assertion(
            self._vault.assertion_tags(service, *proof.assertion), microseconds(now)
        )


def _refusal(verification: VerificationRow, now: datetime, *, is_over: bool = False) -> ProofNotAccepted:
    """Return the refusal of a proof, with what is left of the verification for who knows its id."""
    waits = verification.state == VerificationState.WAITING and verification.expires_at_us > microseconds(now)
    tries_left = codes.TRIES_MAX - verification.tries if waits and not is_over else 0
    return ProofNotAccepted(tries_left, rfc3339(verification.expires_at_us))


def _is_newest(work: RegistrationWork, row: RegistrationRow, verification: VerificationRow) -> bool:
    """Return True if a verification is the registration's newest, or of the same attempt as that."""
    if row.verification_id in (None, verification.verification_id):
        return row.verification_id is not None
    newest = work.verifications.get(row.verification_id)
    return newest is not None and newest.attempt_id == verification.attempt_id


def _is_open(found: Found, now: datetime) -> bool:
    """Return True if what was proved last has come to no answer, and still may."""
    verification, registration, _ = found
    return (
        verification.state == VerificationState.CONFIRMED
        and registration.row.verification_id == verification.verification_id
        and registration.row.proofs != verification.given
        and verification.expires_at_us > microseconds(now)
        and found.can_be_completed
    )


def _was_given(proof: Proof, found: Found) -> bool:
    """Return True if a proof that is right may be the one that was given: of an assertion, only the very one."""
    if proof.assertion is None:
        return True
    authority = from_json(found.verification.given)[-1].authority
    return proof.assertion == (authority, found.assertion_id)
