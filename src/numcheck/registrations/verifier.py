"""Verifications: by the operator's data, by a code, by an act of the user, by an authority (I.3b, I.5, II.1 to II.3).

Invariants: one verification of a registration is live at a time (R8), and nobody ends another's: a number that a
stranger typed does not shut its holder out. A code is sent after the transaction that counted it, never before; a try
is counted, durably, before anything is compared. What is right is right however often and at once it is given.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from numcheck.errors import DeliveryFailed, IndexBehind, MethodNotAllowed, ProofNotAccepted, TooManyCodes
from numcheck.index import Index, NumberFacts
from numcheck.moments import microseconds, moment
from numcheck.registrations import codes
from numcheck.registrations.due import due_at
from numcheck.registrations.enquiry import Enquirer, LiveAnswer, judge_live
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.judging import judge
from numcheck.registrations.policy import Judgement, Method, Policy
from numcheck.registrations.proofs import Proof
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.registration import (
    Outcome,
    Registration,
    Verification,
    VerificationState,
    act,
    act_on,
    follow_withdrawal,
    store_changes,
)
from numcheck.registrations.states import Act, allows
from numcheck.registrations.vault import Vault
from numcheck.status import NumberStatus
from numcheck.store import RegistrationRow, Registrations, RegistrationWork, SendRow, VerificationRow

TURNS = 1_024
"""Locks for verifications: enough that calls about different ones hardly ever meet."""


class Courier(Protocol):
    """What hands a code over to somebody who brings it to a number."""

    channels: frozenset[str]

    def send(self, number: int, code: str, *, channel: str, service: str, message_id: str) -> None:
        """Hand it over; DeliveryFailed if that cannot be done."""


class Look(NamedTuple):
    """What the index says of a number, from one version of it."""

    facts: NumberFacts
    agreed: bool
    index_version: int
    live: LiveAnswer | None = None
    """What the operator itself said, where it was asked."""


class Wanted(NamedTuple):
    """How a caller wants a verification: for which network address, over which channel, by which method.

    `on_demand`: it is all that the caller asks for, not a part of something that is recorded anyway.
    """

    network_address: NetworkAddress
    channel: str = ""
    method: Method | None = None
    on_demand: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt to verify made of a registration's row; the code is still to be sent."""

    row: RegistrationRow
    verification: Verification | None = None
    code: str = ""
    channel: str = ""
    problem: str = ""

    def outcome(self, record: Record) -> Outcome:
        """The attempt as its caller is told, with what is to be sent."""
        return Outcome(Registration(self.row, record), self.verification, self.problem, self.code, self.channel)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What verifications need from outside.

    `agreed(service, operator_id)` says whether there is an agreement (I.5); without a courier no code is sent, without
    an enquirer no operator is asked itself; `random_below(n)` gives a random number from 0 to n - 1.
    """

    index: Callable[[], Index]
    policy_for: Callable[[str], Policy]
    agreed: Callable[[str, int], bool]
    courier: Courier | None
    bounds: codes.SendBounds
    now: Callable[[], datetime]
    random_below: Callable[[int], int]
    enquirer: Enquirer | None = None


class Verifier:
    """Starts and ends verifications. Safe to ask from any thread."""

    def __init__(self, registrations: Registrations, vault: Vault, surroundings: Surroundings) -> None:
        self._registrations, self._vault, self._around = registrations, vault, surroundings
        self.policy_for, self._courier = surroundings.policy_for, surroundings.courier
        self._turns = [threading.Lock() for _ in range(TURNS)]

    def look(self, service: str, number: int) -> Look:
        """What the newest index says of a number, as far as the service may know it; IndexNotReady."""
        index = self._around.index()
        facts = index.facts(number)
        operator = facts.serving_operator
        agreed = operator is not None and self._around.agreed(service, operator.operator_id)
        return Look(facts, agreed, index.index_version)

    def asks(self, look: Look, service: str, wanted: Wanted) -> bool:
        """Whether the operator itself is to be asked: the policy has that, and the operator's data says nothing."""
        policy = self.policy_for(service)
        if self._around.enquirer is None or not (policy.live and look.agreed):
            return False
        methods = policy.methods if wanted.method is None else (wanted.method,)
        if Method.OPERATOR not in methods or self._user_first(_before_operator(methods), wanted):
            return False
        now, version = self._around.now(), look.index_version
        return judge(look.facts, policy, agreed=True, index_version=version, now=now)[0] is Judgement.NO_ANSWER

    def asked(self, look: Look, number: int) -> Look:
        """The look, with what the operator itself says. It takes seconds: never call it within a transaction."""
        enquirer, operator = self._around.enquirer, look.facts.serving_operator
        return look if enquirer is None or operator is None else look._replace(live=enquirer.ask(operator, number))

    # --- starting

    def attempt(
        self, work: RegistrationWork, registration: Registration, look: Look, wanted: Wanted, now: datetime
    ) -> Attempt:
        """Try the methods in their order until one has an answer or waits for the user.

        WrongState, MethodNotAllowed, TooManyCodes, or IndexBehind if the number was taken from its operator after the
        look, with nothing written; what hinders a code is only told if it was not asked for on demand.
        """
        row, policy = registration.row, self.policy_for(registration.row.service)
        methods = policy.methods_for(wanted.method)
        judgement, evidence = judge(look.facts, policy, agreed=look.agreed, index_version=look.index_version, now=now)
        if judgement is Judgement.NO_ANSWER and look.live is not None:
            judgement, evidence = judge_live(look.live, policy, evidence)
        decided = Method.OPERATOR in methods and judgement is not Judgement.NO_ANSWER
        if decided and (taken := work.withdrawn_since(registration.record.number, look.index_version)):
            # What revokes registrations has passed by already, or would not know that this one rests on older data.
            raise IndexBehind(taken, look.index_version)
        first = _before_operator(methods) if decided else methods
        if self._user_first(first, wanted):
            return self._try_wait(work, registration, self._first_possible(first, wanted), wanted, now)
        if wanted.on_demand:
            row = act(work, row, Act.START, microseconds(now), changes={}, method=Method.OPERATOR.value)
        return self._decide(work, row, judgement, evidence, now) if decided else Attempt(row)

    def _user_first(self, methods: Sequence[Method], wanted: Wanted) -> bool:
        """Whether the user has to act by one of these, even if no code can be sent that way: what is written behind a
        code does not take its place, or an operator's word alone would verify whoever types a stranger's number."""
        return any(method.channels for method in methods) or self._first_possible(methods, wanted) is not None

    def _first_possible(self, methods: Sequence[Method], wanted: Wanted) -> Method | None:
        """The first method that can wait for the user."""
        return next((method for method in methods if self._possible(method, wanted)), None)

    def _possible(self, method: Method, wanted: Wanted) -> bool:
        if method.channels:
            return self._courier is not None and method.channel_for(wanted.channel) in self._courier.channels
        # An authority's assertion is brought, not waited for: only who asks for it gets it.
        return method is Method.INBOUND or (method is Method.ATTESTED and wanted.method is Method.ATTESTED)

    def _decide(
        self, work: RegistrationWork, row: RegistrationRow, judgement: Judgement, evidence: Evidence, now: datetime
    ) -> Attempt:
        now_us = microseconds(now)
        if judgement is Judgement.CONFIRMED:
            row = self.confirmed(work, row, evidence, now, as_of_revision=work.revision)
            state = VerificationState.CONFIRMED
        else:
            row = act_on(work, row, Act.DENY, now_us, evidence)
            state = VerificationState.DENIED
        return Attempt(row, Verification(b"", Method.OPERATOR, state))

    def confirmed(
        self, work: RegistrationWork, row: RegistrationRow, evidence: Evidence, now: datetime, **changes: Any
    ) -> RegistrationRow:
        """The row of a registration whose number is confirmed: with the due time that its last refresh has earned."""
        due_us = microseconds(due_at(moment(row.refreshed_at_us), self.policy_for(row.service).refresh_after))
        return act_on(work, row, Act.CONFIRM, microseconds(now), evidence, due_at_us=due_us, **changes)

    def _try_wait(
        self, work: RegistrationWork, registration: Registration, method: Method | None, wanted: Wanted, now: datetime
    ) -> Attempt:
        """Begin a verification that waits for the user, unless it takes a code that may not, or cannot, be sent."""
        try:
            if method is None:
                raise MethodNotAllowed("this node cannot deliver codes that way")
            if method.channels:
                self._check_send(work, registration.row, registration.record, wanted, now)
        except (MethodNotAllowed, TooManyCodes) as refusal:
            if wanted.on_demand:
                raise
            return Attempt(registration.row, problem=refusal.reason)
        return self._wait(work, registration, method, wanted, now)

    def _wait(
        self, work: RegistrationWork, registration: Registration, method: Method, wanted: Wanted, now: datetime
    ) -> Attempt:
        """Begin a verification that waits for the user; every other of the registration ends."""
        row, record = registration
        now_us, verification_id = microseconds(now), self._vault.new_id(microseconds(now))
        key = self._vault.newest
        secret = ""
        if method.code_digits:
            secret = codes.make_code(self._around.random_below, method.code_digits)
        elif method is Method.INBOUND:
            secret = codes.word_of(key.word_digest(verification_id))
        number_tags = self._vault.number_tags(record.number)
        next_code_at_us = 0
        row = act(
            work, row, Act.START, now_us, changes={"verification_id": verification_id},
            method=method.value, verification_id=verification_id.hex(),
        )  # fmt: skip
        work.end_verifications_of({row.registration_id: work.revision + 1}, VerificationState.ENDED)
        if method.channels:
            next_code_at_us = self._record_send(work, row, record, wanted, verification_id, now)
        verification = VerificationRow(
            verification_id=verification_id,
            registration_id=row.registration_id,
            service=row.service,
            number_tag=number_tags[0],
            key_id=key.key_id,
            method=method.value,
            state=VerificationState.WAITING,
            started_at_us=now_us,
            as_of_revision=work.revision,
            expires_at_us=microseconds(now + method.lifetime),
            next_code_at_us=next_code_at_us,
            secret_mac=key.code_mac(verification_id, secret) if secret else b"",
            tries=0,
        )
        work.insert_verification(verification)
        return Attempt(
            row,
            self._told(verification, now),
            code=secret if method.channels else "",
            channel=method.channel_for(wanted.channel) if method.channels else "",
        )

    # --- telling again

    def current(self, work: RegistrationWork, row: RegistrationRow, now: datetime) -> Verification | None:
        """The verification that gave a registration's last answer, or waits for it; None if none was tried.

        Of one that waits for an inbound act also the word, which is made from its id: an answer that was lost on its
        way takes nothing from the user.
        """
        verification = None if row.verification_id is None else work.verification(row.verification_id)
        evidence = None if row.evidence is None else Evidence.from_json(row.evidence)
        if verification is not None and (evidence is None or evidence.verified_at_us < verification.started_at_us):
            return self._told(verification, now)
        if evidence is None:
            return None
        if verification is not None and evidence.method.value == verification.method:
            return self._told(verification, now)
        confirmed = evidence.method is not Method.OPERATOR or evidence.answer == NumberStatus.ACTIVE
        state = VerificationState.CONFIRMED if confirmed else VerificationState.DENIED
        return Verification(b"", evidence.method, state)

    def _told(self, row: VerificationRow, now: datetime) -> Verification:
        waits, over = row.state == VerificationState.WAITING, row.expires_at_us <= microseconds(now)
        key = self._vault.try_key(row.key_id)
        word = ""
        if waits and not over and row.method == Method.INBOUND and key is not None:
            word = codes.word_of(key.word_digest(row.verification_id))
        state = VerificationState.ENDED if waits and over else row.state
        return Verification(
            row.verification_id, Method(row.method), state, row.expires_at_us, row.next_code_at_us, word
        )

    # --- codes

    def _check_send(
        self, work: RegistrationWork, row: RegistrationRow, record: Record, wanted: Wanted, now: datetime
    ) -> None:
        vault, bounds, service = self._vault, self._around.bounds, row.service
        number_tags, since_us = vault.number_tags(record.number), microseconds(now - codes.DAY)
        sends = codes.Sends(
            to_number=[moment(at) for at in work.sends_to_number(service, number_tags, since_us=since_us)],
            full_number=_try_moment(work.nth_send(bounds.number_max, since_us=since_us, number_tag=number_tags)),
            full_block=_try_moment(
                work.nth_send(
                    bounds.block_max, since_us=since_us, service=service, block_tag=vault.block_tags(record.number)
                )
            ),
            full_network=_try_moment(
                work.nth_send(
                    bounds.network_max,
                    since_us=since_us,
                    service=service,
                    network_tag=vault.network_tags(wanted.network_address),
                )
            ),
            full_rate=_try_moment(
                work.nth_send(bounds.rate_max, since_us=microseconds(now - codes.RATE_WINDOW), service=service)
            ),
            outcomes=work.outcomes(
                service, before_us=microseconds(now - codes.BREAKER_GRACE), count_max=codes.BREAKER_CODES
            ),
            newest_of_service=_try_moment(work.newest_send(service)),
        )
        codes.check_send(sends, now)

    def _record_send(
        self,
        work: RegistrationWork,
        row: RegistrationRow,
        record: Record,
        wanted: Wanted,
        verification_id: bytes,
        now: datetime,
    ) -> int:
        """Count a code as sent; the moment from which on another may be."""
        vault, number_tags = self._vault, self._vault.number_tags(record.number)
        work.insert_send(
            SendRow(
                verification_id=verification_id,
                at_us=microseconds(now),
                service=row.service,
                number_tag=number_tags[0],
                block_tag=vault.block_tags(record.number)[0],
                network_tag=vault.network_tags(wanted.network_address)[0],
            )
        )
        sent = work.sends_to_number(row.service, number_tags, since_us=microseconds(now - codes.DAY))
        return microseconds(codes.next_code_at([moment(at) for at in sent]) or now)

    def delivered(self, service: str, number: int, started: Outcome, *, strict: bool = False) -> Outcome:
        """Send the code of what was started, now that it is counted; if that fails, say so, or raise when `strict`."""
        outcome = started._replace(code="", channel="")
        if not started.code or started.verification is None or self._courier is None:
            return outcome
        message_id = started.verification.verification_id.hex()
        try:
            self._courier.send(number, started.code, channel=started.channel, service=service, message_id=message_id)
        except DeliveryFailed as failure:
            if strict:
                raise
            return outcome._replace(problem=failure.reason)
        return outcome

    # --- completing

    def complete(self, service: str, verification_id: bytes, proof: Proof) -> Registration:
        """Give a verification what it waits for. ProofNotAccepted if it is wrong, over, or out of tries."""
        # One at a time on this node: a proof that is given twice at once takes no try from itself.
        with self._turns[hash(verification_id) % len(self._turns)]:
            return self._complete(service, verification_id, proof)

    def _complete(self, service: str, verification_id: bytes, proof: Proof) -> Registration:
        now = self._around.now()
        taken = self._registrations.write(lambda work: self._take_try(work, service, verification_id, proof, now))
        if taken is None:
            raise ProofNotAccepted("the proof is not accepted")
        verification, registration, try_id = taken
        key, policy = self._vault.try_key(verification.key_id), self.policy_for(service)
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
            done = registration if accepted and _was_given(proof, registration) else None
        else:
            done = self._registrations.write(
                lambda work: self._end(work, verification, try_id, proof if accepted else None, now)
            )
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
        row = follow_withdrawal(work, row, record.number, microseconds(self._around.now()))
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
        moved = self.confirmed(work, row, evidence, now, as_of_revision=verification.as_of_revision)
        if proof.assertion is not None:
            record = replace(record, assertion_id=proof.assertion[1])
            moved = moved._replace(**self._vault.sealed(row.registration_id, row.service, record))
        return Registration(store_changes(work, row, moved), record)

    def _first_use(self, work: RegistrationWork, service: str, proof: Proof, now: datetime) -> bool:
        """Whether the proof is no assertion, or one that has verified nobody of the service yet; now it has."""
        if proof.assertion is None:
            return True
        return work.take_assertion(self._vault.assertion_tags(service, *proof.assertion), microseconds(now))


def _was_given(proof: Proof, registration: Registration) -> bool:
    """Whether a proof that is right may be the one that verified: of an assertion, only the very one."""
    evidence = registration.evidence
    if proof.assertion is None:
        return True
    return evidence is not None and proof.assertion == (evidence.authority, evidence.assertion_id)


def _before_operator(methods: Sequence[Method]) -> Sequence[Method]:
    return methods[: methods.index(Method.OPERATOR)]


def _try_moment(at_us: int | None) -> datetime | None:
    return None if at_us is None else moment(at_us)
