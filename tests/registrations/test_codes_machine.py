"""R8, whatever is done in whatever order: a state machine beside an oracle that counts by itself."""

import shutil
import tempfile
from collections.abc import Callable
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
from numcheck.identity.codes import SendBounds
from numcheck.identity.registration import Outcome
from numcheck.identity.states import RegistrationState as State
from tests.registrations.by_code import BY_CODE, NUMBER, complete, last_code, other_than, record_of, start
from tests.registrations.world import World


class Codes(RuleBasedStateMachine):
    """Two services, two numbers, four users. The oracle counts by itself, from the limits' words alone."""

    data_dir: Path
    new_url: Callable[[], str | None]

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp()) / "var"
        shutil.copytree(self.data_dir, self.directory)
        self.seed, self.url = 0, type(self).new_url()
        self.world = self.opened()
        self.sends: dict[int, list[datetime]] = {NUMBER: [], NUMBER + 1: []}
        self.wrong: dict[int, list[datetime]] = {NUMBER: [], NUMBER + 1: []}
        self.challenges: list[dict] = []
        self.verified: set[tuple[str, str]] = set()

    def opened(self, **fields: Any) -> World:
        return World(self.directory, bounds=SendBounds(10**6, 10**6), seed=self.seed, url=self.url, **BY_CODE, **fields)

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.directory.parent)

    @initialize()
    def register(self) -> None:
        self.users = [(f"s{place % 2}", f"u{place}", NUMBER + place // 2) for place in range(4)]
        for service, user_id, number in self.users:
            outcome = self.world.registrar.register(service, "", record_of(user_id, number))
            self.sent_or_refused(service, user_id, number, outcome if outcome.verification else None)

    def next_send(self, number: int) -> datetime:
        """When the limits' words let the next code be sent."""
        recent = [at for at in self.sends[number] if at > self.world.now - timedelta(days=1)]
        if not recent:
            return self.world.now
        if len(recent) >= 5:
            return recent[-5] + timedelta(days=1)
        return recent[-1] + timedelta(seconds=[60, 120, 300, 600][len(recent) - 1])

    def sent_or_refused(self, service: str, user_id: str, number: int, outcome: Outcome | None) -> None:
        assert (outcome is not None) == (self.next_send(number) <= self.world.now)
        if outcome is None:
            return
        assert outcome.verification is not None
        self.sends[number].append(self.world.now)
        for one in self.challenges:
            if one["service"] == service and (one["number"] == number or one["user"] == user_id):
                one["live"] = False
        self.challenges.append(
            {
                "service": service, "user": user_id, "number": number, "live": True, "tries": 0, "done": False,
                "until": self.world.now + timedelta(seconds=300), "outcome": outcome, "code": last_code(self.world),
            }
        )  # fmt: skip

    @rule(user=st.integers(0, 3))
    def ask_for_a_code(self, user: int) -> None:
        service, user_id, number = self.users[user]
        try:
            outcome = start(self.world, user_id, service)
        except TooManyCodes:
            outcome = None
        self.sent_or_refused(service, user_id, number, outcome)

    @rule(user=st.integers(0, 3), early_us=st.sampled_from([0, 1, 1_000_000]))
    def ask_as_soon_as_it_may_be(self, user: int, early_us: int) -> None:
        """Or a moment sooner."""
        number = self.users[user][2]
        self.world.now = max(self.world.now, self.next_send(number) - timedelta(microseconds=early_us))
        self.ask_for_a_code(user)

    @precondition(lambda self: self.challenges)
    @rule(challenge=st.integers(0, 3), rights=st.lists(st.sampled_from([False, False, False, True]), max_size=5))
    def guess(self, challenge: int, rights: list[bool]) -> None:
        one = self.challenges[-1 - challenge % len(self.challenges)]
        for right in rights:
            self.guess_once(one, right)

    @precondition(lambda self: self.challenges)
    @rule(user=st.integers(0, 3), wrong=st.sampled_from([1, 3, 3, 3]))
    def guess_wrong_and_then_right(self, user: int, wrong: int) -> None:
        self.ask_as_soon_as_it_may_be(user, 0)
        self.guess(0, [False] * wrong + [True])

    @precondition(lambda self: self.challenges)
    @rule(late_us=st.sampled_from([-1, 0, 1]))
    def guess_at_the_last_moment(self, late_us: int) -> None:
        one = self.challenges[-1]
        self.world.now = max(self.world.now, one["until"] + timedelta(microseconds=late_us))
        self.guess_once(one, True)

    def guess_once(self, one: dict[str, Any], right: bool) -> None:
        recent_wrong = [at for at in self.wrong[one["number"]] if at > self.world.now - timedelta(days=1)]
        newest = [other for other in self.challenges if other["user"] == one["user"]][-1] is one
        counted = one["live"] and not one["done"] and self.world.now < one["until"]
        counted = counted and one["tries"] < 3 and len(recent_wrong) < 10
        code = one["code"] if right else other_than(one["code"])
        accepted = complete(self.world, one["outcome"], code, one["service"])
        assert accepted == (right and (counted or (one["done"] and newest)))
        if counted:
            one["tries"] += 1
            one["done"] = accepted
            if not accepted:
                self.wrong[one["number"]].append(self.world.now)

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
