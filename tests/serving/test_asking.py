"""How many numbers callers ask about: counted at both doors, and told of in the log."""

from collections import Counter

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from numcheck.access import Caller, Role
from numcheck.access.rules import local_user
from numcheck.api.asking import answered_count, asker_name
from numcheck.serving.asking import INTERVALS, AskingLog
from numcheck.v1 import check_pb2, check_pb2_grpc, registration_pb2, registration_pb2_grpc
from tests.access import calls
from tests.access.node import FIRST, secure_node
from tests.api.calls import DEADLINE_S


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        (Caller("numcheck://a", Role.MESSENGER, service="chat"), "chat"),
        (Caller("numcheck://b", Role.ADMINISTRATOR), "administrator"),
        (local_user(1_000), "loopback"),
        (local_user(None), "loopback"),
    ],
)
def test_caller_is_counted_by_service_place_or_role(caller, name):
    assert asker_name(caller) == name


@given(st.lists(st.integers(0, 6), max_size=400), st.integers(0, 2**63), st.integers(0, 2**63))
def test_numbers_of_an_answer_are_those_of_its_message(statuses, version, request_id):
    message = check_pb2.CheckNumbersResponse(statuses=statuses, index_version=version, request_id=request_id)
    assert answered_count(message.SerializeToString()) == len(statuses)


def test_each_listener_counts_by_service(tmp_path):
    """Two services on each; a batch counts its numbers, a stream each message, a single check one."""
    with secure_node(tmp_path) as node:
        for listener in node.asked:
            for name, count in (("messenger", 3), ("other", 5)):
                request = check_pb2.CheckNumbersRequest(numbers=range(FIRST, FIRST + count))
                with node.channel(name, listener=listener) as channel:
                    stub = check_pb2_grpc.CheckServiceStub(channel)
                    stub.CheckNumbers(request, timeout=DEADLINE_S)
                    assert len(list(stub.StreamCheckNumbers(iter([request, request]), timeout=DEADLINE_S))) == 2
                    stub.CheckNumber(check_pb2.CheckNumberRequest(number=f"+{FIRST}"), timeout=DEADLINE_S)
                    with pytest.raises(grpc.RpcError):
                        stub.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[1] * 70_000), timeout=DEADLINE_S)
            assert node.asked[listener]() == Counter({"chat": 10, "other": 16})


def test_numbers_that_users_bring_count_as_asked_about(tmp_path):
    """The fate of a user, and of an imported row, tells something of their number; a request that is refused
    before anything is looked up tells nothing."""
    with secure_node(tmp_path) as node:
        for listener in node.asked:
            with node.channel("messenger", listener=listener) as channel:
                stub = registration_pb2_grpc.RegistrationServiceStub(channel)
                made = calls.register_request("chat")
                stub.Register(made, timeout=DEADLINE_S)
                fields = {"service": "chat", "user_id": made.user_id, "number": made.number}
                changed = registration_pb2.ChangeNumberRequest(**fields, network_address=calls.ADDRESS)
                stub.ChangeNumber(changed, timeout=DEADLINE_S)
                for call, bad in ((stub.Register, made), (stub.ChangeNumber, changed)):
                    bad.request_id = "r" * 129
                    with pytest.raises(grpc.RpcError):
                        call(bad, timeout=DEADLINE_S)
                request = registration_pb2.ImportRegistrationsRequest()
                request.header.service, request.header.import_id = "chat", listener
                for user in range(7):
                    request.rows.add(user_id=f"{listener}-{user}", number=f"+{FIRST + user}")
                assert len(list(stub.ImportRegistrations(iter([request]), timeout=DEADLINE_S))) == 2
        assert node.asked["api"]() == Counter({"chat": 9 * len(node.asked)})


def test_caller_that_asks_about_too_many_numbers_in_an_hour_is_told_of_once_a_minute():
    counts: Counter[str] = Counter()
    asking = AskingLog(lambda: Counter(counts), 1_000, interval_s=3_600)
    try:
        with capture_logs() as logs:
            counts.update({"chat": 1_000, "other": 500})
            asking.look()
            assert logs == []
            counts.update({"chat": 1})
            asking.look()
            assert [(one["event"], one["caller"], one["numbers"]) for one in logs] == [
                ("a caller asks about many numbers", "chat", 1_001)
            ]
            asking.look()
            assert len(logs) == 1, "who has stopped is told of no more"
            for number in range(INTERVALS - 3):
                counts.update({"chat": 1})
                asking.look()
                assert logs[-1]["numbers"] == 1_002 + number
            assert len(logs) == INTERVALS - 2
            counts.update({"chat": 1})
            asking.look()
            asking.look()
            assert len(logs) == INTERVALS - 2, "what was asked an hour ago counts no longer"
    finally:
        asking.close()
