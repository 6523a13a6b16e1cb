"""An act over the API is told in the chain with the name of who called."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.v1 import caller_pb2, caller_pb2_grpc, numbering_pb2, numbering_pb2_grpc
from tests.access import calls
from tests.access.node import ALPHA, CALLERS, FIRST, NOW, SecureNode, secure_node
from tests.api.calls import DEADLINE_S


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SecureNode]:
    with secure_node(tmp_path) as one:
        yield one


def test_a_push_its_confirmation_its_rejection_a_forced_one_and_a_caller_are_told_with_the_callers_name(
    node: SecureNode,
) -> None:
    older = Timestamp()
    older.FromDatetime(NOW - timedelta(days=9))
    for prepare in (calls.push, calls.confirm, calls.reject):
        call = prepare(node, ALPHA)
        with node.channel("alpha") as channel:
            call(channel)
    header = numbering_pb2.PushHeader(
        operator_id=ALPHA,
        mode=numbering_pb2.PUSH_MODE_DELTA,
        base_version=node.store.sets.head(ALPHA).version,
        data_time=older,
        allow_older=True,
    )
    request = numbering_pb2.PushActiveNumbersRequest(header=header, add=[FIRST + 5_000])
    with node.channel("alpha") as channel:
        numbering_pb2_grpc.NumberingServiceStub(channel).PushActiveNumbers(iter([request]), timeout=DEADLINE_S)
    added = caller_pb2.Caller(uri="numcheck://new", role=caller_pb2.ROLE_AUDITOR)
    with node.channel("administrator") as channel:
        stub = caller_pb2_grpc.CallerServiceStub(channel)
        stub.AddCaller(caller_pb2.AddCallerRequest(caller=added), timeout=DEADLINE_S)
    told = [(event.kind, json.loads(event.details)["by"]) for event in node.store.events().all() if not event.service]
    alpha, administrator = CALLERS["alpha"].uri, CALLERS["administrator"].uri
    assert told == [
        ("data_bound", "local"),
        ("set_replaced", "local"),
        ("push_applied", alpha),
        ("set_replaced", "local"),
        ("push_held", administrator),
        ("push_confirmed", alpha),
        ("set_replaced", "local"),
        ("push_held", administrator),
        ("push_rejected", alpha),
        ("push_forced", alpha),
        ("caller_added", administrator),
    ]
