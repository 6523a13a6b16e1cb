"""Nodes that share a PostgreSQL database: what is pushed to one is seen on every other, whoever is restarted."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import grpc
import pytest

from numcheck.v1 import check_pb2, number_pb2, numbering_pb2
from tests.api.calls import DEADLINE_S, refusal
from tests.numbering.node import FIRST, Node, import_plan, start
from tests.numbering.test_portings import facts, operators, push_active, wait_for

ACTIVE, UNKNOWN = number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_UNKNOWN
ALPHA = "7740000076"
RETRY_S = 0.1


@pytest.fixture
def url(server, tmp_path) -> str:
    """A database with the plan of two operators."""
    one = server.new_database()
    import_plan(tmp_path / "first", tmp_path / "plan.csv", one)
    return one


@pytest.fixture
def begin(url, tmp_path, monkeypatch) -> Iterator[Callable[[str], Node]]:
    """Starts a node with a data directory of its own; all of them have the keys of the first."""
    monkeypatch.setenv("NUMCHECK_KEYS_FILE", str(tmp_path / "first" / "keys.json"))
    with ExitStack() as nodes:

        def one(name: str) -> Node:
            data_dir, key = tmp_path / name, tmp_path / "first" / "token.key"
            data_dir.mkdir(exist_ok=True)
            if key.exists() and not (data_dir / key.name).exists():
                shutil.copy(key, data_dir)
            node = start(data_dir, url)
            nodes.callback(node.kill)
            return node

        yield one


def test_push_to_one_node_is_visible_on_the_other(begin):
    """And `min_index_version` of the one is honoured by the other."""
    first, second = begin("first"), begin("second")
    operator_id = operators(first)[ALPHA]
    for count in range(1, 6):
        version = push_active(first, operator_id, [FIRST + count], count - 1)
        wait_for(second, version)
        request = check_pb2.CheckNumbersRequest(numbers=[FIRST + count], min_index_version=version)
        assert list(second.check.CheckNumbers(request, timeout=DEADLINE_S).statuses) == [ACTIVE]


def test_of_pushes_to_two_nodes_at_once_one_is_refused(begin):
    """Both streams are open before either ends, again and again: one is applied, and the other is told why not."""
    nodes = begin("first"), begin("second")
    operator_id, together = operators(nodes[0])[ALPHA], Barrier(2)

    def requests(place: int, base_version: int) -> Iterator[numbering_pb2.PushActiveNumbersRequest]:
        header = numbering_pb2.PushHeader(
            operator_id=operator_id, mode=numbering_pb2.PUSH_MODE_DELTA, base_version=base_version
        )
        header.data_time.FromSeconds(1_750_000_000)
        yield numbering_pb2.PushActiveNumbersRequest(header=header, add=[FIRST + place])
        together.wait(DEADLINE_S)

    def outcome(node: Node, place: int, base_version: int) -> str:
        call = node.numbering.PushActiveNumbers.future(requests(place, base_version), timeout=DEADLINE_S)
        return "" if call.code() is grpc.StatusCode.OK else refusal(call.result).reason

    with ThreadPoolExecutor(2) as callers:
        for turn in range(5):
            calls = [callers.submit(outcome, node, 2 * turn + which, turn) for which, node in enumerate(nodes)]
            told = sorted(call.result() for call in calls)
            # The one that had not been read yet when the other was committed starts from a head that is none any more.
            assert told[0] == ""
            assert told[1] in ("CONCURRENT_PUSH", "STALE_BASE")
    states = [
        one.numbering.GetOperatorState(numbering_pb2.GetOperatorStateRequest(operator_id=operator_id)) for one in nodes
    ]
    assert states[0] == states[1]
    assert (states[0].version, states[0].number_count) == (5, 5)


def test_head_that_another_node_moved_is_told(begin):
    """A push that starts from an older one is refused, on whichever node."""
    first, second = begin("first"), begin("second")
    operator_id = operators(first)[ALPHA]
    push_active(first, operator_id, [FIRST])
    refused = refusal(lambda: push_active(second, operator_id, [FIRST + 1]))
    assert (refused.reason, refused.metadata) == ("STALE_BASE", {"head_version": "1"})
    push_active(second, operator_id, [FIRST + 1], 1)
    states = [
        one.numbering.GetOperatorState(numbering_pb2.GetOperatorStateRequest(operator_id=operator_id))
        for one in (first, second)
    ]
    assert states[0] == states[1]
    assert states[0].number_count == 2


def test_node_that_is_killed_comes_back_to_what_was_pushed_meanwhile(begin):
    first, second = begin("first"), begin("second")
    operator_id = operators(first)[ALPHA]
    second.kill()
    push_active(first, operator_id, [FIRST])
    assert facts(begin("second"), FIRST).status == ACTIVE


def test_checks_go_on_and_pushes_are_unavailable_while_the_database_is_away(begin, server):
    """Refused with a delay to repeat after; once it is back the same push is taken, and both nodes follow."""
    first, second = begin("first"), begin("second")
    operator_id = operators(first)[ALPHA]
    wait_for(second, push_active(first, operator_id, [FIRST]))
    server.stop()
    try:
        refused = refusal(lambda: push_active(first, operator_id, [FIRST + 1], 1))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert refused.retry_delay_s is not None
        assert [facts(node, FIRST).status for node in (first, second)] == [ACTIVE, ACTIVE]
    finally:
        server.start()
    version = push_active(first, operator_id, [FIRST + 1], 1)
    for node in (first, second):
        wait_for(node, version)
        assert facts(node, FIRST + 1).status == ACTIVE
