"""E.1: policies of several steps, and what they come to, whatever the operator says and the user does."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from numcheck.active import Operator
from numcheck.config import Settings
from numcheck.errors import MethodNotAllowed, ProofNotAccepted
from numcheck.index import Index, NumberFacts
from numcheck.registrations.policy import Method
from numcheck.registrations.proofs import AttestedProof, CodeProof, InboundProof, Proof
from numcheck.registrations.registration import Outcome, VerificationState
from numcheck.registrations.states import RegistrationState as State
from numcheck.status import NumberStatus
from tests.registrations.by_code import complete, last_code, start
from tests.registrations.test_live_question import POLICY, Said, saying
from tests.registrations.world import ADDRESS, SERVICE, Courier, World, small

DEFAULT = Settings().verification_methods


def methods_of(outcome: Outcome) -> list[Method]:
    return [one.method for one in outcome.registration.evidence]


@pytest.fixture
def world(data_dir: Path) -> Iterator[World]:
    one = World(data_dir, methods=DEFAULT)
    yield one
    one.close()


@pytest.fixture
def each_world(data_dir: Path, url: str | None) -> Iterator[World]:
    one = World(data_dir, url=url, methods=DEFAULT)
    yield one
    one.close()


def proved(world: World, outcome: Outcome) -> Outcome:
    """Return the outcome of the right code."""
    assert outcome.verification is not None
    return world.completion.complete(SERVICE, outcome.verification.verification_id, CodeProof(last_code(world)))


# --- the default


def test_a_user_is_verified_by_a_code_and_the_operator_together(each_world: World) -> None:
    """E.1: neither alone; the evidence has an entry of each, and so has the event."""
    world = each_world
    started = world.register(small.ACTIVE)
    assert started.registration.state is State.PENDING
    assert started.registration.evidence == ()
    world.pass_time(seconds=5)
    done = proved(world, started)
    assert (done.registration.state, methods_of(done)) == (State.VERIFIED, [Method.CODE, Method.OPERATOR])
    by_code, by_operator = done.registration.evidence
    assert by_operator.answer == NumberStatus.ACTIVE
    assert by_code.verified_at_us == by_operator.verified_at_us
    assert world.registrar.get(SERVICE, "u1") == done.registration
    assert world.kinds() == ["registered", "started", "confirmed"]
    details = world.store.events().of_service(SERVICE, 0)[-1].details
    assert details.index('"method":"code"') < details.index('"method":"operator"')


def test_no_code_is_sent_where_the_operator_says_no(world: World) -> None:
    """E.2: the user is REJECTED at once."""
    outcome = world.register(small.INACTIVE)
    assert (outcome.registration.state, methods_of(outcome)) == (State.REJECTED, [Method.OPERATOR])
    assert isinstance(world.courier, Courier)
    assert world.courier.sent == []


def test_a_code_alone_verifies_where_the_operator_says_nothing(world: World) -> None:
    """The second alternative is met by the proof that was given for the first."""
    done = proved(world, world.register(small.UNKNOWN))
    assert (done.registration.state, methods_of(done)) == (State.VERIFIED, [Method.CODE])


def test_an_operator_that_says_no_once_the_code_is_back_rejects(data_dir: Path) -> None:
    """E.2: its answer is looked for again when the user has proved the number; the right code stays right."""
    said = Said(saying(False))
    world = World(data_dir, methods=DEFAULT, policy=POLICY, enquirer=said)
    started = world.register(small.UNKNOWN)
    assert (started.registration.state, said.asked) == (State.PENDING, [])
    done = proved(world, started)
    assert (done.registration.state, methods_of(done)) == (State.REJECTED, [Method.CODE, Method.OPERATOR])
    assert done.verification is not None
    assert done.verification.state == VerificationState.DENIED
    assert proved(world, started) == done
    assert said.asked == [small.UNKNOWN]
    assert world.kinds() == ["registered", "started", "denied"]
    world.close()


def test_a_live_yes_completes_what_a_code_began(data_dir: Path) -> None:
    said = Said(saying(True))
    world = World(data_dir, methods=DEFAULT, policy=POLICY, enquirer=said)
    done = proved(world, world.register(small.UNKNOWN))
    assert (done.registration.state, said.asked) == (State.VERIFIED, [small.UNKNOWN])
    assert [one.live for one in done.registration.evidence] == [False, True]
    world.close()


def test_a_wrong_code_asks_no_operator(data_dir: Path) -> None:
    said = Said(saying(True))
    world = World(data_dir, methods=DEFAULT, policy=POLICY, enquirer=said)
    assert not complete(world, world.register(small.UNKNOWN), f"{(int(last_code(world)) + 1) % 10**6:06}")
    assert said.asked == []
    world.close()


# --- an operator that says nothing, and no alternative without it


def test_a_strict_policy_leaves_a_user_pending_and_says_why(data_dir: Path) -> None:
    """The same code, given again once the operator answers, verifies; after its time it does not."""
    said = Said(None)
    world = World(data_dir, methods="code+operator", policy=POLICY, enquirer=said)
    started = world.register(small.UNKNOWN)
    done = proved(world, started)
    assert (done.registration.state, done.problem, methods_of(done)) == (State.PENDING, "OPERATOR_SILENT", [])
    assert world.kinds() == ["registered", "started", "proved"]
    assert proved(world, started) == done
    assert said.asked == [small.UNKNOWN] * 2
    world.pass_time(seconds=300)
    said.answer = saying(True)
    assert proved(world, started).registration.state is State.PENDING
    world.pass_time(seconds=-1)
    done = proved(world, started)
    assert (done.registration.state, methods_of(done)) == (State.VERIFIED, [Method.CODE, Method.OPERATOR])
    assert world.kinds() == ["registered", "started", "proved", "confirmed"]
    world.close()


@pytest.mark.parametrize(
    ("methods", "problem"),
    [("operator", "OPERATOR_SILENT"), ("attested", "ATTESTATION_NEEDED"), ("operator,attested", "OPERATOR_SILENT")],
)
def test_an_answer_with_nothing_to_wait_for_says_why(data_dir: Path, methods: str, problem: str) -> None:
    """Of a registration, of a verification that is asked for, and of a refresh a year later."""
    world = World(data_dir, methods=methods, courier=None)
    outcomes = [world.register(small.UNKNOWN), start(world)]
    world.pass_time(days=364)
    outcomes.append(world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"}))
    for outcome in outcomes:
        told = outcome.registration.state, outcome.verification, outcome.problem
        assert told == (State.PENDING, None, problem)
    world.close()


def test_data_too_old_and_no_courier_is_told(data_dir: Path) -> None:
    """A refresh a year later, where the operator's data is a year old as well and no code can be sent."""
    world = World(data_dir, methods="operator,code", courier=None)
    assert world.register(small.ACTIVE).registration.state is State.VERIFIED
    world.pass_time(days=364)
    outcome = world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"})
    assert (outcome.verification, outcome.problem) == (None, "METHOD_NOT_ALLOWED")
    world.close()


def test_a_step_that_is_asked_for_takes_the_alternatives_that_have_it(data_dir: Path) -> None:
    """`operator` does not verify by itself where the policy has it with a code only."""
    world = World(data_dir, methods="inbound+operator,code+operator")
    world.register(small.ACTIVE)
    outcome = start(world, method=Method.OPERATOR)
    assert outcome.verification is not None
    assert outcome.verification.method is Method.INBOUND
    outcome = start(world, method=Method.CODE)
    done = proved(world, outcome)
    assert (done.registration.state, methods_of(done)) == (State.VERIFIED, [Method.CODE, Method.OPERATOR])
    with pytest.raises(MethodNotAllowed):
        start(world, method=Method.ATTESTED)
    world.close()


# --- several steps of the user


def test_a_proof_of_a_step_is_right_again_when_the_next_one_waits(each_world: World) -> None:
    """R8: it gets the registration as it is now and the verification that waits; nothing is sent or counted."""
    world = each_world
    world.methods = "code+inbound"
    started = world.register(small.UNKNOWN)
    first = proved(world, started)
    assert first.registration.state is State.PENDING
    assert first.verification is not None
    assert first.verification.method is Method.INBOUND
    assert proved(world, started) == first
    word = InboundProof(small.UNKNOWN, first.verification.word, world.now)
    done = world.completion.complete(SERVICE, first.verification.verification_id, word)
    assert (done.registration.state, methods_of(done)) == (State.VERIFIED, [Method.CODE, Method.INBOUND])
    assert proved(world, started) == done
    assert world.kinds() == ["registered", "started", "proved", "started", "confirmed"]


def test_a_code_that_comes_second_is_sent_and_bounded_like_any(data_dir: Path) -> None:
    """A limit that hinders it is told; the same proof, given again when it may be sent, sends it."""
    world = World(data_dir, methods="inbound+code")
    started = world.register(small.UNKNOWN)
    assert started.verification is not None
    world.methods = "code"
    world.register(small.UNKNOWN, "other")
    assert isinstance(world.courier, Courier)
    world.courier.sent.clear()
    proof = InboundProof(small.UNKNOWN, started.verification.word, world.now)
    hindered = world.completion.complete(SERVICE, started.verification.verification_id, proof)
    assert (hindered.registration.state, hindered.problem) == (State.PENDING, "TOO_MANY_CODES")
    world.pass_time(seconds=60)
    assert world.courier.sent == []
    sent = world.completion.complete(SERVICE, started.verification.verification_id, proof)
    assert len(world.courier.sent) == 1
    done = proved(world, sent)
    assert (done.registration.state, methods_of(done)) == (State.VERIFIED, [Method.INBOUND, Method.CODE])
    world.close()


# --- again, in bulk


def test_bulk_verification_renews_the_operators_entry_and_keeps_what_the_user_proved(each_world: World) -> None:
    """E.1, I.6: also by a confirmation of many; and a refresh that waits has its due time by it, without a code."""
    world = each_world
    before = proved(world, world.register(small.ACTIVE)).registration
    world.pass_time(days=1)
    list(world.reverifier.run(SERVICE, due_before=None, place=b""))
    after = world.registrar.get(SERVICE, "u1")
    assert after.evidence[0] == before.evidence[0]
    assert after.evidence[1].verified_at_us - before.evidence[1].verified_at_us == 86_400_000_000
    world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"})
    list(world.reverifier.run(SERVICE, due_before=None, place=b""))
    refreshed = world.registrar.get(SERVICE, "u1")
    assert refreshed.row.due_at_us - before.row.due_at_us == 86_400_000_000
    assert [one.method for one in refreshed.evidence] == [Method.CODE, Method.OPERATOR]


def test_bulk_verification_confirms_no_refresh_that_the_policy_wants_another_proof_for(data_dir: Path) -> None:
    """The operator's entry is there, and the old due time stays."""
    world = World(data_dir, methods="code")
    before = proved(world, world.register(small.ACTIVE)).registration
    world.pass_time(days=1)
    world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"})
    world.methods = "inbound+operator"
    list(world.reverifier.run(SERVICE, due_before=None, place=b""))
    after = world.registrar.get(SERVICE, "u1")
    assert after.row.due_at_us == before.row.due_at_us
    assert (after.state, [one.method for one in after.evidence]) == (State.VERIFIED, [Method.CODE, Method.OPERATOR])
    world.close()


# --- any policy, against an oracle

USER_STEPS = ("code", "inbound", "attested")
STEPS = st.lists(st.sampled_from(("operator", *USER_STEPS)), min_size=1, max_size=3, unique=True)
ALTERNATIVES = st.lists(STEPS, min_size=1, max_size=3, unique_by=frozenset)
SAYS = {"yes": small.ACTIVE, "no": small.INACTIVE, "nothing": small.UNKNOWN}
SAID = st.sampled_from(sorted(SAYS))
LIFETIMES = {"code": timedelta(seconds=300), "inbound": timedelta(minutes=20), "attested": timedelta(minutes=20)}


@dataclass
class Words:
    """An index in which the number of the user is what the operator says of it."""

    index: Index
    says: str

    def facts(self, _number: int) -> NumberFacts:
        return self.index.facts(SAYS[self.says])

    def answer(self, _number: int) -> tuple[int, int]:
        return self.index.answer(SAYS[self.says])

    @property
    def operators(self) -> Mapping[int, Operator]:
        return self.index.operators

    @property
    def index_version(self) -> int:
        return self.index.index_version


class Policies(RuleBasedStateMachine):
    """A user, a policy, an operator that changes its mind, and others who come to hold the user's numbers. The oracle
    reads the policy's words by itself."""

    data_dir: Path

    @initialize(alternatives=ALTERNATIVES, says=SAID)
    def register(self, alternatives: list[list[str]], says: str) -> None:
        self.directory = Path(tempfile.mkdtemp()) / "var"
        shutil.copytree(self.data_dir, self.directory)
        self.policy, self.says = alternatives, says
        self.world = World(
            self.directory,
            methods=",".join("+".join(steps) for steps in alternatives),
            policy={"data_age_max": None, "authorities": frozenset({"esia"})},
        )
        self.world.index = self.words = Words(self.world.index, says)  # type: ignore[assignment]
        self.state, self.evidence = State.PENDING, []
        self.number, self.others, self.assertions = small.UNKNOWN, 0, 0
        self.begin(None)
        self.hold(self.world.register(small.UNKNOWN))

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.directory.parent)

    # --- the oracle

    def begin(self, wanted: str | None) -> None:
        """Nothing that was proved before counts; an assertion has to be asked for."""
        if wanted is None:
            self.left = [steps for steps in self.policy if "attested" not in steps]
        else:
            self.left = [steps for steps in self.policy if wanted in steps]
        self.proved: list[str] = []
        self.given: list[tuple[bytes, Proof, datetime]] = []
        self.wanted_number: int | None = None
        if self.state is not State.VERIFIED:
            self.state = State.PENDING
        self.go_on()

    def begin_change(self, number: int) -> None:
        """As of a new user, but that nothing moves the registration before its end."""
        self.left = [steps for steps in self.policy if "attested" not in steps]
        self.proved, self.given, self.wanted_number = [], [], number
        self.go_on()

    def go_on(self) -> None:
        """Read the alternatives in their order; what was proved is proved."""
        self.waits_for, self.answered, self.denied = "", False, False
        for place, steps in enumerate(self.left):
            if "operator" in steps and self.says == "no" and self.wanted_number is not None:
                self.answered = self.denied = True
                return
            if "operator" in steps and self.says == "no":
                self.answer(State.REVOKED if self.state is State.VERIFIED else State.REJECTED, "operator")
                return
            missing = [step for step in steps if step not in ("operator", *self.proved)]
            if missing:
                self.left, self.waits_for = self.left[place:], missing[0]
                return
            if "operator" not in steps or self.says == "yes":
                self.answer(State.VERIFIED, *(["operator"] if "operator" in steps else []))
                return

    def answer(self, state: State, *by: str) -> None:
        self.state, self.evidence, self.answered = state, [*self.proved, *by], True
        self.number = self.wanted_number or self.number

    def problem(self) -> str:
        if self.answered or self.waits_for:
            return "NUMBER_DENIED" if self.denied else ""
        return "OPERATOR_SILENT" if self.left else "ATTESTATION_NEEDED"

    def hold(self, outcome: Outcome) -> None:
        """Compare what is told with what has to be."""
        assert outcome.problem == self.problem()
        registration, verification = outcome.registration, outcome.verification
        assert (registration.state, [one.method.value for one in registration.evidence]) == (self.state, self.evidence)
        if self.waits_for:
            assert verification is not None
            assert (verification.method, verification.state) == (self.waits_for, VerificationState.WAITING)
            self.verification_id = verification.verification_id
            self.until = self.world.now + LIFETIMES[self.waits_for]
            self.code = last_code(self.world) if self.waits_for == "code" else ""

    # --- what happens

    @rule(says=SAID)
    def change_mind(self, says: str) -> None:
        self.says = self.words.says = says

    @rule(seconds=st.sampled_from([1, 299, 300, 1_200]))
    def wait(self, seconds: int) -> None:
        self.world.pass_time(seconds=seconds)

    @rule(wanted=st.sampled_from([None, None, "operator", *USER_STEPS]))
    def start(self, wanted: str | None) -> None:
        self.world.pass_time(days=2)  # no limit of codes is near
        method = None if wanted is None else Method(wanted)
        if wanted is not None and not any(wanted in steps for steps in self.policy):
            with pytest.raises(MethodNotAllowed):
                start(self.world, method=method)
            return
        self.begin(wanted)
        self.hold(start(self.world, method=method))

    @rule()
    def refresh(self) -> None:
        self.world.pass_time(days=2)
        self.begin(None)
        self.hold(self.world.registrar.refresh(SERVICE, "u1", ADDRESS, {"a": "b"}))

    @rule(number=st.integers(small.UNKNOWN, small.UNKNOWN + 2))
    def change_number(self, number: int) -> None:
        """The number that the user has is none to change to, and ends a change that waits."""
        self.world.pass_time(days=2)
        if number != self.number:
            self.begin_change(number)
            self.hold(self.world.registrar.change_number(SERVICE, "u1", number, ADDRESS))
            return
        assert self.world.registrar.change_number(SERVICE, "u1", number, ADDRESS).problem == "NUMBER_UNCHANGED"
        if self.wanted_number is not None:
            self.waits_for = ""

    @rule()
    def another_user_proves_the_number(self) -> None:
        """Whoever was VERIFIED on it is REVOKED, and waits for no proof of it; a change to another number goes on."""
        self.world.pass_time(days=2)
        self.others += 1
        methods, self.world.methods = self.world.methods, "code"
        other = self.world.register(self.number, f"other {self.others}")
        assert complete(self.world, other, last_code(self.world))
        self.world.methods = methods
        if self.state is State.VERIFIED:
            self.state = State.REVOKED
            if self.wanted_number is None:
                self.waits_for, self.answered = "", True

    def right_proof(self) -> Proof:
        if self.waits_for == "code":
            return CodeProof(self.code)
        if self.waits_for == "inbound":
            return InboundProof(self.wanted_number or self.number, "", self.world.now)
        self.assertions += 1
        return AttestedProof("esia", f"a-{self.assertions}", self.world.now)

    @precondition(lambda self: self.waits_for)
    @rule()
    def prove(self) -> None:
        self.prove_with(self.right_proof())

    @precondition(lambda self: self.waits_for)
    @rule()
    def prove_twice(self) -> None:
        proof, before = self.right_proof(), len(self.given)
        self.prove_with(proof)
        if len(self.given) > before:
            self.prove_again(0)

    def prove_with(self, proof: Proof) -> None:
        if self.world.now >= self.until:
            with pytest.raises(ProofNotAccepted):
                self.world.completion.complete(SERVICE, self.verification_id, proof)
            return
        self.given.append((self.verification_id, proof, self.until))
        self.proved.append(self.waits_for)
        verification_id = self.verification_id
        self.go_on()
        self.hold(self.world.completion.complete(SERVICE, verification_id, proof))

    @precondition(lambda self: self.given)
    @rule(place=st.integers(0, 2))
    def prove_again(self, place: int) -> None:
        """What was right is right; the last proof asks an operator again that has said nothing, in its time."""
        place = max(len(self.given) - 1 - place, 0)
        verification_id, proof, until = self.given[place]
        is_last = place == len(self.given) - 1
        if is_last and not self.answered and not self.waits_for and self.world.now < until:
            self.go_on()
            self.hold(self.world.completion.complete(SERVICE, verification_id, proof))
            return
        told = self.world.completion.complete(SERVICE, verification_id, proof)
        assert told.registration == self.world.registrar.get(SERVICE, "u1")

    @precondition(lambda self: self.waits_for == "code")
    @rule()
    def guess(self) -> None:
        """A wrong code proves nothing; three of them end the verification, here by a new one."""
        wrong = f"{(int(self.code) + 1) % 10**6:06}"
        with pytest.raises(ProofNotAccepted):
            self.world.completion.complete(SERVICE, self.verification_id, CodeProof(wrong))
        self.start(None)

    @invariant()
    def nobody_is_verified_but_by_an_alternative(self) -> None:
        if not hasattr(self, "world"):
            return
        found = self.world.registrar.get(SERVICE, "u1")
        assert (found.state, found.record.number) == (self.state, self.number)
        assert [one.method.value for one in found.evidence] == self.evidence
        if found.state is State.VERIFIED:
            assert any(set(steps) <= set(self.evidence) for steps in self.policy)


def test_a_policy_comes_to_what_its_words_say_whatever_is_done_in_whatever_order(small_dir: Path) -> None:
    """E.1, E.2: up to three alternatives of up to three steps."""
    machine = type("PoliciesHere", (Policies,), {"data_dir": small_dir})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
