"""Verifications: by the operator's data, by a code, by an act of the user, by an authority (I.3b, I.5, II.1 to II.3).

Invariants: one verification of a registration is live at a time (R8), and nobody ends another's: a number that a
stranger typed does not shut its holder out. A code is sent after the transaction that counted it, never before.
completion.py has what ends a verification that waits, sends.py the limits of codes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from numcheck.errors import DeliveryFailed, IndexBehind, MethodNotAllowed, TooManyCodes
from numcheck.index import Index, NumberFacts
from numcheck.moments import microseconds, moment
from numcheck.registrations import codes
from numcheck.registrations.completion import Completion
from numcheck.registrations.due import due_at
from numcheck.registrations.enquiry import Enquirer, LiveAnswer, judge_live
from numcheck.registrations.evidence import Evidence
from numcheck.registrations.judging import judge
from numcheck.registrations.policy import Judgement, Method, Policy
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.registration import (
    Outcome,
    Registration,
    Verification,
    VerificationState,
    act,
    act_on,
)
from numcheck.registrations.sends import Code, CodeSends
from numcheck.registrations.states import Act
from numcheck.registrations.vault import Vault
from numcheck.status import NumberStatus
from numcheck.steps import Alone, Steps
from numcheck.store import RegistrationRow, Registrations, RegistrationWork, VerificationRow


class Courier(Protocol):
    """What hands a code over to somebody who brings it to a number."""

    channels: frozenset[str]

    def send(self, number: int, code: str, *, channel: str, service: str, message_id: str) -> None:
        """Hand it over; DeliveryFailed if that cannot be done."""


class Finding(NamedTuple):
    """What the index says of a number, from one version of it."""

    facts: NumberFacts
    agreed: bool
    index_version: int
    live: LiveAnswer | None = None
    """What the operator itself said, where it was asked."""


class VerificationRequest(NamedTuple):
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
        """Return the attempt as its caller is told, with what is to be sent."""
        return Outcome(Registration(self.row, record), self.verification, self.problem, self.code, self.channel)


@dataclass(frozen=True, slots=True)
class Environment:
    """What verifications need from outside.

    `agreed(service, operator_id)` says whether there is an agreement (I.5); without a courier no code is sent, without
    an enquirer no operator is asked itself; `random_below(n)` gives a random number from 0 to n - 1.
    """

    index: Callable[[], Index]
    policy_for: Callable[[str], Policy]
    agreed: Callable[[str, int], bool]
    courier: Courier | None
    code_policy_for: Callable[[str], codes.CodePolicy]
    now: Callable[[], datetime]
    random_below: Callable[[int], int]
    enquirer: Enquirer | None = None


class Verifier:
    """Starts and ends verifications. Safe to ask from any thread."""

    def __init__(self, registrations: Registrations, vault: Vault, environment: Environment) -> None:
        self._registrations, self._vault, self._environment = registrations, vault, environment
        self.policy_for, self._courier = environment.policy_for, environment.courier
        self._sends = CodeSends(vault, environment.code_policy_for)
        completion = Completion(
            registrations, vault, self.confirmed, policy_for=environment.policy_for, now=environment.now
        )
        self.complete = completion.complete

    def find(self, service: str, number: int) -> Finding:
        """Return what the newest index says of a number, as far as the service may know it; IndexNotReady."""
        index = self._environment.index()
        facts = index.facts(number)
        operator = facts.serving_operator
        agreed = operator is not None and self._environment.agreed(service, operator.operator_id)
        return Finding(facts, agreed, index.index_version)

    def needs_operator(self, finding: Finding, service: str, wanted: VerificationRequest) -> bool:
        """Return True if the operator itself is to be asked: the policy has that, and the operator's data says
        nothing."""
        policy = self.policy_for(service)
        if self._environment.enquirer is None or not (policy.live and finding.agreed):
            return False
        methods = policy.methods if wanted.method is None else (wanted.method,)
        if Method.OPERATOR not in methods or self._user_first(_before_operator(methods), wanted):
            return False
        now, version = self._environment.now(), finding.index_version
        return judge(finding.facts, policy, agreed=True, index_version=version, now=now)[0] is Judgement.NO_ANSWER

    def ask_operator(self, finding: Finding, number: int) -> Steps[Finding]:
        """Return the finding with what the operator itself says. It takes seconds."""
        enquirer, operator = self._environment.enquirer, finding.facts.serving_operator
        if enquirer is None or operator is None:
            return finding
        return finding._replace(live=(yield Alone(partial(enquirer.ask, operator, number))))

    # --- starting

    def attempt(
        self,
        work: RegistrationWork,
        registration: Registration,
        finding: Finding,
        wanted: VerificationRequest,
        now: datetime,
    ) -> Attempt:
        """Try the methods in their order until one has an answer or waits for the user.

        WrongState, MethodNotAllowed, TooManyCodes, or IndexBehind if the number was taken from its operator after the
        finding, with nothing written; what hinders a code is only told if it was not asked for on demand.
        """
        row, policy = registration.row, self.policy_for(registration.row.service)
        methods = policy.methods_for(wanted.method)
        judgement, evidence = judge(
            finding.facts, policy, agreed=finding.agreed, index_version=finding.index_version, now=now
        )
        if judgement is Judgement.NO_ANSWER and finding.live is not None:
            judgement, evidence = judge_live(finding.live, policy, evidence)
        decided = Method.OPERATOR in methods and judgement is not Judgement.NO_ANSWER
        if decided and (taken := work.withdrawn_since(registration.record.number, finding.index_version)):
            # What revokes registrations has passed by already, or would not know that this one rests on older data.
            raise IndexBehind(taken, finding.index_version)
        first = _before_operator(methods) if decided else methods
        if self._user_first(first, wanted):
            return self._try_wait(work, registration, self._first_possible(first, wanted), wanted, now)
        if wanted.on_demand:
            row = act(work, row, Act.START, microseconds(now), changes={}, method=Method.OPERATOR.value)
        return self._decide(work, row, judgement, evidence, now) if decided else Attempt(row)

    def _user_first(self, methods: Sequence[Method], wanted: VerificationRequest) -> bool:
        """Return True if the user has to act by one of these, even if no code can be sent that way: what is written
        behind a code does not take its place, or an operator's word alone would verify whoever types a stranger's
        number."""
        return any(method.channels for method in methods) or self._first_possible(methods, wanted) is not None

    def _first_possible(self, methods: Sequence[Method], wanted: VerificationRequest) -> Method | None:
        """Return the first method that can wait for the user."""
        return next((method for method in methods if self._possible(method, wanted)), None)

    def _possible(self, method: Method, wanted: VerificationRequest) -> bool:
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
        """Return the row of a registration whose number is confirmed: with the due time that its last refresh has
        earned."""
        due_us = microseconds(due_at(moment(row.refreshed_at_us), self.policy_for(row.service).refresh_after))
        return act_on(work, row, Act.CONFIRM, microseconds(now), evidence, due_at_us=due_us, **changes)

    def _try_wait(
        self,
        work: RegistrationWork,
        registration: Registration,
        method: Method | None,
        wanted: VerificationRequest,
        now: datetime,
    ) -> Attempt:
        """Begin a verification that waits for the user, unless it takes a code that may not, or cannot, be sent."""
        try:
            if method is None:
                raise MethodNotAllowed("this node cannot deliver codes that way")
            if method.channels:
                self._sends.check(work, _code_of(registration, wanted), now)
        except (MethodNotAllowed, TooManyCodes) as refusal:
            if wanted.on_demand:
                raise
            return Attempt(registration.row, problem=refusal.reason)
        return self._wait(work, registration, method, wanted, now)

    def _wait(
        self,
        work: RegistrationWork,
        registration: Registration,
        method: Method,
        wanted: VerificationRequest,
        now: datetime,
    ) -> Attempt:
        """Begin a verification that waits for the user; every other of the registration ends."""
        row, record = registration
        now_us, verification_id = microseconds(now), self._vault.new_id(microseconds(now))
        key = self._vault.newest
        secret = ""
        if method.code_digits:
            secret = codes.make_code(self._environment.random_below, method.code_digits)
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
            next_code_at_us = self._sends.record(work, _code_of(registration, wanted), verification_id, now)
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
        """Return the verification that gave a registration's last answer, or waits for it; None if none was tried.

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

    # --- sending

    def delivered(self, service: str, number: int, started: Outcome, *, strict: bool = False) -> Steps[Outcome]:
        """Send the code of what was started, now that it is counted; if that fails, say so, or raise when `strict`."""
        outcome = started._replace(code="", channel="")
        if not started.code or started.verification is None or self._courier is None:
            return outcome
        message_id = started.verification.verification_id.hex()
        send = partial(self._courier.send, number, started.code, channel=started.channel)
        try:
            yield Alone(partial(send, service=service, message_id=message_id))
        except DeliveryFailed as failure:
            if strict:
                raise
            return outcome._replace(problem=failure.reason)
        return outcome


def _before_operator(methods: Sequence[Method]) -> Sequence[Method]:
    return methods[: methods.index(Method.OPERATOR)]


def _code_of(registration: Registration, wanted: VerificationRequest) -> Code:
    row, record = registration
    return Code(row.service, record.user_id, record.number, wanted.network_address)
