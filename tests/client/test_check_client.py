"""The Python client: answers in order, batches read in the caller's thread, and every failure one error."""

import threading
import time

import grpc
import pytest

from numcheck.client import CheckClient
from numcheck.client.failures import refusal_of
from numcheck.config import Settings
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.errors import CheckRefused, NodeNotReady, NodeUnreachable
from numcheck.index import PublishedIndex, open_index
from numcheck.serving.publishing import index_directory
from numcheck.v1 import check_pb2, number_pb2
from tests.api.listeners import listening
from tests.serving import small

ACTIVE, INACTIVE = number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_INACTIVE


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    data_dir = small.fill(tmp_path_factory.mktemp("small"))
    return open_index(index_directory(data_dir))


@pytest.fixture
def listener(index):
    """A listener that answers from the small index."""
    published = PublishedIndex()
    published.publish(index)
    with listening(published) as (one, _):
        yield one


@pytest.fixture
def client(listener):
    with CheckClient(listener.address) as one:
        yield one


def test_number_is_asked_for_as_a_person_writes_it(client):
    answer = client.check_number("8 (916) 123-45-67")
    assert (answer.number, answer.status) == (small.ACTIVE, ACTIVE)


def test_operators_are_listed(client, index):
    assert [one.operator_id for one in client.list_operators()] == sorted(index.operators)


@pytest.mark.parametrize("batch_count", [0, 1, 2, 3, 50])
def test_batches_are_answered_each_in_its_order(client, index, batch_count):
    """Of any size, also none at all; as many answers as batches."""
    batches = [[small.ACTIVE] * place + [small.INACTIVE] for place in range(batch_count)]
    answers = list(client.check_batches(batches))
    assert [list(answer.statuses) for answer in answers] == [
        [ACTIVE] * place + [INACTIVE] for place in range(batch_count)
    ]
    assert {answer.index_version for answer in answers} <= {index.index_version}
    assert all(len(answer.operator_ids) == len(answer.statuses) for answer in answers)


def test_batches_are_made_in_the_callers_thread_and_only_a_few_ahead(client):
    """Whoever makes them may use what is the thread's own, and memory stays bounded however many there are."""
    made = []

    def batches():
        for place in range(20):
            made.append(threading.current_thread())
            yield [small.ACTIVE + place]

    for answered, _ in enumerate(client.check_batches(batches()), 1):
        assert len(made) <= answered + 2
    assert set(made) == {threading.current_thread()}


def test_error_of_who_makes_the_batches_is_his_own(client):
    """It comes through as it is, and the client works on."""

    def batches():
        yield [small.ACTIVE]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(client.check_batches(batches()))
    assert client.check_number("+79161234567").status == ACTIVE


def test_caller_may_stop_before_the_last_answer(client):
    """The stream ends with it, and another can be opened."""
    for _ in range(3):
        answers = client.check_batches([[small.ACTIVE]] * 10)
        assert list(next(answers).statuses) == [ACTIVE]
        answers.close()
    assert len(list(client.check_batches([[small.ACTIVE]] * 10))) == 10


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.check_number("+79161234567"),
        lambda client: client.list_operators(),
        lambda client: list(client.check_batches([[small.ACTIVE]])),
    ],
    ids=["check_number", "list_operators", "check_batches"],
)
def test_error_says_what_to_do_when_no_node_answers(ask):
    with CheckClient("127.0.0.1:1") as client, pytest.raises(NodeUnreachable) as raised:
        ask(client)
    assert str(raised.value) == "no node answers at 127.0.0.1:1; `numcheck serve` starts one"


def test_error_has_the_nodes_own_words_when_it_refuses(client):
    with pytest.raises(CheckRefused, match=r"^TOO_MANY_NUMBERS: 65,537 numbers in one request") as refused:
        list(client.check_batches([[small.ACTIVE], [0] * 65_537]))
    assert (refused.value.refusal, refused.value.retry_delay_s) == ("TOO_MANY_NUMBERS", None)
    with pytest.raises(CheckRefused, match=r"^NOT_A_NUMBER: the text cannot be read"):
        client.check_number("no number")


def test_error_comes_when_the_node_goes_away_midway(client, listener):
    """After the answers that it gave; not silently, as if there were no more."""
    answers = client.check_batches([small.ACTIVE] for _ in range(10**9))
    assert list(next(answers).statuses) == [ACTIVE]
    listener.stop(0)
    with pytest.raises(NodeUnreachable):
        all(answers)


def test_a_node_without_an_index_is_told_from_none():
    """The node is there: its own reason says so, and repeating helps."""
    with listening(PublishedIndex()) as (listener, _), CheckClient(listener.address) as client:
        for ask in (lambda: client.check_number("+79161234567"), lambda: list(client.check_batches([[1]]))):
            with pytest.raises(
                NodeNotReady, match="cannot answer this yet: this node has no index, or is building"
            ) as raised:
                ask()
            assert raised.value.node_reason == "INDEX_NOT_READY"


def test_a_node_that_is_behind_is_told_from_none(listener, index):
    request = check_pb2.CheckNumbersRequest(numbers=[small.ACTIVE], min_index_version=index.index_version + 1)
    with CheckClient(listener.address) as client, pytest.raises(grpc.RpcError) as raised:
        client._stub.CheckNumbers(request)
    failure = refusal_of(raised.value, listener.address, CheckRefused)
    assert isinstance(failure, NodeNotReady)
    assert failure.node_reason == "INDEX_BEHIND"


def test_a_node_that_ends_a_call_is_told_from_none(listener):
    """A stream that was never answered is not asked for again: the error says that the connection ended."""
    held = threading.Event()

    def batches():
        held.wait(10)
        yield [small.ACTIVE]

    def stop():
        listener.stop(0)
        held.set()

    with CheckClient(listener.address) as client:
        client.list_operators()
        stopper = threading.Timer(0.2, stop)
        stopper.start()
        with pytest.raises(NodeUnreachable, match="has ended: the node stops, or the network broke"):
            list(client.check_batches(batches()))
        stopper.join()


AGED = {"connection_age_max_s": 1, "drain_timeout_s": 1}
AGE_S = 3.5  # of the batches: more than one connection lives, in which a stream ends


@pytest.mark.parametrize("door", ["api", "native"])
def test_batches_go_on_where_they_were_when_their_connection_is_too_old(index, monkeypatch, door):
    """Every batch is answered once and in its order, over as many streams as that takes."""
    if door == "native" and LACKING is not None:
        pytest.skip(LACKING)
    published = PublishedIndex()
    stream_count = 0

    def counted(self, waiting, unanswered, right=CheckClient._answers):
        nonlocal stream_count
        stream_count += 1
        return right(self, waiting, unanswered)

    def batches():
        end = time.monotonic() + AGE_S
        while time.monotonic() < end:
            asked.append([small.ACTIVE] * (len(asked) % 7) + [small.INACTIVE])
            yield asked[-1]

    asked = []
    monkeypatch.setattr(CheckClient, "_answers", counted)
    with listening(published, **AGED) as (listener, _):
        native = NativeDoor(Settings(**AGED, listen="127.0.0.1:0"), published) if door == "native" else None
        published.publish(index)
        with CheckClient(native.address if native else listener.address) as client:
            answers = [list(answer.statuses) for answer in client.check_batches(batches())]
        if native:
            native.stop(0)
    assert answers == [[ACTIVE] * (len(batch) - 1) + [INACTIVE] for batch in asked]
    assert stream_count > 1


def test_client_is_closed_when_its_block_ends(listener):
    with CheckClient(listener.address) as client:
        pass
    with pytest.raises(ValueError, match="closed channel"):
        client.check_number("+79161234567")


def test_nothing_is_connected_before_the_first_call():
    """A client of a node that is not there yet can be made."""
    CheckClient("127.0.0.1:1").close()
