"""Which way a code goes: by the channel and in the language that a request names, or those of the service."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from numcheck.errors import MethodNotAllowed
from numcheck.registrations.policy import Method
from numcheck.registrations.registration import CodeToSend, Outcome
from numcheck.registrations.ways import Way
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import refusal
from tests.delivery.gateway import gateway_running
from tests.registrations.by_code import NUMBER, complete, last_code, record_of, start
from tests.registrations.test_service import register_request
from tests.registrations.world import SERVICE, Courier, World
from tests.serving import small
from tests.serving.command import serving

USUAL = ("sms", "call")


@dataclass
class ManyWays(Courier):
    """Takes a code over the last channel that it is given: those before have failed."""

    channels = frozenset({"sms", "call", "push"})

    def send(self, number: int, to_send: CodeToSend, *, service: str, message_id: str) -> str:
        super().send(number, to_send, service=service, message_id=message_id)
        return to_send.channels[-1]


@pytest.fixture
def world(data_dir: Path) -> Iterator[World]:
    one = World(data_dir, methods="code", courier=ManyWays(), policy={"data_age_max": None, "code_channels": USUAL})
    yield one
    one.close()


def channel_of(outcome: Outcome) -> str:
    assert outcome.verification is not None
    return outcome.verification.channel


@pytest.mark.parametrize(
    ("wanted", "channels"),
    [("", ("sms", "call")), ("sms", ("sms", "call")), ("call", ("call",)), ("push", ("push",))],
)
def test_a_code_goes_by_what_is_asked_for_or_stands_behind_it(
    world: World, wanted: str, channels: tuple[str, ...]
) -> None:
    """Whoever asks for a channel that the service does not name falls back to none."""
    outcome = world.registrar.register(SERVICE, "r1", record_of("u1"), way=Way(wanted, "pt-BR"))
    assert world.courier is not None
    assert world.courier.ways == [CodeToSend(last_code(world), channels, "pt-BR")]
    assert channel_of(outcome) == channels[-1]
    again = world.registrar.register(SERVICE, "r1", record_of("u1"), way=Way(wanted, "pt-BR"))
    assert again.verification == outcome.verification
    assert complete(world, outcome, last_code(world))


def test_the_store_knows_which_codes_came_back(each_world: World) -> None:
    """By verification, of those that it has; what couriers are judged by."""
    each_world.methods = "code"
    outcomes = [each_world.register(NUMBER + place, f"u{place}") for place in range(2)]
    ids = [one.verification.verification_id for one in outcomes if one.verification is not None]
    assert complete(each_world, outcomes[1], last_code(each_world))
    assert each_world.registrations.came_back([*ids, bytes(16)]) == {ids[0]: False, ids[1]: True}
    assert each_world.registrations.came_back([]) == {}


def test_another_way_is_another_request(world: World) -> None:
    """A repetition is known by all that it says."""
    world.register(NUMBER)
    world.pass_time(minutes=2)
    first = start(world, way=Way("call", "ru"), request_id="s1")
    assert start(world, way=Way("call", "ru"), request_id="s1").verification == first.verification
    for way in (Way("call", "en"), Way("push", "ru")):
        with pytest.raises(Exception, match="another request"):
            start(world, way=way, request_id="s1")


def test_a_channel_that_no_courier_has_is_told_at_once(world: World) -> None:
    """With nothing sent; where one of several has a courier, the code goes there."""
    outcome = world.registrar.register(SERVICE, "", record_of("u1"), way=Way("pigeon"))
    assert (outcome.verification, outcome.problem) == (None, "METHOD_NOT_ALLOWED")
    with pytest.raises(MethodNotAllowed):
        start(world, method=Method.CODE, way=Way("pigeon"))
    assert world.courier is not None
    assert world.courier.sent == []


def test_a_node_sends_by_a_channel_of_any_name_in_the_language_of_the_request(data_dir: Path, tmp_path: Path) -> None:
    """Over the API: a name instead of a value of CodeChannel; what cannot be is refused by its field. New words are
    taken on SIGHUP."""
    with gateway_running() as gateway:
        file = tmp_path / "numcheck.toml"
        courier = f"""
            verification_methods = "code"
            [[couriers]]
            name = "messages"
            url = "{gateway.url}"
            channels = ["sms", "push"]
            form = {{ by = "{{channel}}", text = "{{text}}" }}
            [code_messages]
        """
        file.write_text(f"{courier}\nru = 'Kod {{code}}'\n")
        with serving(data_dir, "--config", file) as node, grpc.insecure_channel(node.address) as channel:
            stub = RegistrationServiceStub(channel)
            request = register_request("messenger", small.UNKNOWN, code_channel_name="push", language="ru-RU")
            assert stub.Register(request).verification.code_channel_name == "push"
            assert gateway.got[0].body.startswith(b"by=push&text=Kod+")
            for field, wrong in {
                "code_channel_name": {"code_channel_name": "Push!"},
                "code_channel_name ": {"code_channel_name": "flash_call"},
                "code_channel_name  ": {"code_channel_name": "push", "code_channel": pb.CODE_CHANNEL_SMS},
                "language": {"language": "x" * 36},
            }.items():
                other = register_request("messenger", small.UNKNOWN + 1, user_id="u2", **wrong)
                refused = refusal(lambda other=other: stub.Register(other))  # type: ignore[misc]
                assert refused.violations == [(field.strip(), "BAD_REGISTRATION")]
            file.write_text(f"{courier}\nru = 'Parol {{code}}'\n")
            node.process.signal(signal.SIGHUP)
            assert "code_messages" in node.process.line_with("the settings were read again")
            request = register_request("messenger", small.UNKNOWN + 1, user_id="u2", language="ru")
            assert stub.Register(request).verification.code_channel_name == "sms"
            assert gateway.got[1].body.startswith(b"by=sms&text=Parol+")
