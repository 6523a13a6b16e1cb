"""What is known of one user of a messenger: the registration, word for word, and every challenge with its tries.

It knows the API's promises and nothing of the code. What a killed node left unanswered is kept as that: done or not.
"""

from collections import Counter
from dataclasses import dataclass, field

from numcheck.v1 import registration_pb2 as pb
from tests.faults.calls import Refused
from tests.faults.gateway import DAY_S, Gateway, Message
from tests.faults.ledger import Violation

PENDING, VERIFIED = pb.REGISTRATION_STATE_PENDING, pb.REGISTRATION_STATE_VERIFIED
TRIES_MAX = 3  # of a challenge, R8
WRONG_TRIES_MAX = 10  # of a number in a day, R8
CODE_LIFETIME_S = 300
REFRESH_AFTER_S = 365 * 86_400
MARGIN_S = 5  # around a moment: what lies so near to it is neither before nor after it

Events = Counter[tuple[str, int]]
"""How many events of each kind each registration has, by its id and the kind."""


@dataclass(slots=True)
class Challenge:
    """A code that was sent, and the tries at it: `answered` while it lived, `open` those that may have counted."""

    verification_id: str
    code: str
    number: int
    change: pb.ChangeNumberRequest | None  # that it is for; None: it is for the number that the user has
    started_at_s: float
    wrong_to_make: int  # before the right code is given
    answered: int = 0
    open: int = 0
    confirmed: bool = False
    superseded: bool | None = False  # None: perhaps
    over: bool = False  # its client is done with it

    def tried(self, *, live: bool | None) -> None:
        """An answer has refused a try: it was counted, if the challenge lived."""
        if live:
            self.answered += 1
        else:
            self.open += 1

    def lives(self, now_s: float) -> bool | None:
        """Whether it is the newest and not expired, whatever was tried; None: one cannot know."""
        age_s = now_s - self.started_at_s
        if self.superseded or age_s > CODE_LIFETIME_S + MARGIN_S:
            return False
        return None if self.superseded is None or age_s > CODE_LIFETIME_S - MARGIN_S else True


@dataclass(eq=False, slots=True)
class Step:
    """Something that was asked for; `challenge` is the one it is about, `right` whether its code was given, and `may`
    whether that could be accepted."""

    kind: str
    challenge: Challenge | None = None
    right: bool = False
    may: bool | None = None
    request: pb.RefreshRegistrationRequest | None = None

    @property
    def event(self) -> int:
        """The kind of event that it is, once it is done."""
        is_change = self.kind == "complete" and self.challenge is not None and self.challenge.change is not None
        return EVENT_OF["change" if is_change else self.kind]


@dataclass(eq=False, slots=True)
class User:
    """A user, of one client, with a number of its own, and another that it asks for now and then."""

    request: pb.RegisterRequest
    number: int
    hunted: bool  # its number is guessed at until it is shut out for the day
    known: pb.Registration | None = None  # None: there is none
    open: Step | None = None  # it has no answer
    repeat: bool = False  # its registration is to be asked for again
    challenges: list[Challenge] = field(default_factory=list)
    change: pb.ChangeNumberRequest | None = None  # the newest that was asked for

    @property
    def newest(self) -> Challenge | None:
        """The last challenge that is known."""
        return self.challenges[-1] if self.challenges else None

    # --- what may be

    def after(self, step: Step, found: pb.Registration) -> pb.Registration:
        """The registration after a step, as it must be; moments that nobody can foretell are from what was found."""
        one = pb.Registration()
        if step.kind == "register":
            for name in ("service", "user_id", "identifier", "network_address", "registration_data"):
                part = pb.Registration(**{name: getattr(self.request, name)})
                one.MergeFrom(part)
            one.number, one.state, one.registration_id = self.number, PENDING, found.registration_id
            one.registered_at.CopyFrom(found.registered_at)
            one.refreshed_at.CopyFrom(found.refreshed_at)
        else:
            assert self.known is not None
            one.CopyFrom(self.known)
        if step.kind == "refresh":
            assert step.request is not None
            one.ClearField("registration_data")
            one.MergeFrom(pb.Registration(registration_data=step.request.registration_data))
            one.network_address.CopyFrom(step.request.network_address)
            one.refreshed_at.CopyFrom(found.refreshed_at)
        if step.kind == "complete":
            one.state = VERIFIED
            del one.evidence[:]
            one.evidence.extend(found.evidence)
            one.evidence[0].method = pb.VERIFICATION_METHOD_CODE
            assert step.challenge is not None
            one.number = step.challenge.number
            if step.challenge.change is not None:
                one.network_address.CopyFrom(step.challenge.change.network_address)
        if step.kind in ("register", "complete") or (step.kind == "refresh" and one.state == PENDING):
            one.due_at.CopyFrom(one.refreshed_at)
            one.due_at.seconds += REFRESH_AFTER_S
        return one

    def take(self, step: Step, found: pb.Registration, events: Events) -> None:
        """A step is done, and the registration was found like this after it."""
        if found != self.after(step, found):
            raise Violation(f"a registration is not whole after it was to {step.kind}")
        if step.kind == "complete":
            assert step.challenge is not None
            step.challenge.confirmed = True
        self.known, self.number = found, found.number
        events[found.registration_id, step.event] += 1

    def erased(self, events: Events) -> None:
        """It was deleted."""
        assert self.known is not None
        events[self.known.registration_id, EVENT_OF["delete"]] += 1
        self.known = None

    # --- what a try may come to

    def wrong_tries(self, number: int, now_s: float, *, sure: bool) -> int:
        """How many tries count against a number today: those that surely do, or all that may."""
        since_s = now_s - DAY_S + (MARGIN_S + CODE_LIFETIME_S if sure else -MARGIN_S)
        of_number = [one for one in self.challenges if one.number == number]
        recent = [one for one in of_number if one.started_at_s + (0 if sure else CODE_LIFETIME_S) > since_s]
        return sum(min(TRIES_MAX, one.answered + (0 if sure else one.open)) for one in recent)

    def lives(self, challenge: Challenge, now_s: float) -> bool | None:
        """Whether a try at the challenge counts, or finds three or ten counted; None: one cannot know."""
        lives, number = challenge.lives(now_s), challenge.number
        if lives and self.wrong_tries(number, now_s, sure=True) >= WRONG_TRIES_MAX:
            return False
        return None if lives and self.wrong_tries(number, now_s, sure=False) >= WRONG_TRIES_MAX else lives

    def accepts(self, challenge: Challenge, now_s: float) -> bool | None:
        """Whether the right code is accepted; None: it may be or not."""
        if challenge.confirmed:
            return None if challenge.superseded is None else not challenge.superseded
        lives = self.lives(challenge, now_s)
        if lives is False or challenge.answered >= TRIES_MAX:
            return False
        return None if lives is None or challenge.answered + challenge.open >= TRIES_MAX else True

    # --- challenges

    def challenged(self, message: Message, wrong_to_make: int) -> None:
        """A code was sent to it, and is the one that counts."""
        for one in self.challenges:
            one.superseded = True
        self.challenges.append(
            Challenge(
                message.verification_id,
                message.code,
                message.number,
                None if message.number == self.number else self.change,
                float(message.sent_at_s),
                wrong_to_make,
            )
        )

    def perhaps_challenged(self) -> None:
        """Another challenge may have begun, whose code was not sent."""
        for one in self.challenges:
            one.superseded = one.superseded or None

    def has_new_code(self, gateway: Gateway) -> Message | None:
        """A code that came and is not known yet: of a call that has no answer."""
        known = {one.verification_id for one in self.challenges}
        numbers = [self.number] if self.change is None else [self.number, int(self.change.number)]
        sent = [message for number in numbers if (message := gateway.newest(number)) is not None]
        return next((message for message in sent if message.verification_id not in known), None)

    # --- after a kill

    def settle(self, found: pb.Registration | None, gateway: Gateway, events: Events) -> str:
        """Compare what a restart has left with what is known; what the open step came to: "", "done" or "undone"."""
        step, self.open = self.open, None
        if step is None:
            if found != self.known:
                raise Violation("a registration is lost, or was changed, that was acknowledged otherwise")
            return ""
        done = self._is_done(step, found)
        if done and step.may is False:
            raise Violation(
                "a code was accepted after all its tries: one was not counted, or a crash has given it back"
            )
        if done:
            self._take_found(step, found, events)
        elif found != self.known:
            raise Violation(f"an unanswered step to {step.kind} has left what nobody asked for")
        elif step.challenge is not None:
            step.challenge.open += 1
        if step.kind in ("start", "change") or (done and step.kind in ("register", "refresh")):
            self.perhaps_challenged()
        if found is None and step.kind == "register" and self.has_new_code(gateway):
            raise Violation("a code was sent that was not counted: what it was for is not there")
        return "done" if done else "undone"

    def _is_done(self, step: Step, found: pb.Registration | None) -> bool:
        """Whether the step has changed what can be read."""
        if step.kind == "delete":
            return found is None
        if found is None or step.kind in ("start", "change") or (step.kind == "complete" and not step.right):
            return False
        return found != self.known

    def _take_found(self, step: Step, found: pb.Registration | None, events: Events) -> None:
        if found is None:
            self.erased(events)
        else:
            self.take(step, found, events)


EVENT_OF = {
    "register": pb.REGISTRATION_EVENT_KIND_REGISTERED,
    "complete": pb.REGISTRATION_EVENT_KIND_CONFIRMED,
    "refresh": pb.REGISTRATION_EVENT_KIND_REFRESHED,
    "change": pb.REGISTRATION_EVENT_KIND_CHANGED,
    "delete": pb.REGISTRATION_EVENT_KIND_DELETED,
}


def check_try(answer: Refused | None, may: tuple[bool | None, bool | None]) -> bool:
    """Whether the right code was accepted, held to what was foretold before it was sent and after its answer."""
    accepted = answer is None
    if answer is not None and answer.reason != "PROOF_NOT_ACCEPTED":
        raise Violation(f"a try was refused with {answer.reason}")
    if accepted and may[0] is False and may[1] is False:
        raise Violation("a code was accepted after all its tries: one was not counted, or a crash has given it back")
    if not accepted and may[0] is True and may[1] is True:
        raise Violation("the code that was sent is not accepted: its verification is not there, or has lost tries")
    return accepted
