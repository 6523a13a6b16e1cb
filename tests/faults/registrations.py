"""Registrations and attempts as a campaign's workload: messengers that register users, and people who guess at codes.

Each user belongs to one client and has a number of its own, so that every answer can be foretold from what was
answered before; `users.py` judges. The messenger's gateway (`gateway.py`) and its watch (`watching.py`) judge besides.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc

from numcheck.config import Settings
from numcheck.errors import EventsAltered
from numcheck.offline.audit import verify_store
from numcheck.v1 import registration_pb2 as pb
from tests.faults.calls import DEADLINE_S, NodeEnded, Refused, refused_by
from tests.faults.gateway import Gateway
from tests.faults.ledger import Ledger, Violation
from tests.faults.nodes import Life
from tests.faults.users import TRIES_MAX, WRONG_TRIES_MAX, Challenge, Events, Step, User, check_try
from tests.faults.watching import Watcher

SERVICE = "messenger"
CLIENTS = 3
FIRST_NUMBER = 79_580_000_000  # of an operator without data: by code is the only way
NUMBER_COUNT = 100_000
USERS_OF_CLIENT = 10
VERIFY_EVERY = 10  # restarts, once the chain is long
LONG_CHAIN = 2_000  # events
ENVIRONMENT = {
    "NUMCHECK_VERIFICATION_METHODS": "code",
    # Of these bounds the tests of codes know more; here they would only end the campaign.
    "NUMCHECK_CODES_PER_BLOCK_MAX": "1000000",
    "NUMCHECK_CODES_PER_NETWORK_MAX": "1000000",
}


class Client:
    """Registers users and does with them what may be done, one step after the other."""

    def __init__(self, workload: "RegistrationWorkload", name: int, numbers: Iterator[int]) -> None:
        self._workload, self._name, self._numbers = workload, name, numbers
        self._made = 0
        self.users: list[User] = []

    def run(self, life: Life, chance: random.Random) -> None:
        """Go on until the node is killed."""
        try:
            for user in [one for one in self.users if one.repeat]:
                self._register(life, user, chance)
            while True:
                self._step(life, chance)
        except NodeEnded:
            pass

    def _step(self, life: Life, chance: random.Random) -> None:
        waiting = [one for one in self.users if one.newest is not None and not one.newest.over]
        if waiting and chance.random() < 0.8:
            self._go_on(life, waiting[0], chance)  # a code is tried at until it is done with, over kills if need be
        elif len(self.users) < USERS_OF_CLIENT and chance.random() < 0.4:
            user = self._draw(chance)
            self.users.append(user)
            self._register(life, user, chance)
        elif self.users:
            self._go_on(life, chance.choice(self.users), chance)

    def _draw(self, chance: random.Random) -> User:
        self._made += 1
        number = next(self._numbers)
        request = pb.RegisterRequest(
            service=SERVICE,
            request_id=f"{chance.getrandbits(64):x}" if chance.random() < 0.8 else "",
            user_id=f"u{self._name}-{self._made}",
            identifier={"login": f"l{chance.getrandbits(32):x}"},
            number=f"+{number}",
            network_address=_address(chance),
            registration_data=_data(chance),
        )
        return User(request, number, hunted=not any(one.hunted for one in self.users))

    def _go_on(self, life: Life, user: User, chance: random.Random) -> None:
        challenge = user.newest
        if challenge is not None and not challenge.over:
            shut_out = user.wrong_tries(challenge.number, life.now_s(), sure=True) >= WRONG_TRIES_MAX
            if challenge.wrong_to_make and not shut_out:
                self._try(life, user, challenge, right=False)
            else:
                self._try(life, user, challenge, right=True)
        elif user.hunted or chance.random() < 0.3:
            self._start(life, user, chance)
        else:
            kind = chance.random()
            if kind < 0.3:
                self._refresh(life, user, chance)
            elif kind < 0.55:
                self._change(life, user, chance)
            elif kind < 0.75:
                self._delete(life, user)
            elif user.challenges:
                self._try(life, user, chance.choice(user.challenges), right=True)

    # --- steps

    def _register(self, life: Life, user: User, chance: random.Random) -> None:
        before = user.known
        answer = self._ask(life, user, Step("register"), life.registrations.Register, user.request)
        user.repeat = False
        if before is not None and not user.request.request_id:
            if not isinstance(answer, Refused) or answer.reason != "REGISTRATION_EXISTS":
                raise Violation("a user was registered twice")
        elif isinstance(answer, Refused):
            raise _unforeseen(answer)
        elif before is not None:
            if answer.registration != before:
                raise Violation("a registration is not answered again as what it was")
            self._workload.count("registered again")
        else:
            user.take(Step("register"), answer.registration, self._workload.events)
            self._started(user, answer, chance)
            self._workload.count("registered")

    def _start(self, life: Life, user: User, chance: random.Random) -> None:
        request = pb.StartVerificationRequest(service=SERVICE, user_id=user.request.user_id)
        answer = self._ask(life, user, Step("start"), life.registrations.StartVerification, request)
        if isinstance(answer, Refused):
            if answer.reason != "TOO_MANY_CODES":
                raise _unforeseen(answer)
            self._workload.count("too soon for a code")
            return
        if answer.registration != user.known:
            raise Violation("a registration was changed by a verification that has only begun")
        self._started(user, answer, chance)

    def _refresh(self, life: Life, user: User, chance: random.Random) -> None:
        request = pb.RefreshRegistrationRequest(
            service=SERVICE,
            user_id=user.request.user_id,
            registration_data=_data(chance),
            network_address=_address(chance),
        )
        step = Step("refresh", request=request)
        answer = self._ask(life, user, step, life.registrations.RefreshRegistration, request)
        if isinstance(answer, Refused):
            raise _unforeseen(answer)
        user.take(step, answer.registration, self._workload.events)
        self._started(user, answer, chance)
        self._workload.count("refreshed")

    def _change(self, life: Life, user: User, chance: random.Random) -> None:
        user.change = pb.ChangeNumberRequest(
            service=SERVICE,
            user_id=user.request.user_id,
            number=f"+{next(self._numbers)}",
            network_address=_address(chance),
        )
        answer = self._ask(life, user, Step("change"), life.registrations.ChangeNumber, user.change)
        if isinstance(answer, Refused):
            raise _unforeseen(answer)
        if answer.registration != user.known:
            raise Violation("a registration was changed by a change of number that has only begun")
        self._started(user, answer, chance)
        self._workload.count("change asked for")

    def _delete(self, life: Life, user: User) -> None:
        request = pb.DeleteRegistrationRequest(service=SERVICE, user_id=user.request.user_id)
        answer = self._ask(life, user, Step("delete"), life.registrations.DeleteRegistration, request)
        if isinstance(answer, Refused):
            raise _unforeseen(answer)
        user.erased(self._workload.events)
        self.users.remove(user)
        self._workload.count("deleted")

    def _try(self, life: Life, user: User, challenge: Challenge, *, right: bool) -> None:
        code = challenge.code if right else f"{(int(challenge.code) + 1) % 10**6:06}"
        request = pb.CompleteVerificationRequest(service=SERVICE, verification_id=challenge.verification_id, code=code)
        before_s = life.now_s()
        lives, may = user.lives(challenge, before_s), user.accepts(challenge, before_s)
        step = Step("complete", challenge, right, may)
        answer = self._ask(life, user, step, life.registrations.CompleteVerification, request)
        refused = answer if isinstance(answer, Refused) else None
        after_s = life.now_s()
        may_be = (may, user.accepts(challenge, after_s)) if right else (False, False)
        accepted = check_try(refused, may_be)
        challenge.wrong_to_make = max(challenge.wrong_to_make - (not right), 0)
        challenge.over = challenge.over or right
        if accepted and challenge.confirmed:
            if answer.registration != user.known:
                raise Violation("a verification is not answered again as what it was")
        elif accepted:
            user.take(step, answer.registration, self._workload.events)
            self._workload.count("verified" if challenge.change is None else "number changed")
        else:
            self._count_refused(user, challenge, lives=lives and user.lives(challenge, after_s), right=right)

    def _count_refused(self, user: User, challenge: Challenge, *, lives: bool | None, right: bool) -> None:
        if right and challenge.answered >= TRIES_MAX:
            self._workload.count("shut out of a challenge")
        elif right and user.hunted and not challenge.superseded:
            self._workload.count("shut out for the day")
            user.hunted = False
        challenge.tried(live=lives)
        self._workload.count("wrong" if not right else "right but refused")

    def _started(self, user: User, answer: Any, chance: random.Random) -> None:
        """Hold what is said of a verification that was started to what the gateway got."""
        message = user.has_new_code(self._workload.gateway)
        if answer.HasField("verification"):
            if message is None or message.verification_id != answer.verification.verification_id:
                raise Violation("a code is said to be under way, and the gateway did not get it")
            user.challenged(message, _wrong_to_make(user, chance))
        elif message is not None:
            raise Violation("a code was sent that nobody speaks of")
        else:
            self._workload.count("without a code")

    # --- asking

    def _ask(self, life: Life, user: User, step: Step, call: Callable[..., Any], request: Any) -> Any:
        """Intent, call, answer; NodeEnded if no answer came."""
        ledger = self._workload.ledger
        number = ledger.intend(step=step.kind, user=user.request.user_id, right=step.right)
        user.open = step
        try:
            answer = call(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            refused = refused_by(error)
            if refused is None and not life.ending.is_set():
                raise Violation(f"a call ended with {error.code()} and no reason, and the node lives") from None
            if refused is None:
                self._workload.count("unknown")
                raise NodeEnded from None
            ledger.answer(number, refused=refused.reason)
            if refused.passes:
                return self._ask(life, user, step, call, request)
            answer = refused
        else:
            ledger.answer(number, ok=True)
        user.open = None
        return answer

    # --- after a restart

    def settle(self, found: dict[str, pb.Registration], chance: random.Random) -> None:
        """Compare each user with what was found, taking it out of there."""
        for user in list(self.users):
            step = user.open
            outcome = user.settle(found.pop(user.request.user_id, None), self._workload.gateway, self._workload.events)
            message = user.has_new_code(self._workload.gateway) if user.known is not None else None
            if message is not None:
                user.challenged(message, _wrong_to_make(user, chance))
            if step is not None:
                self._workload.count(f"unknown, {outcome}")
                user.repeat = step.kind == "register"
            if user.known is None and not user.repeat:
                self.users.remove(user)


class RegistrationWorkload:
    """The clients of one service, its gateway, its watch, and the judge."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.gateway = ledger, Gateway()
        self.counts: dict[str, int] = {}
        self.events: Events = Counter()
        self._turn = threading.Lock()
        self._watcher = Watcher(SERVICE)
        self._checks = 0
        share = NUMBER_COUNT // CLIENTS
        self._clients = [
            Client(self, name, iter(range(FIRST_NUMBER + name * share, FIRST_NUMBER + (name + 1) * share)))
            for name in range(CLIENTS)
        ]

    def environment(self, directory: Path) -> Mapping[str, str]:
        """The settings of the nodes."""
        return {**ENVIRONMENT, **self.gateway.environment(directory)}

    def runners(self) -> list[Callable[[Life, random.Random], None]]:
        """What runs beside each other while a node lives: each until the node is killed."""
        return [*(client.run for client in self._clients), self._watcher.run]

    def close(self) -> None:
        """Let the gateway end."""
        self.gateway.close()

    def count(self, event: str) -> None:
        """Count what happened, for the report."""
        with self._turn:
            self.counts[event] = self.counts.get(event, 0) + 1

    def check(self, life: Life) -> None:
        """Compare a node that has just started with what is known; Violation says what may not be."""
        self.gateway.check()
        found = {one.user_id: one for one in _listed(life)}
        states = {one.registration_id: one.state for one in found.values()}
        self.ledger.note(registrations=len(found))
        for client in self._clients:
            client.settle(found, random.Random(self._checks))
        if found:
            raise Violation("there is a registration that nobody made")
        self._watcher.catch_up(life)
        self._watcher.compare(self.events, states)
        self._checks += 1
        if self._watcher.event_count < LONG_CHAIN or self._checks % VERIFY_EVERY == 0:
            self._verify(life)

    def _verify(self, life: Life) -> None:
        """What `numcheck events verify --head` does."""
        env = life.settings
        settings = Settings(
            data_dir=life.data_dir,
            keys_file=Path(env["NUMCHECK_KEYS_FILE"]),
            database_url=env.get("NUMCHECK_DATABASE_URL"),  # type: ignore[arg-type]
        )
        try:
            verify_store(settings, self._watcher.head if self._watcher.event_count else None)
        except EventsAltered as error:
            raise Violation(f"the chain of events does not hold: {error}") from None


def _listed(life: Life) -> Iterator[pb.Registration]:
    token = ""
    while True:
        request = pb.ListRegistrationsRequest(service=SERVICE, page_size=1_000, page_token=token)
        page = life.registrations.ListRegistrations(request, timeout=DEADLINE_S)
        yield from page.registrations
        token = page.next_page_token
        if not token:
            return


def _unforeseen(refused: Refused) -> Violation:
    if refused.reason == "UNKNOWN_REGISTRATION":
        return Violation("a registration was acknowledged and is lost")
    return Violation(f"a call was refused with {refused.reason}, for no reason of its own")


def _wrong_to_make(user: User, chance: random.Random) -> int:
    return TRIES_MAX if user.hunted else chance.choice((0, 1, 2, TRIES_MAX, TRIES_MAX))


def _data(chance: random.Random) -> dict[str, str]:
    return {"name": f"n{chance.getrandbits(64):x}", "more": "x" * chance.choice((0, 10, 3_000))}


def _address(chance: random.Random) -> pb.NetworkAddress:
    return pb.NetworkAddress(address=f"203.0.{chance.randrange(256)}.{chance.randrange(256)}", port=50_812)
