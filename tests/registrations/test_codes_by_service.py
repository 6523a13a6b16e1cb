"""R8 and R10 over the wire: what one service's users do spends nothing of another's, from the first second."""

import itertools
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.api.calls import DEADLINE_S, Refusal, refusal
from tests.serving import small
from tests.serving.command import Node, serving

SETTINGS = """
verification_methods = "inbound,code"
code_delivery = "console"
codes_per_number_max = 2  # one of each service
codes_per_service_max = 50
[services.rated]
verification_methods = "code"
codes_per_service_max = 1
[services.networked]
verification_methods = "code"
codes_per_network_max = 3
[services.blocked]
verification_methods = "code"
codes_per_block_max = 3
"""
CODE, INBOUND = pb.VERIFICATION_METHOD_CODE, pb.VERIFICATION_METHOD_INBOUND
VERIFIED, PENDING = pb.REGISTRATION_STATE_VERIFIED, pb.REGISTRATION_STATE_PENDING
numbers = itertools.count(small.UNKNOWN)
users = itertools.count()


@pytest.fixture(scope="module")
def node(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("codes")
    (directory / "node.toml").write_text(SETTINGS)
    data_dir = shutil.copytree(small_dir, directory / "var")
    with serving(data_dir, "--config", directory / "node.toml") as one:
        yield one


@pytest.fixture(scope="module")
def stub(node: Node) -> Iterator[RegistrationServiceStub]:
    with grpc.insecure_channel(node.address) as channel:
        yield RegistrationServiceStub(channel)


def register(
    stub: RegistrationServiceStub, service: str, number: int, address: str = "192.0.2.7"
) -> pb.RegisterResponse:
    """Register a new user of the number."""
    user_id = f"u{next(users)}"
    request = pb.RegisterRequest(
        service=service,
        user_id=user_id,
        number=f"+{number}",
        network_address=pb.NetworkAddress(address=address, port=5000),
        registration_data={"name": "as they typed it"},
    )
    return stub.Register(request, timeout=DEADLINE_S)


def start(stub: RegistrationServiceStub, made: pb.RegisterResponse, method: int) -> pb.Verification:
    """Start a verification of who was registered."""
    one = made.registration
    request = pb.StartVerificationRequest(service=one.service, user_id=one.user_id, method=method)  # type: ignore[arg-type]
    return stub.StartVerification(request, timeout=DEADLINE_S).verification


def give_word(stub: RegistrationServiceStub, service: str, begun: pb.Verification, number: int, word: str) -> int:
    """Report the word as a message from the number; the state that comes of it."""
    at = Timestamp()
    at.GetCurrentTime()
    act = pb.InboundAct(from_number=f"+{number}", text=word, received_at=at)
    request = pb.CompleteVerificationRequest(service=service, verification_id=begun.verification_id, inbound_act=act)
    return stub.CompleteVerification(request, timeout=DEADLINE_S).registration.state


def refused_until_a_whole(step_s: int | None, call: Callable[[], object]) -> Refusal:
    """The refusal of a call that may be repeated at a whole minute or hour, about a day later: None, at any moment."""
    before_s = time.time()
    refused = refusal(call)
    after_s = time.time()
    assert refused.retry_delay_s is not None
    if step_s is not None:
        assert refused.retry_delay_s > 80_000
        # One lies between the two, or this machine's calls are slower than can be told.
        assert (before_s + refused.retry_delay_s - 0.001) // step_s != (after_s + refused.retry_delay_s) // step_s
    return refused


def code_sent(node: Node, number: int) -> str:
    """The one code that was sent to the number."""
    found = re.search(r": (\d{6})$", node.process.line_with(f"ends in {number % 10_000:04},"))
    assert found is not None
    return found[1]


def test_wrong_proofs_of_one_service_lock_nobody_of_another(stub: RegistrationServiceStub) -> None:
    """R8: ten wrong words end the day of a user in one service; in another the same number is verified, as is another
    user of it in the first."""
    number = next(numbers)
    made = register(stub, "noisy", number)
    for times in (3, 3, 3, 1):
        begun = start(stub, made, INBOUND)
        for _ in range(times):
            found = refusal(lambda begun=begun: give_word(stub, "noisy", begun, number, "QQQQQQ"))
            assert found.reason == "PROOF_NOT_ACCEPTED"
    begun = start(stub, made, INBOUND)
    right = refusal(lambda: give_word(stub, "noisy", begun, number, begun.inbound_word))
    assert right.reason == "PROOF_NOT_ACCEPTED"
    for service in ("quiet", "noisy"):
        begun = start(stub, register(stub, service, number), INBOUND)
        assert give_word(stub, service, begun, number, begun.inbound_word) == VERIFIED


def test_a_live_proof_stays_good_when_somebody_else_begins(node: Node, stub: RegistrationServiceStub) -> None:
    """R8: the stranger, who has neither a code nor the word, gets nothing by it either."""
    number = next(numbers)
    holder, stranger = register(stub, "live", number), register(stub, "live", number)
    begun = start(stub, holder, CODE)
    code = code_sent(node, number)
    refused = refusal(lambda: start(stub, stranger, CODE))
    assert (refused.reason, refused.metadata) == ("TOO_MANY_CODES", {"limit": "number"})
    theirs = start(stub, stranger, INBOUND)
    assert refusal(lambda: give_word(stub, "live", theirs, number, "QQQQQQ")).reason == "PROOF_NOT_ACCEPTED"
    given = pb.CompleteVerificationRequest(service="live", verification_id=begun.verification_id, code=code)
    assert stub.CompleteVerification(given, timeout=DEADLINE_S).registration.state == VERIFIED
    asked = pb.GetRegistrationRequest(service="live", user_id=stranger.registration.user_id)
    assert stub.GetRegistration(asked, timeout=DEADLINE_S).registration.state == PENDING


@pytest.mark.parametrize(
    ("service", "limit", "sent_max", "step_s"),
    [("rated", "rate", None, None), ("networked", "network", 3, 60), ("blocked", "block", 3, 60)],
)
def test_each_service_has_its_own_bounds_from_the_first_second(
    stub: RegistrationServiceStub, service: str, limit: str, sent_max: int | None, step_s: int | None
) -> None:
    """R10: as its table of the settings says; the refusal says which limit, and a wait that other users caused ends at
    a whole minute. Another service's codes for the same network and block are sent."""
    address, sent = f"198.51.100.{len(service)}", 0
    while (made := register(stub, service, next(numbers), address)).HasField("verification"):
        sent += 1
    assert made.verification_problem == "TOO_MANY_CODES"
    assert sent == (sent_max or sent) > 0
    refused = refused_until_a_whole(step_s, lambda: start(stub, made, CODE))
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CODES")
    assert refused.metadata == {"limit": limit}
    assert start(stub, register(stub, "free", next(numbers), address), CODE).verification_id


def test_a_service_learns_in_whole_hours_alone_that_others_sent_codes(stub: RegistrationServiceStub) -> None:
    """R10: a number gets two codes of all services; the third service is told when to ask again, and not when they were
    sent."""
    number = next(numbers)
    for service in ("one", "two"):
        assert start(stub, register(stub, service, number), CODE).verification_id
    third = register(stub, "three", number)
    assert refused_until_a_whole(3_600, lambda: start(stub, third, CODE)).metadata == {"limit": "number_total"}
