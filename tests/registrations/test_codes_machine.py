"""R8, whatever is done in whatever order: a state machine beside an oracle that counts by itself."""

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

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

from numcheck.errors import TooManyCodes
from numcheck.registrations.record import NetworkAddress
from numcheck.registrations.registration import Outcome
from numcheck.registrations.states import RegistrationState as State
from tests.registrations.by_code import BY_CODE, NUMBER, complete, last_code, other_than, record_of, start
from tests.registrations.world import ADDRESS, World, bounds_of

NUMBER_MAX = 6  # codes of all services to a number in a day, half of them of one: few enough to be reached here
RATE_MAX = 2  # codes of a service in ten seconds
DAY = timedelta(days=1)
USERS = [
    ("s0", "u0", NUMBER),
    ("s1", "u1", NUMBER),
    ("s0", "u2", NUMBER),
    ("s0", "u3", NUMBER + 1),
    ("s1", "u4", NUMBER + 1),
    ("s2", "u5", NUMBER),
    ("s0", "u6", NUMBER),
]
ELSEWHERE = NetworkAddress("198.51.100.9", 40_001)
NETWORKS = {user_id: ELSEWHERE if user_id in ("u2", "u4") else ADDRESS for _, user_id, _ in USERS}
PLACES = st.integers(0, len(USERS) - 1)


def whole_hour(at: datetime) -> datetime:
    """The moment itself, or the next whole hour: when a wait ends that other services caused."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    return hour if hour == at else hour + timedelta(hours=1)


class Codes(RuleBasedStateMachine):
    """Three services, two numbers, seven users: one number has three of one service, one of them from elsewhere. The
    oracle counts by itself, from the limits' words alone."""

    data_dir: Path
    new_url: Callable[[], str | None]

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp()) / "var"
        shutil.copytree(self.data_dir, self.directory)
        self.seed, self.url = 0, type(self).new_url()
        self.world = self.opened()
        self.sends: list[tuple[str, str, int, datetime]] = []  # by service, user and number
        self.wrong: list[tuple[str, int, str, datetime]] = []  # by service, number and user
        self.challenges: list[dict] = []
        self.verified: set[tuple[str, str]] = set()

    def opened(self, **fields: Any) -> World:
        bounds = bounds_of(number_max=NUMBER_MAX, rate_max=RATE_MAX)
        policy = {"data_age_max": None, "users_per_number_max": len(USERS)}
        return World(self.directory, bounds=bounds, policy=policy, seed=self.seed, url=self.url, **BY_CODE, **fields)

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.directory.parent)

    @initialize()
    def register(self) -> None:
        self.users = USERS
        for service, user_id, number in self.users:
            outcome = self.world.registrar.register(service, "", record_of(user_id, number, NETWORKS[user_id]))
            self.sent_or_refused(service, user_id, number, outcome if outcome.verification else None)

    def next_send(self, service: str, user_id: str, number: int) -> datetime:
        """When the limits' words let the next code be sent."""
        now = self.world.now
        sent = [(by, user, at) for by, user, number_, at in self.sends if number_ == number]
        to_number = [one for one in sent if whole_hour(one[2] + DAY) > now]
        is_holder = any(one["done"] for one in self.challenges if one["user"] == user_id)
        of_service = [(user, at) for by, user, at in sent if by == service and at > now - DAY]
        alike = [user_id] if is_holder else [one for one, where in NETWORKS.items() if where == NETWORKS[user_id]]
        own = [at for user, at in of_service if user in alike]
        had_one = user_id in [user for user, _at in of_service]
        lately = [at for by, _user, _number, at in self.sends if by == service and at > now - timedelta(seconds=10)]
        waits = [now]
        if len(own) >= 5 and had_one:
            waits.append(own[-5] + DAY)
        elif own:
            waits.append(own[-1] + timedelta(seconds=[60, 120, 300, 600, 600, 600, 600][len(own) - 1]))
        of_service_max = NUMBER_MAX // 2 + (5 if is_holder else 0)
        if len(of_service) >= of_service_max:
            waits.append(of_service[-of_service_max][1] + DAY)
        if len(to_number) >= NUMBER_MAX and not is_holder:
            waits.append(whole_hour(to_number[-NUMBER_MAX][2] + DAY))
        if len(lately) >= RATE_MAX:
            waits.append(lately[-RATE_MAX] + timedelta(seconds=10))
        return max(waits)

    def sent_or_refused(self, service: str, user_id: str, number: int, outcome: Outcome | None) -> None:
        assert (outcome is not None) == (self.next_send(service, user_id, number) <= self.world.now)
        if outcome is None:
            return
        assert outcome.verification is not None
        self.sends.append((service, user_id, number, self.world.now))
        for one in self.challenges:
            if one["user"] == user_id:  # and nobody else's
                one["live"] = False
        self.challenges.append(
            {
                "service": service, "user": user_id, "number": number, "live": True, "tries": 0, "done": False,
                "until": self.world.now + timedelta(seconds=300), "outcome": outcome, "code": last_code(self.world),
            }
        )  # fmt: skip

    @rule(user=PLACES)
    def ask_for_a_code(self, user: int) -> None:
        service, user_id, number = self.users[user]
        try:
            outcome = start(self.world, user_id, service)
        except TooManyCodes as refusal:
            outcome = None
            self.told_enough(refusal, self.next_send(service, user_id, number))
        self.sent_or_refused(service, user_id, number, outcome)

    def told_enough(self, refusal: TooManyCodes, until: datetime) -> None:
        """To the microsecond."""
        assert self.world.now + timedelta(seconds=refusal.retry_delay_s) == until

    @rule(user=PLACES, early_us=st.sampled_from([0, 1, 1_000_000]))
    def ask_as_soon_as_it_may_be(self, user: int, early_us: int) -> None:
        """Or a moment sooner."""
        service, user_id, number = self.users[user]
        while (at := self.next_send(service, user_id, number)) > self.world.now + timedelta(microseconds=early_us):
            self.world.now = at - timedelta(microseconds=early_us)
        self.ask_for_a_code(user)

    @precondition(lambda self: self.challenges)
    @rule(challenge=st.integers(0, 3), rights=st.lists(st.sampled_from([False, False, False, True]), max_size=5))
    def guess(self, challenge: int, rights: list[bool]) -> None:
        one = self.challenges[-1 - challenge % len(self.challenges)]
        for right in rights:
            self.guess_once(one, right)

    @precondition(lambda self: self.challenges)
    @rule(user=PLACES, wrong=st.sampled_from([1, 3, 3, 3]))
    def guess_wrong_and_then_right(self, user: int, wrong: int) -> None:
        self.ask_as_soon_as_it_may_be(user, 0)
        self.guess(0, [False] * wrong + [True])

    @precondition(lambda self: self.challenges)
    @rule(late_us=st.sampled_from([-1, 0, 1]))
    def guess_at_the_last_moment(self, late_us: int) -> None:
        one = self.challenges[-1]
        self.world.now = max(self.world.now, one["until"] + timedelta(microseconds=late_us))
        self.guess_once(one, True)

    def counts(self, one: dict[str, Any]) -> bool:
        """Whether a try at a challenge is counted and compared."""
        recent = [
            user
            for *where, user, at in self.wrong
            if where == [one["service"], one["number"]] and at > self.world.now - DAY
        ]
        of_network = [user for user in recent if NETWORKS[user] == NETWORKS[one["user"]]]
        own = recent.count(one["user"])
        may = own < 3 or (own < 10 and len(of_network) < 10)
        return one["live"] and not one["done"] and self.world.now < one["until"] and one["tries"] < 3 and may

    def is_newest(self, one: dict[str, Any]) -> bool:
        return [other for other in self.challenges if other["user"] == one["user"]][-1] is one

    def guess_once(self, one: dict[str, Any], right: bool) -> None:
        counted = self.counts(one)
        code = one["code"] if right else other_than(one["code"])
        accepted = complete(self.world, one["outcome"], code, one["service"])
        assert accepted == (right and (counted or (one["done"] and self.is_newest(one))))
        if counted:
            one["tries"] += 1
            one["done"] = accepted
            if not accepted:
                self.wrong.append((one["service"], one["number"], one["user"], self.world.now))

    @precondition(lambda self: self.challenges)
    @rule(challenge=st.integers(0, 3), times=st.integers(2, 5))
    def give_the_right_code_at_once(self, challenge: int, times: int) -> None:
        """All get what one alone gets, and none counts as wrong."""
        one = self.challenges[-1 - challenge % len(self.challenges)]
        right = self.counts(one) or (one["done"] and self.is_newest(one))
        with ThreadPoolExecutor(times) as callers:
            asked = [
                callers.submit(complete, self.world, one["outcome"], one["code"], one["service"]) for _ in range(times)
            ]
        assert [call.result() for call in asked] == [right] * times
        one["done"] = one["done"] or right

    @rule(seconds=st.sampled_from([1, 59, 60, 61, 300, 86_399]))
    def wait(self, seconds: int) -> None:
        self.world.pass_time(seconds=seconds)

    @rule()
    def restart(self) -> None:
        """Nothing that counts lives in the process."""
        now, courier = self.world.now, self.world.courier
        self.world.close()
        self.seed += 1
        self.world = self.opened(now=now, courier=courier)

    @invariant()
    def nobody_is_verified_without_a_code_that_came_back(self) -> None:
        done = {(one["service"], one["user"]) for one in self.challenges if one["done"]}
        for service, user_id, _ in getattr(self, "users", []):
            state = self.world.registrar.get(service, user_id).state
            assert (state is State.VERIFIED) == ((service, user_id) in done)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_limits_of_codes_hold_whatever_is_done_in_whatever_order(
    small_dir: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    """R8, on both engines, against an oracle that counts by itself."""
    new_url = request.getfixturevalue("server").new_database if engine == "postgresql" else lambda: None
    machine = type("CodesHere", (Codes,), {"data_dir": small_dir, "new_url": staticmethod(new_url)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
