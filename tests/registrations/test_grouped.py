"""Calls whose operations share transactions, beside the same calls with a transaction for each: nothing tells them
apart."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from numcheck.errors import NumcheckError
from numcheck.offline.audit import verify_events
from numcheck.registrations import codes
from numcheck.registrations.proofs import CodeProof
from numcheck.registrations.record import NetworkAddress
from numcheck.registrations.registration import Outcome, Registration
from numcheck.steps import Alone, Step, Steps, advanced, outcome_of, outcomes_of
from numcheck.store.bulk import fetch
from tests.registrations.by_code import other_than, record_of
from tests.registrations.world import ADDRESS, KEYS, World, bounds_of, recorded, small

ELSEWHERE = NetworkAddress("198.51.100.9", 40_001)
USERS = {
    "u0": (0, ADDRESS),
    "u1": (0, ADDRESS),
    "u2": (0, ELSEWHERE),
    "u3": (1, ADDRESS),
}  # each with the place of its number, two of them on one from one network
BOUNDS = bounds_of(number_max=8, block_max=10, network_max=5, rate_max=9)
POLICY = {"users_per_number_max": 1, "data_age_max": None}
TABLES = {
    "registrations": "registration_id, service, user_tag, number_tag, sealed_record, state, due_at_us, next_at_us, "
    "evidence, proofs, verification_id, as_of_revision, content",
    "verifications": "verification_id, registration_id, state, tries, given, channel, sealed_change",
    "code_sends": "verification_id, number_tag, user_tag, network_tag, completed",
    "code_tries": "number_tag, user_tag, network_tag, at_us, wrong",
    "events": "at_us, service, registration_id, kind, state, details",
}
CALLS = ["register", "start", "start", "right", "right", "right", "wrong", "wrong", "refresh", "change", "delete"]
Asked = tuple[str, str]
OTHERS = [("refresh", "u3"), ("refresh", "u3")]  # behind two calls, which take each step in one transaction


class Courier:
    """Keeps codes by their verifications."""

    channels = frozenset({"sms"})

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}

    def send(self, _number: int, to_send: Any, *, service: str, message_id: str) -> str:
        self.codes[message_id] = to_send.code
        return "sms"


class Installation:
    """A world in which many calls go on at once."""

    def __init__(self, data_dir: Path, url: str | None) -> None:
        self.world = World(data_dir, methods="code,operator", policy=POLICY, bounds=BOUNDS, url=url, courier=Courier())
        self._verifications = dict[tuple[str, str], bytes]()  # the newest of a user of a service

    def at_once(self, service: str, first_number: int, asked: Sequence[Asked]) -> list[Any]:
        """Make calls about users, a step of all of them at a time; what each comes to."""
        calls = [self._call(service, first_number, *one) for one in asked]
        told = outcomes(calls)
        for (_, user_id), one in zip(asked, told, strict=True):
            if isinstance(one, Outcome) and one.verification is not None and one.verification.verification_id:
                self._verifications[service, user_id] = one.verification.verification_id
        return list(map(comparable, told))

    def _call(self, service: str, first_number: int, what: str, user_id: str) -> Steps[Any]:
        rules, (place, address) = self.world.rules_of_registrations, USERS[user_id]
        match what:
            case "register":
                return rules.register(service, "", record_of(user_id, first_number + place, address))
            case "start":
                return rules.verify(service, user_id, method=None, network_address=address)
            case "refresh":
                return rules.refresh(service, user_id, address, {"a": "c"})
            case "change":
                return rules.change_number(service, user_id, first_number + 2, address)
            case "delete":
                return rules.delete(service, user_id)
        verification_id = self._verifications.get((service, user_id), bytes(16))
        code = self.world.courier.codes.get(verification_id.hex(), "000000")  # type: ignore[union-attr]
        proof = CodeProof(code if what == "right" else other_than(code))
        return self.world.rules_of_proofs.complete(service, verification_id, proof)

    def rows(self, service: str) -> dict[str, list[Any]]:
        """All that the store has of a service."""
        of_service = "registration_id IN (SELECT registration_id FROM registrations WHERE service = ?)"

        def read(work: Any) -> dict[str, list[Any]]:
            return {
                table: fetch(
                    work._connection,
                    f"SELECT {columns} FROM {table} WHERE {'service = ?' if table != 'verifications' else of_service} "
                    f"ORDER BY {'sequence' if table == 'events' else columns}",
                    service,
                )
                for table, columns in TABLES.items()
            }

        return self.world.registrations.write(read)


def outcomes(calls: Sequence[Steps[Any]]) -> list[Any]:
    """Run calls, a step of all of them at a time, and one step that waits for others when there is no other."""
    told: list[Any] = [None] * len(calls)
    ready: list[tuple[int, Any]] = [(place, None) for place in range(len(calls) // 2)]
    coming = [(place, None) for place in range(len(calls) // 2, len(calls))]  # a step behind the others
    alone: list[tuple[int, Alone]] = []
    while ready or coming or alone:
        together = defaultdict[Any, list[tuple[int, Any]]](list)
        for place, outcome in ready:
            try:
                step: Step = advanced(calls[place], outcome)
            except StopIteration as end:
                told[place] = end.value
            except NumcheckError as error:
                told[place] = error
            else:
                if isinstance(step, Alone):
                    alone.append((place, step))
                else:
                    together[step.run].append((place, step.argument))
        ready = []
        for run, steps in together.items():
            ready += zip([place for place, _ in steps], outcomes_of(run, [one for _, one in steps]), strict=True)
        ready, coming = [*ready, *coming], []
        if not ready and alone:
            place, step = alone.pop(0)
            ready = [(place, outcome_of(step))]
    return told


def comparable(told: Any) -> Any:
    if isinstance(told, NumcheckError):
        return type(told), str(told), vars(told)
    if isinstance(told, Outcome):
        return recorded(told.registration), told.verification, told.problem
    return recorded(told) if isinstance(told, Registration) else told


@pytest.fixture
def both(small_dir: Path, tmp_path: Path, url: str | None, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Two installations: one whose operations share transactions, one that gives each its own and looks ahead for
    none."""
    urls = url, None if url is None else request.getfixturevalue("server").new_database()
    made = []
    for place, own in enumerate(urls):
        one = Installation(shutil.copytree(small_dir, tmp_path / f"var{place}"), own)
        if own is not None:
            small.fill_store(one.world.store)
        made.append(one)
    each = made[1].world.registrations
    groups = each._groups
    each.write_each = lambda operations: [  # type: ignore[method-assign]
        groups.run_each([one._replace(needs=None)])[0] for one in operations
    ]
    yield SimpleNamespace(grouped=made[0], each=made[1], count=0)
    for one in made:
        one.world.close()


WAVES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(sorted(USERS))), min_size=2, max_size=10),
        st.sampled_from([0, 61, 400]),
    ),
    min_size=2,
    max_size=4,
)


def test_operations_of_a_group_come_to_what_they_would_come_to_alone(
    both: Any, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I.2a, R8, R10: whatever two of them write about one user, number or network."""
    monkeypatch.setattr(codes, "RESEND_DELAYS", (timedelta(0),) * 4)
    monkeypatch.setattr(codes, "WRONG_TRIES_MAX", 2)
    monkeypatch.setattr(codes, "TRIES_MAX", 1)

    @settings(max_examples=10 if url is None else 3, deadline=None, derandomize=True)
    @given(WAVES)
    @example([([("right", "u0")], 61), ([("start", "u0"), ("start", "u0"), *OTHERS], 0)])
    @example([([("right", "u0"), ("right", "u2"), *OTHERS], 0)])
    @example([([("start", "u0"), ("start", "u1"), ("start", "u3"), *OTHERS, OTHERS[0]], 0)])
    @example([([("wrong", "u0")], 0), ([("start", "u0")], 0), ([("wrong", "u1"), ("right", "u0"), *OTHERS], 0)])
    @example([([("wrong", "u0")], 0), ([("start", "u0")], 0), ([("right", "u1"), ("right", "u0")], 0)])
    def compare(waves: list[tuple[list[Asked], int]]) -> None:
        both.count += 1
        service, first_number = f"s{both.count}", small.UNKNOWN + 10 * both.count
        everybody = [("register", user_id) for user_id in USERS]
        for asked, seconds in [(everybody, 61), *waves]:
            assert both.grouped.at_once(service, first_number, asked) == both.each.at_once(service, first_number, asked)
            for one in (both.grouped, both.each):
                one.world.pass_time(seconds=seconds)
        assert both.grouped.rows(service) == both.each.rows(service)

    compare()
    for one in (both.grouped, both.each):
        assert verify_events(one.world.store, KEYS, None).event_count
