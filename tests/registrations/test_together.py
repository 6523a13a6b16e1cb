"""Calls at once, at the public boundary: they share transactions and reads, and each gets what it would get alone."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from numcheck.v1 import registration_pb2 as pb
from tests.api.calls import DEADLINE_S, refusal_of
from tests.registrations.test_service import register_request
from tests.serving import small
from tests.serving.command import Node, run, serving

SERVICE, CALLERS = "messenger", 64
SETTINGS = {"NUMCHECK_VERIFICATION_METHODS": "operator", "NUMCHECK_EVIDENCE_AGE_MAX_S": "0"}
PATH = "/numcheck.v1.RegistrationService/"
VERIFIED = pb.REGISTRATION_STATE_VERIFIED

Asked = tuple[str, bytes]


class Messenger:
    """A caller with many calls in flight."""

    def __init__(self, channels: list[grpc.Channel]) -> None:
        self._channels = channels  # of 32 calls each: as many as may wait however slow the machine is

    def begin(self, asked: list[Asked]) -> list[Any]:
        """Make all calls at once."""
        return [
            self._channels[place % len(self._channels)].unary_unary(PATH + method)
            .future(request, timeout=DEADLINE_S)
            for place, (method, request) in enumerate(asked)
        ]  # fmt: skip

    def at_once(self, asked: list[Asked]) -> list[bytes | str]:
        """Return what each call comes to: its answer, or the reason of the refusal."""
        return [outcome_of(call) for call in self.begin(asked)]


def outcome_of(call: Any) -> bytes | str:
    """Wait for a call: its answer, or the reason of the refusal."""
    error = call.exception()
    return call.result() if error is None else refusal_of(error).reason or error.code().name


@contextmanager
def calling(node: Node) -> Iterator[Messenger]:
    with ExitStack() as opened:
        yield Messenger(
            [
                opened.enter_context(grpc.insecure_channel(node.address, [("own", place)]))
                for place in range(CALLERS // 32)
            ]
        )


def registering(user_id: str, **fields: Any) -> Asked:
    return "Register", register_request(SERVICE, user_id=user_id, **fields).SerializeToString()


def getting(user_id: str) -> Asked:
    return "GetRegistration", pb.GetRegistrationRequest(service=SERVICE, user_id=user_id).SerializeToString()


def registered(answer: bytes | str) -> pb.Registration:
    assert isinstance(answer, bytes), answer
    return pb.RegisterResponse.FromString(answer).registration


def test_each_of_64_callers_at_once_gets_its_own_answer(data_dir: Path) -> None:
    """Right, repeated, contradicting, wrong and broken requests are mixed; what was acknowledged is read at once."""
    unknown = pb.CompleteVerificationRequest(service=SERVICE, verification_id="00" * 16, code="123456")
    kinds: dict[str, Callable[[int], Asked]] = {
        "new": lambda place: registering(f"new-{place}"),
        "repeated": lambda _: registering("repeated", request_id="r1"),
        "contradicting": lambda place: registering("contradicting", identifier={"login": str(place)}),
        "allotted to nobody": lambda place: registering(f"none-{place}", number=small.UNALLOCATED),
        "broken": lambda place: ("Register", b"\x0a\xff%d" % place),
        "proof of nothing": lambda _: ("CompleteVerification", unknown.SerializeToString()),
        "not there": lambda _: ("DeleteRegistration", getting("nobody")[1]),
        "of too much": lambda place: registering(f"much-{place}", registration_data={"name": "x" * 16_385}),
    }
    names = [name for _ in range(CALLERS // len(kinds)) for name in kinds]
    with serving(data_dir, env=SETTINGS) as node, calling(node) as messenger:
        answers = messenger.at_once([kinds[name](place) for place, name in enumerate(names)])
        users = [f"new-{place}" for place, name in enumerate(names) if name == "new"]
        read = messenger.at_once([getting(user) for user in [*users, "repeated", "contradicting", "none-3"]])
    by_kind = {name: [one for own, one in zip(names, answers, strict=True) if own == name] for name in kinds}
    made = [registered(one) for one in by_kind["new"]]
    assert [(one.user_id, one.state) for one in made] == [(user, VERIFIED) for user in users]
    assert len({registered(one).registration_id for one in by_kind["repeated"]}) == 1
    first = [registered(one) for one in by_kind["contradicting"] if isinstance(one, bytes)]
    assert len(first) == 1
    assert Counter(one for one in by_kind["contradicting"] if isinstance(one, str)) == {"REGISTRATION_EXISTS": 7}
    for name, reason in (
        ("allotted to nobody", "NUMBER_NOT_ALLOTTED"),
        ("broken", "MALFORMED_MESSAGE"),
        ("proof of nothing", "PROOF_NOT_ACCEPTED"),
        ("not there", "UNKNOWN_REGISTRATION"),
        ("of too much", "BAD_REGISTRATION"),
    ):
        assert by_kind[name] == [reason] * 8, name
    expected = [*made, registered(by_kind["repeated"][0]), *first]
    assert [pb.GetRegistrationResponse.FromString(one).registration for one in read[:-1]] == expected  # type: ignore[arg-type]
    assert read[-1] == "UNKNOWN_REGISTRATION"


def test_group_that_a_kill_cuts_has_left_what_it_acknowledged_and_nothing_by_halves(data_dir: Path) -> None:
    """R1: every other user of the group is there, whole, or is not."""
    users = [f"u{place}" for place in range(4 * CALLERS)]
    with serving(data_dir, env=SETTINGS) as node, calling(node) as messenger:
        calls = messenger.begin([registering(user) for user in users])
        calls[CALLERS].result()
        node.process.signal(signal.SIGKILL)
        answers = {user: outcome_of(call) for user, call in zip(users, calls, strict=True)}
    acknowledged = {user: registered(one) for user, one in answers.items() if isinstance(one, bytes)}
    with serving(data_dir, env=SETTINGS) as node, calling(node) as messenger:
        found = {user: messenger.at_once([getting(user)])[0] for user in users}
    assert {one for one in found.values() if not isinstance(one, bytes)} <= {"UNKNOWN_REGISTRATION"}
    kept = {
        user: pb.GetRegistrationResponse.FromString(one).registration
        for user, one in found.items()
        if isinstance(one, bytes)
    }
    assert acknowledged
    assert {user: kept.get(user) for user in acknowledged} == acknowledged
    assert {one.state for one in kept.values()} == {VERIFIED}
    assert len(kept) + list(found.values()).count("UNKNOWN_REGISTRATION") == len(users)
    verified = run("events", "verify", "--data-dir", data_dir)
    assert verified.status == 0, verified.err


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_group_that_finds_the_database_away_is_told_so_and_the_next_is_written(
    url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server, data_dir = request.getfixturevalue("server"), small.fill(tmp_path / "var", url)
    asked = [registering(f"u{place}") for place in range(CALLERS)]
    with serving(data_dir, env={**SETTINGS, "NUMCHECK_DATABASE_URL": url}) as node, calling(node) as messenger:
        registered(messenger.at_once([registering("first")])[0])
        server.stop()
        assert messenger.at_once([*asked, getting("first")]) == ["STORE_UNAVAILABLE"] * (CALLERS + 1)
        server.start()
        answers = messenger.at_once(asked)
        assert [registered(one).user_id for one in answers] == [f"u{place}" for place in range(CALLERS)]
