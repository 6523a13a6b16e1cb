"""Verifications: by the operator's data, by a code, by an act of the user, by an authority (I.3b, I.5, II.1 to II.3).

Invariants: one verification of a registration is live at a time (R8), and nobody ends another's: a number that a
stranger typed does not shut its holder out. A code is sent after the transaction that counted it, never before.
steps.py has what comes next, completion.py what ends a verification that waits, sends.py the limits of codes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from numcheck.errors import DeliveryFailed, IndexBehind, MethodNotAllowed, TooManyCodes
from numcheck.index import Index, NumberFacts
from numcheck.moments import microseconds, moment
from numcheck.registrations import codes
from numcheck.registrations.deciding import Move, Problem, decide
from numcheck.registrations.due import due_at
from numcheck.registrations.enquiry import Enquirer, LiveAnswer, judge_live
from numcheck.registrations.evidence import Evidence, to_json
from numcheck.registrations.judging import judge
from numcheck.registrations.policy import Alternative, Judgement, Method, Policy, text_of
from numcheck.registrations.record import NetworkAddress, Record
from numcheck.registrations.registration import (
    CodeToSend,
    Outcome,
    Registration,
    Verification,
    VerificationState,
    act,
    act_on,
    evidence_of,
)
from numcheck.registrations.sends import Code, CodeSends
from numcheck.registrations.states import Act
from numcheck.registrations.vault import Vault
from numcheck.registrations.ways import ANY_WAY, Way
from numcheck.steps import Alone, Steps
from numcheck.store import RegistrationRow, Registrations, RegistrationWork, VerificationRow


class Courier(Protocol):
    """What hands a code over to somebody who brings it to a number."""

    channels: frozenset[str]

    def send(self, number: int, to_send: CodeToSend, *, service: str, message_id: str) -> str:
        """Hand it over, and return the channel that has taken it; DeliveryFailed if that cannot be done."""


class Finding(NamedTuple):
    """What the index says of a number, from one version of it."""

    facts: NumberFacts
    agreed: bool
    index_version: int
    live: LiveAnswer | None = None
    """What the operator itself said, where it was asked."""


class VerificationRequest(NamedTuple):
    """How a caller wants a verification: for which network address, and which way a code is to go.

    `on_demand`: it is all that the caller asks for, not a part of something that is recorded anyway.
    """

    network_address: NetworkAddress
    way: Way = ANY_WAY
    on_demand: bool = False


class Course(NamedTuple):
    """An attempt to verify, as far as it has come: the alternatives that are left, what the user has proved, and, once
    it has a verification, the first of these and the revision that it began at."""

    alternatives: tuple[Alternative, ...]
    given: tuple[Evidence, ...] = ()
    attempt_id: bytes = b""
    as_of_revision: int = 0
    fresh: bool = False
    """True if the last step was proved just now, so that no event tells it yet."""

    @property
    def proved(self) -> frozenset[Method]:
        """The steps that the user has proved."""
        return frozenset(one.method for one in self.given)

    def after(self, evidence: Evidence) -> "Course":
        """Return the course with one step more that the user has proved."""
        return self._replace(given=(*self.given, evidence))

    def at(self, alternatives: tuple[Alternative, ...]) -> "Course":
        """Return the course with these alternatives left."""
        return self._replace(alternatives=alternatives)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt to verify made of a registration's row; the code is still to be sent."""

    row: RegistrationRow
    verification: Verification | None = None
    to_send: CodeToSend | None = None
    problem: str = ""

    @property
    def denied(self) -> bool:
        """True if the operator has denied the number."""
        return self.verification is not None and self.verification.state == VerificationState.DENIED

    def outcome(self, record: Record) -> Outcome:
        """Return the attempt as its caller is told, with what is to be sent."""
        return Outcome(Registration(self.row, record), self.verification, self.problem, self.to_send)


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
    """Starts verifications, and goes on with them. Safe to ask from any thread."""

    def __init__(self, registrations: Registrations, vault: Vault, environment: Environment) -> None:
        self._registrations, self._vault, self._environment = registrations, vault, environment
        self.policy_for, self._courier = environment.policy_for, environment.courier
        self._sends = CodeSends(vault, environment.code_policy_for)
        self.now = environment.now

    def check_ready(self) -> None:
        """Raise IndexNotReady if there is no index yet."""
        self._environment.index()

    def find(self, service: str, number: int) -> Finding:
        """Return what the newest index says of a number, as far as the service may know it; IndexNotReady."""
        index = self._environment.index()
        facts = index.facts(number)
        operator = facts.serving_operator
        agreed = operator is not None and self._environment.agreed(service, operator.operator_id)
        return Finding(facts, agreed, index.index_version)

    def needs_operator(self, finding: Finding, service: str, course: Course, way: Way = ANY_WAY) -> bool:
        """Return True if the operator itself is to be asked: the policy has that, the operator's data says nothing, and
        its answer decides."""
        policy = self.policy_for(service)
        if self._environment.enquirer is None or not (policy.live and finding.agreed):
            return False
        if self._judged(service, finding, self._environment.now())[0] is not Judgement.NO_ANSWER:
            return False
        can_begin = self._can_begin(policy, way)
        decision = decide(course.alternatives, course.proved, Judgement.CONFIRMED, can_begin=can_begin)
        return decision.by_operator

    def ask_operator(self, finding: Finding, number: int) -> Steps[Finding]:
        """Return the finding with what the operator itself says. It takes seconds."""
        enquirer, operator = self._environment.enquirer, finding.facts.serving_operator
        if enquirer is None or operator is None:
            return finding
        return finding._replace(live=(yield Alone(partial(enquirer.ask, operator, number))))

    def with_live_answer(
        self, finding: Finding, service: str, number: int, course: Course, way: Way = ANY_WAY
    ) -> Steps[Finding]:
        """Return the finding, with what the operator itself says if that is to be asked."""
        if self.needs_operator(finding, service, course, way):
            return (yield from self.ask_operator(finding, number))
        return finding

    # --- starting and going on

    def course(self, service: str, wanted: Method | None = None) -> Course:
        """Return the course of an attempt that begins: by the policy, or by a step of it. MethodNotAllowed."""
        return Course(self.policy_for(service).alternatives_for(wanted))

    def attempt(
        self,
        work: RegistrationWork,
        registration: Registration,
        course: Course,
        finding: Finding,
        wanted: VerificationRequest,
        now: datetime,
    ) -> Attempt:
        """Go on with a course, as far as that can be done now: until there is an answer, or the user is waited for.

        WrongState, MethodNotAllowed, TooManyCodes, or IndexBehind if the number was taken from its operator after the
        finding, with nothing written; what hinders a code is only told if it was not asked for on demand.
        """
        row = registration.row
        judgement, answer = self._judged(row.service, finding, now)
        can_begin = self._can_begin(self.policy_for(row.service), wanted.way)
        decision = decide(course.alternatives, course.proved, judgement, can_begin=can_begin)
        if decision.move is Move.WAIT and decision.step is not None:
            registration = registration._replace(row=self._with_proof(work, row, course, now))
            return self._try_wait(work, registration, course.at(decision.left), decision.step, wanted, now)
        if decision.by_operator and (taken := work.withdrawn_since(registration.record.number, finding.index_version)):
            # What revokes registrations has passed by already, or would not know that this one rests on older data.
            raise IndexBehind(taken, finding.index_version)
        if wanted.on_demand:
            if decision.problem == Problem.METHOD_NOT_ALLOWED:
                raise MethodNotAllowed("this node cannot deliver codes that way")
            row = act(work, row, Act.START, microseconds(now), changes={}, method=Method.OPERATOR.value)
        if decision.move is Move.STOP:
            return self.unanswered(work, row, course, now, decision.problem)
        evidence = (*course.given, answer) if decision.by_operator else course.given
        return self._decided(work, row, decision.move, evidence, course, now)

    def unanswered(
        self, work: RegistrationWork, row: RegistrationRow, course: Course, now: datetime, problem: str = ""
    ) -> Attempt:
        """Return what becomes of a row when there is no answer now: nothing but that a step was proved."""
        return Attempt(self._with_proof(work, row, course, now), problem=problem)

    @staticmethod
    def _with_proof(work: RegistrationWork, row: RegistrationRow, course: Course, now: datetime) -> RegistrationRow:
        """Return the row, once the event of the step that was proved just now, if one was, is appended."""
        if not course.fresh:
            return row
        fields = [one.fields() for one in course.given]
        return act(work, row, Act.PROVE, microseconds(now), changes={}, evidence=fields)

    def _judged(self, service: str, finding: Finding, now: datetime) -> tuple[Judgement, Evidence]:
        policy = self.policy_for(service)
        version = finding.index_version
        judgement, evidence = judge(finding.facts, policy, agreed=finding.agreed, index_version=version, now=now)
        if judgement is Judgement.NO_ANSWER and finding.live is not None:
            return judge_live(finding.live, policy, evidence)
        return judgement, evidence

    def _can_begin(self, policy: Policy, way: Way) -> Callable[[Method], bool]:
        """Return what tells whether a user can be asked for a step: there is a courier for its code, if it has one."""
        deliverable = frozenset[str]() if self._courier is None else self._courier.channels
        usual = policy.code_channels
        return lambda step: not step.code_digits or not deliverable.isdisjoint(step.channels_for(way.channel, usual))

    def _decided(
        self,
        work: RegistrationWork,
        row: RegistrationRow,
        move: Move,
        evidence: Sequence[Evidence],
        course: Course,
        now: datetime,
    ) -> Attempt:
        if not course.given and row.verification_id is not None:
            # The operator alone has decided: what waits for the user is over.
            work.end_verifications_of({row.registration_id: work.revision + 1}, VerificationState.ENDED)
            row = row._replace(verification_id=None)
        as_of = course.as_of_revision if course.given else work.revision
        if move is Move.CONFIRM:
            row = self.confirmed(work, row, evidence, now, as_of_revision=as_of)
            state = VerificationState.CONFIRMED
        else:
            row = act_on(work, row, Act.DENY, microseconds(now), evidence)
            state = VerificationState.DENIED
        return Attempt(row, Verification(b"", Method.OPERATOR, state))

    def confirmed(
        self, work: RegistrationWork, row: RegistrationRow, evidence: Sequence[Evidence], now: datetime, **changes: Any
    ) -> RegistrationRow:
        """Return the row of a registration whose number is confirmed: with the due time that its last refresh has
        earned."""
        due_us = microseconds(due_at(moment(row.refreshed_at_us), self.policy_for(row.service).refresh_after))
        return act_on(work, row, Act.CONFIRM, microseconds(now), evidence, due_at_us=due_us, **changes)

    def _try_wait(
        self,
        work: RegistrationWork,
        registration: Registration,
        course: Course,
        method: Method,
        wanted: VerificationRequest,
        now: datetime,
    ) -> Attempt:
        """Begin a verification that waits for the user, unless it takes a code that may not be sent."""
        try:
            if method.code_digits:
                self._sends.check(work, _code_of(registration, wanted), now)
        except TooManyCodes as refusal:
            if wanted.on_demand:
                raise
            return Attempt(registration.row, problem=refusal.reason)
        return self._wait(work, registration, course, method, wanted, now)

    def _wait(
        self,
        work: RegistrationWork,
        registration: Registration,
        course: Course,
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
        if method.code_digits:
            next_code_at_us = self._sends.record(work, _code_of(registration, wanted), verification_id, now)
        to_send = self._to_send(row.service, method, secret, wanted.way)
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
            attempt_id=course.attempt_id or verification_id,
            alternatives=text_of(course.alternatives),
            given=to_json(course.given),
            channel=self._first_channel(to_send),
        )
        work.insert_verification(verification)
        return Attempt(row, self.told(verification, now), to_send)

    def _to_send(self, service: str, method: Method, secret: str, way: Way) -> CodeToSend | None:
        if not method.code_digits:
            return None
        usual = self.policy_for(service).code_channels
        return CodeToSend(secret, method.channels_for(way.channel, usual), way.language)

    def _first_channel(self, to_send: CodeToSend | None) -> str:
        """Return the first channel that a courier has; empty if there is no code."""
        if to_send is None or self._courier is None:
            return ""
        return next(one for one in to_send.channels if one in self._courier.channels)

    # --- telling again

    def current(self, work: RegistrationWork, row: RegistrationRow, now: datetime) -> Verification | None:
        """Return the verification that gave a registration's last answer, or waits for it; None if none was tried.

        Of one that waits for an inbound act also the word, which is made from its id: an answer that was lost on its
        way takes nothing from the user.
        """
        verification = None if row.verification_id is None else work.verification(row.verification_id)
        if verification is not None:
            return self.told(verification, now)
        evidence = evidence_of(row)
        if not evidence:
            return None
        denied = evidence[-1].method is Method.OPERATOR and evidence[-1].confirmed_by is None
        state = VerificationState.DENIED if denied else VerificationState.CONFIRMED
        return Verification(b"", evidence[-1].method, state)

    def told(self, row: VerificationRow, now: datetime) -> Verification:
        """Return a verification as its service sees it."""
        waits, over = row.state == VerificationState.WAITING, row.expires_at_us <= microseconds(now)
        key = self._vault.try_key(row.key_id)
        word = ""
        if waits and not over and row.method == Method.INBOUND and key is not None:
            word = codes.word_of(key.word_digest(row.verification_id))
        state = VerificationState.ENDED if waits and over else row.state
        return Verification(
            row.verification_id, Method(row.method), state, row.expires_at_us, row.next_code_at_us, word, row.channel
        )

    # --- sending

    def delivered(self, service: str, number: int, started: Outcome, *, strict: bool = False) -> Steps[Outcome]:
        """Send the code of what was started, now that it is counted; if that fails, say so, or raise when `strict`."""
        outcome, verification = started._replace(to_send=None), started.verification
        if started.to_send is None or verification is None or self._courier is None:
            return outcome
        message_id = verification.verification_id.hex()
        send = partial(self._courier.send, number, started.to_send, service=service, message_id=message_id)
        try:
            channel: str = yield Alone(send)
        except DeliveryFailed as failure:
            if strict:
                raise
            return outcome._replace(problem=failure.reason)
        if channel == verification.channel:
            return outcome
        yield self._registrations.writing(partial(_note_channel, verification.verification_id, channel))
        return outcome._replace(verification=replace(verification, channel=channel))


def _note_channel(verification_id: bytes, channel: str, work: RegistrationWork) -> None:
    """Write down that a code has gone over another channel than the first."""
    row = work.verification(verification_id)
    if row is not None:
        work.change_verification(row._replace(channel=channel))


def _code_of(registration: Registration, wanted: VerificationRequest) -> Code:
    row, record = registration
    return Code(row.service, record.user_id, record.number, wanted.network_address)
