"""Verifications: by the operator's data, by a code, by an act of the user, by an authority (I.3b, I.5, II.1 to II.3).

Invariants: one verification of a registration is live at a time (R8), and nobody ends another's: a number that a
stranger typed does not shut its holder out. A change of number is a verification of the new one: until that has
confirmed, the registration stands as it is, and then it moves in one transaction. Of the users who have proved that
they hold a number only the last are VERIFIED, as many as the service's policy lets hold it. A code is sent after the
transaction that counted it, never before.
steps.py has what comes next, completion.py what ends a verification that waits, sends.py the limits of codes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from numcheck.errors import DeliveryFailed, IndexBehind, MethodNotAllowed, NumcheckError, TooManyCodes
from numcheck.index import Index, NumberFacts
from numcheck.moments import microseconds, moment
from numcheck.registrations import codes
from numcheck.registrations.deciding import Decision, Move, Problem, decide
from numcheck.registrations.due import due_at
from numcheck.registrations.enquiry import Enquirer, LiveAnswer, judge_live
from numcheck.registrations.evidence import Evidence, to_json
from numcheck.registrations.judging import (
    check_registrable,
    check_test_number,
    judge,
    judge_answer,
    refusal_of,
    synthetic_answer,
)
from numcheck.registrations.policy import Alternative, Judgement, Method, Policy, text_of
from numcheck.registrations.record import NetworkAddress, NumberChange, Record
from numcheck.registrations.registration import (
    CodeToSend,
    Outcome,
    Registration,
    Verification,
    VerificationState,
    apply,
    apply_on_evidence,
    ended_of,
    evidence_of,
    proved_at_us,
    take_over,
)
from numcheck.registrations.sends import CodeSends, Permitted
from numcheck.registrations.states import EventKind, RegistrationState
from numcheck.registrations.vault import Vault
from numcheck.registrations.ways import ANY_WAY, Way
from numcheck.steps import Alone, Steps
from numcheck.store import CodeTags, RegistrationRow, Registrations, RegistrationWork, VerificationRow


class Courier(Protocol):
    """A part that hands a code over to somebody who brings it to a number."""

    channels: frozenset[str]

    def send(self, number: int, to_send: CodeToSend, *, service: str, message_id: str) -> str:
        """Hand it over, and return the channel that has taken it; DeliveryFailed if that cannot be done."""


class Finding(NamedTuple):
    """The word of the index about a number, from one version of it."""

    facts: NumberFacts
    agreed: bool
    index_version: int
    live: LiveAnswer | None = None
    """The word of the operator itself, where it was asked."""
    test_code: str = ""
    """The code of a test number, which stands in for all that would be sent and asked; empty for any other number."""

    def check_registrable(self) -> None:
        """Refuse a number that nobody can have: NumberNotMobile, NumberNotAllotted."""
        if not self.test_code:
            check_registrable(self.facts)


class Opening(NamedTuple):
    """How the first verification begins of every user of a service about whose number the operators' data says the
    same: with a refusal, or with a decision and the evidence of the answer."""

    refusal: NumcheckError | None
    decision: Decision
    evidence: Evidence
    asks_operator: bool
    """True if the operator itself is to be asked first."""


class VerificationRequest(NamedTuple):
    """How a caller wants a verification: for which network address, and which way a code is to go.

    `on_demand`: it is all that the caller asks for, not a part of something that is recorded anyway. `code` is the code
    that will be asked for, where that is known.
    """

    network_address: NetworkAddress
    way: Way = ANY_WAY
    on_demand: bool = False
    code: CodeTags | None = None


class Course(NamedTuple):
    """An attempt to verify, as far as it has come: the alternatives that are left, what the user has proved, and, once
    it has a verification, the first of these and the revision that it began at."""

    alternatives: tuple[Alternative, ...]
    given: tuple[Evidence, ...] = ()
    attempt_id: bytes = b""
    as_of_revision: int = 0
    fresh: bool = False
    """True if the last step was proved just now, so that no event tells it yet."""
    change: NumberChange | None = None
    """The change of number that it is for; None: it is about the number that the user has."""
    test_code: str = ""
    """The code of a test number, to which nothing is sent; empty for any other number."""
    permitted: Permitted | None = None
    """The code that is sent for its next step; None: none is."""

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

    def about(self, record: Record) -> Record:
        """Return the record with the number that the course is about."""
        return record if self.change is None else record.after(self.change)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of an attempt to verify a registration; the code is still to be sent, to `number`."""

    registration: Registration
    verification: Verification | None = None
    to_send: CodeToSend | None = None
    problem: str = ""
    number: int = 0

    @property
    def denied(self) -> bool:
        """True if the operator has denied the number."""
        return self.verification is not None and self.verification.state == VerificationState.DENIED

    @property
    def row(self) -> RegistrationRow:
        """The registration's row, which is not stored yet."""
        return self.registration.row

    def stored(self, row: RegistrationRow) -> Outcome:
        """Return the attempt as its caller is told, once the row is stored, with what is to be sent."""
        registration = self.registration._replace(row=row)
        return Outcome(registration, self.verification, self.problem, self.to_send, self.number)


@dataclass(frozen=True, slots=True)
class Environment:
    """The parts that verifications need from outside.

    `agreed(service, operator_id)` says whether there is an agreement (I.5); without a courier no code is sent, without
    an enquirer no operator is asked itself; `random_below(n)` gives a random number from 0 to n - 1; `test_codes` are
    the test numbers' own.
    """

    index: Callable[[], Index]
    policy_for: Callable[[str], Policy]
    agreed: Callable[[str, int], bool]
    courier: Courier | None
    code_policy_for: Callable[[str], codes.CodePolicy]
    now: Callable[[], datetime]
    random_below: Callable[[int], int]
    enquirer: Enquirer | None = None
    test_codes: Mapping[int, str] = field(default_factory=dict)


class Verifier:
    """Starts verifications, and goes on with them. Safe to ask from any thread."""

    def __init__(self, registrations: Registrations, vault: Vault, environment: Environment) -> None:
        self._registrations, self._vault, self._environment = registrations, vault, environment
        self.policy_for, self._courier = environment.policy_for, environment.courier
        self._sends = CodeSends(vault, environment.code_policy_for)
        self.now = environment.now

    def index(self) -> Index:
        """Return the newest index; IndexNotReady."""
        return self._environment.index()

    def check_ready(self) -> None:
        """Raise IndexNotReady if there is no index yet."""
        self._environment.index()

    def find(self, service: str, number: int) -> Finding:
        """Return what the newest index says of a number, as far as the service may know it; IndexNotReady,
        BadTestNumber."""
        index = self._environment.index()
        facts = index.facts(number)
        operator = facts.serving_operator
        agreed = operator is not None and self._environment.agreed(service, operator.operator_id)
        return Finding(facts, agreed, index.index_version, test_code=self._test_code(facts))

    def opening(self, service: str, answer: tuple[int, int], index: Index, way: Way, now: datetime) -> Opening:
        """Return how the verification begins of each user of a number about which the index gives this answer, its
        status and operator. Not for test numbers."""
        policy, course = self.policy_for(service), self.course(service)
        agreed = partial(self._environment.agreed, service)
        facts, judgement, evidence = judge_answer(answer, index, policy, agreed=agreed, now=now)
        can_begin = self._can_begin_untested(policy, way)
        asks_operator = (
            self._environment.enquirer is not None
            and policy.live
            and judgement is Judgement.NO_ANSWER
            and evidence.operator_id > 0
            and agreed(evidence.operator_id)
            and _operator_decides(course, can_begin)
        )
        decision = decide(course.alternatives, course.proved, judgement, can_begin=can_begin)
        return Opening(refusal_of(facts), decision, evidence, asks_operator)

    def is_test_number(self, number: int) -> bool:
        """Return True if the settings say that it is one, whatever the plan says."""
        return number in self._environment.test_codes

    def _test_code(self, facts: NumberFacts) -> str:
        """Return the code of a test number, empty for any other; BadTestNumber if anybody may have it."""
        code = self._environment.test_codes.get(facts.number, "")
        if code:
            check_test_number(facts)
        return code

    def needs_operator(self, finding: Finding, service: str, course: Course, way: Way = ANY_WAY) -> bool:
        """Return True if the operator itself is to be asked: the policy has that, the operator's data says nothing, and
        its answer decides."""
        policy = self.policy_for(service)
        if self._environment.enquirer is None or not (policy.live and finding.agreed):
            return False
        if self._judged(service, finding, self._environment.now())[0] is not Judgement.NO_ANSWER:
            return False
        return _operator_decides(course, self._can_begin(finding, policy, way))

    def ask_operator(self, finding: Finding, service: str, number: int) -> Steps[Finding]:
        """Return the finding with what the operator itself says. It takes seconds."""
        enquirer, operator = self._environment.enquirer, finding.facts.serving_operator
        if enquirer is None or operator is None:
            return finding
        return finding._replace(live=(yield Alone(partial(enquirer.ask, service, operator, number))))

    def with_live_answer(
        self, finding: Finding, service: str, number: int, course: Course, way: Way = ANY_WAY
    ) -> Steps[Finding]:
        """Return the finding, with what the operator itself says if that is to be asked."""
        if self.needs_operator(finding, service, course, way):
            return (yield from self.ask_operator(finding, service, number))
        return finding

    def first_step(self, service: str, course: Course, finding: Finding, way: Way, now: datetime) -> Method | None:
        """Return the step that the user will be asked for when a course begins; None if for none."""
        can_begin = self._can_begin(finding, self.policy_for(service), way)
        judgement, _ = self._judged(service, finding, now)
        step = decide(course.alternatives, course.proved, judgement, can_begin=can_begin).step
        return None if finding.test_code else step

    def code_ahead(
        self, service: str, record: Record, step: Method | None, wanted: VerificationRequest, now: datetime
    ) -> VerificationRequest:
        """Return what is wanted with the code that a step begins with, so that what limits it can be read ahead."""
        if step is None or not step.code_digits:
            return wanted
        return wanted._replace(code=self._sends.tags(service, record, wanted.network_address, now))

    # --- starting and going on

    def course(self, service: str, wanted: Method | None = None, change: NumberChange | None = None) -> Course:
        """Return the course of an attempt that begins: by the policy, or by a step of it. MethodNotAllowed."""
        return Course(self.policy_for(service).alternatives_for(wanted), change=change)

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
        service = registration.row.service
        judgement, answer = self._judged(service, finding, now)
        can_begin = self._can_begin(finding, self.policy_for(service), wanted.way)
        decision = decide(course.alternatives, course.proved, judgement, can_begin=can_begin)
        if decision.move is Move.WAIT and decision.step is not None:
            registration = self._with_proof(work, registration, course, now)
            course = course.at(decision.left)._replace(test_code=finding.test_code)
            return self._try_wait(work, registration, course, decision.step, wanted, now)
        number = course.about(registration.record).number
        if decision.by_operator and (taken := work.withdrawn_since(number, finding.index_version)):
            # What revokes registrations has passed by already, or would not know that this one rests on older data.
            raise IndexBehind(taken, finding.index_version)
        if wanted.on_demand:
            registration = self._on_demand(work, registration, course, decision, now)
        if decision.move is Move.STOP:
            return self.unanswered(work, registration, course, now, decision.problem)
        evidence = (*course.given, answer) if decision.by_operator else course.given
        decided = self._decided if course.change is None else self._change_decided
        return decided(work, registration, decision.move, evidence, course, now)

    @staticmethod
    def _on_demand(
        work: RegistrationWork, registration: Registration, course: Course, decision: Decision, now: datetime
    ) -> Registration:
        """Return the registration once an attempt that waits for nobody has begun. MethodNotAllowed."""
        if decision.problem == Problem.METHOD_NOT_ALLOWED:
            raise MethodNotAllowed("this node cannot deliver codes that way")
        if course.change is not None:
            return registration
        row = apply(
            work, registration.row, EventKind.START, microseconds(now), changes={}, method=Method.OPERATOR.value
        )
        return registration._replace(row=row)

    def unanswered(
        self, work: RegistrationWork, registration: Registration, course: Course, now: datetime, problem: str = ""
    ) -> Attempt:
        """Return what becomes of a registration when there is no answer now: nothing but that a step was proved."""
        return Attempt(self._with_proof(work, registration, course, now), problem=problem)

    @staticmethod
    def _with_proof(work: RegistrationWork, registration: Registration, course: Course, now: datetime) -> Registration:
        """Return the registration, once the event of the step that was proved just now, if one was, is appended."""
        if not course.fresh:
            return registration
        fields = [one.fields() for one in course.given]
        row = apply(work, registration.row, EventKind.PROVE, microseconds(now), changes={}, evidence=fields)
        return registration._replace(row=row)

    def _judged(self, service: str, finding: Finding, now: datetime) -> tuple[Judgement, Evidence]:
        policy = self.policy_for(service)
        version = finding.index_version
        if finding.test_code:
            return Judgement.CONFIRMED, synthetic_answer(version, now)
        judgement, evidence = judge(finding.facts, policy, agreed=finding.agreed, index_version=version, now=now)
        if judgement is Judgement.NO_ANSWER and finding.live is not None:
            return judge_live(finding.live, policy, evidence)
        return judgement, evidence

    def _can_begin(self, finding: Finding, policy: Policy, way: Way) -> Callable[[Method], bool]:
        """Return what tells whether a user can be asked for a step: there is a courier for its code, if it has one that
        is sent."""
        return (lambda _step: True) if finding.test_code else self._can_begin_untested(policy, way)

    def _can_begin_untested(self, policy: Policy, way: Way) -> Callable[[Method], bool]:
        deliverable = frozenset[str]() if self._courier is None else self._courier.channels
        usual = policy.code_channels
        return lambda step: not step.code_digits or not deliverable.isdisjoint(step.channels_for(way.channel, usual))

    def _decided(
        self,
        work: RegistrationWork,
        registration: Registration,
        move: Move,
        evidence: Sequence[Evidence],
        course: Course,
        now: datetime,
    ) -> Attempt:
        row = self._with_none_waiting(work, registration.row, course)
        as_of = course.as_of_revision if course.given else work.revision
        if move is Move.CONFIRM:
            self._take_over(work, row, registration.record.number, course, now)
            row = self.confirmed(work, row, evidence, now, as_of_revision=as_of)
            state = VerificationState.CONFIRMED
        else:
            row = apply_on_evidence(work, row, EventKind.DENY, microseconds(now), evidence)
            state = VerificationState.DENIED
        return Attempt(registration._replace(row=row), Verification(b"", Method.OPERATOR, state))

    @staticmethod
    def _with_none_waiting(work: RegistrationWork, row: RegistrationRow, course: Course) -> RegistrationRow:
        """Return the row, once whatever waits for its user is over if the operator alone has decided."""
        if course.given or row.verification_id is None:
            return row
        work.verifications.end_of({row.registration_id: work.revision + 1}, VerificationState.ENDED)
        return row._replace(verification_id=None)

    def _change_decided(
        self,
        work: RegistrationWork,
        registration: Registration,
        move: Move,
        evidence: Sequence[Evidence],
        course: Course,
        now: datetime,
    ) -> Attempt:
        """Return what becomes of a registration whose user wants another number: it moves there, or stays."""
        row, record = registration
        if move is Move.DENY:
            fields = [one.fields() for one in evidence]
            row = apply(work, row, EventKind.DENY_CHANGE, microseconds(now), changes={}, evidence=fields)
            denied = Verification(b"", Method.OPERATOR, VerificationState.DENIED)
            return Attempt(registration._replace(row=row), denied, problem=Problem.NUMBER_DENIED)
        row, record = self._with_none_waiting(work, row, course), course.about(record)
        # A withdrawal of the new number would have ended its verification: there was none up to now.
        columns = {**self._vault.sealed(row.registration_id, row.service, record), "as_of_revision": work.revision}
        self._take_over(work, row, record.number, course, now)
        row = self.confirmed(work, row, evidence, now, what=EventKind.CHANGE, **columns)
        return Attempt(Registration(row, record), Verification(b"", Method.OPERATOR, VerificationState.CONFIRMED))

    def confirmed(
        self,
        work: RegistrationWork,
        row: RegistrationRow,
        evidence: Sequence[Evidence],
        now: datetime,
        *,
        what: EventKind = EventKind.CONFIRM,
        **changes: Any,
    ) -> RegistrationRow:
        """Return the row of a registration whose number is confirmed: with the due time that its last refresh has
        earned."""
        due_us = microseconds(due_at(moment(row.refreshed_at_us), self.policy_for(row.service).refresh_after))
        return apply_on_evidence(work, row, what, microseconds(now), evidence, due_at_us=due_us, **changes)

    def _take_over(
        self, work: RegistrationWork, row: RegistrationRow, number: int, course: Course, now: datetime
    ) -> None:
        """End who was VERIFIED on a number before, if the user of the row has proved just now that they hold it."""
        if not any(step.shows_use for step in course.proved):
            return
        holders = work.verified_on(row.service, self._vault.number_tags(number))
        others = [one for one in holders if one.registration_id != row.registration_id]
        for one in ended_of(others, self.policy_for(row.service).users_per_number_max - 1, proved_at_us):
            take_over(work, one, microseconds(now))

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
            if method.code_digits and not course.test_code:
                row, record = registration
                code = wanted.code or self._sends.tags(row.service, course.about(record), wanted.network_address, now)
                permitted = self._sends.permitted(work, code, now, is_holder=_is_holder(registration, course))
                course = course._replace(permitted=permitted)
        except TooManyCodes as refusal:
            if wanted.on_demand:
                raise
            return Attempt(registration, problem=refusal.reason)
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
        if method.code_digits and course.test_code:
            secret = course.test_code[-method.code_digits :]
        elif method.code_digits:
            secret = codes.make_code(self._environment.random_below, method.code_digits)
        elif method is Method.INBOUND:
            secret = codes.word_of(key.word_digest(verification_id))
        number = course.about(record).number
        row = apply(
            work, row, EventKind.START if course.change is None else EventKind.ASK_CHANGE, now_us,
            changes={"verification_id": verification_id}, method=method.value, verification_id=verification_id.hex(),
        )  # fmt: skip
        if registration.row.verification_id is not None:  # else there is none
            work.verifications.end_of({row.registration_id: work.revision + 1}, VerificationState.ENDED)
        if course.permitted is not None:
            self._sends.record(work, course.permitted, verification_id, now)
        to_send = self._to_send(course, row.service, method, secret, wanted.way)
        verification = VerificationRow(
            verification_id=verification_id,
            registration_id=row.registration_id,
            service=row.service,
            number_tag=self._vault.number_tags(number)[0],
            key_id=key.key_id,
            method=method.value,
            state=VerificationState.WAITING,
            started_at_us=now_us,
            as_of_revision=work.revision,
            expires_at_us=microseconds(now + method.lifetime),
            next_code_at_us=0 if course.permitted is None else course.permitted.next_code_at_us,
            secret_mac=key.code_mac(verification_id, secret) if secret else b"",
            tries=0,
            attempt_id=course.attempt_id or verification_id,
            alternatives=text_of(course.alternatives),
            given=to_json(course.given),
            channel=self._first_channel(to_send),
            network_tag=self._vault.network_tags(wanted.network_address)[0],
            sealed_change=(
                None if course.change is None else self._vault.sealed_change(key.key_id, verification_id, course.change)
            ),
        )
        work.verifications.insert(verification)
        told = self.told(verification, now)
        return Attempt(registration._replace(row=row), told, to_send, number=0 if to_send is None else number)

    def _to_send(self, course: Course, service: str, method: Method, secret: str, way: Way) -> CodeToSend | None:
        if not method.code_digits or course.test_code:
            return None
        usual = self.policy_for(service).code_channels
        return CodeToSend(secret, method.channels_for(way.channel, usual), way.language)

    def _first_channel(self, to_send: CodeToSend | None) -> str:
        """Return the first channel that a courier has; empty if no code is sent."""
        if to_send is None or self._courier is None:
            return ""
        return next(one for one in to_send.channels if one in self._courier.channels)

    # --- telling again

    def current(self, work: RegistrationWork, row: RegistrationRow, now: datetime) -> Verification | None:
        """Return the verification that gave a registration's last answer, or waits for it; None if none was tried.

        Of one that waits for an inbound act also the word, which is made from its id: an answer that was lost on its
        way takes nothing from the user.
        """
        verification = None if row.verification_id is None else work.verifications.get(row.verification_id)
        if verification is not None:
            return self.told(verification, now)
        evidence = evidence_of(row)
        if not evidence:
            return None
        denied = evidence[-1].method is Method.OPERATOR and not evidence[-1].says_active
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

    def delivered(self, started: Outcome, *, strict: bool = False) -> Steps[Outcome]:
        """Send the code of what was started, now that it is counted; if that fails, say so, or raise when `strict`."""
        if started.to_send is None:
            return started
        outcome, verification = started._replace(to_send=None, number=0), started.verification
        if verification is None or self._courier is None:
            return outcome
        message_id, service = verification.verification_id.hex(), started.registration.row.service
        send = partial(self._courier.send, started.number, started.to_send, service=service, message_id=message_id)
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
    row = work.verifications.get(verification_id)
    if row is not None:
        work.verifications.change(row._replace(channel=channel))


def _operator_decides(course: Course, can_begin: Callable[[Method], bool]) -> bool:
    """Return True if an operator's yes would be all that is missing."""
    return decide(course.alternatives, course.proved, Judgement.CONFIRMED, can_begin=can_begin).by_operator


def _is_holder(registration: Registration, course: Course) -> bool:
    """Return True if the user has proved that the number is theirs that a course is about."""
    is_verified = registration.state is RegistrationState.VERIFIED
    return course.change is None and is_verified and proved_at_us(registration.row) > 0
