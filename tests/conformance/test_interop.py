"""gRPC's interoperability tests (grpc/doc/interop-test-descriptions.md), as far as numcheck's methods allow, by grpcio.

Each test has the name of the description that it follows. Both doors answer.
"""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from numcheck.door.native import percent_encoded
from numcheck.v1 import check_pb2, check_pb2_grpc, number_pb2
from tests.api.streams import opened
from tests.serving.small import ACTIVE, INACTIVE

NUMBERS_MAX = 65_536
PATIENCE_S = 20.0
REQUEST = check_pb2.CheckNumbersRequest(numbers=[ACTIVE, INACTIVE])
STATUSES = [number_pb2.NUMBER_STATUS_ACTIVE, number_pb2.NUMBER_STATUS_INACTIVE]


@pytest.fixture
def channel(either: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(either, options=[("grpc.use_local_subchannel_pool", 1)]) as one:
        yield one


@pytest.fixture
def stub(channel: grpc.Channel) -> check_pb2_grpc.CheckServiceStub:
    return check_pb2_grpc.CheckServiceStub(channel)


def test_empty_unary(stub: check_pb2_grpc.CheckServiceStub) -> None:
    answer = stub.CheckNumbers(check_pb2.CheckNumbersRequest(), timeout=PATIENCE_S)
    assert (answer.statuses, answer.operator_ids) == ([], [])
    assert answer.index_version > 0


def test_large_unary(stub: check_pb2_grpc.CheckServiceStub) -> None:
    request = check_pb2.CheckNumbersRequest(numbers=[ACTIVE, INACTIVE] * (NUMBERS_MAX // 2))
    assert stub.CheckNumbers(request, timeout=PATIENCE_S).statuses == STATUSES * (NUMBERS_MAX // 2)


def test_client_compressed_unary(stub: check_pb2_grpc.CheckServiceStub) -> None:
    request = check_pb2.CheckNumbersRequest(numbers=[ACTIVE] * 10_000)
    answer = stub.CheckNumbers(request, timeout=PATIENCE_S, compression=grpc.Compression.Gzip)
    assert answer.statuses == STATUSES[:1] * 10_000


def test_client_compressed_streaming(stub: check_pb2_grpc.CheckServiceStub) -> None:
    requests = iter([REQUEST] * 3)
    answers = stub.StreamCheckNumbers(requests, timeout=PATIENCE_S, compression=grpc.Compression.Gzip)
    assert [list(answer.statuses) for answer in answers] == [STATUSES] * 3


def test_ping_pong(channel: grpc.Channel) -> None:
    """Each request is answered before the next is sent; sizes as in the description."""
    with opened(channel) as stream:
        for i, count in enumerate((27_182 // 8, 1, 1_828 // 8, 45_904 // 8)):
            answer = stream.ask(*[ACTIVE] * count, request_id=i)
            assert (answer.request_id, len(answer.statuses)) == (i, count)
        stream.close()
        assert list(stream.call) == []
        assert stream.call.code() is grpc.StatusCode.OK


def test_empty_stream(stub: check_pb2_grpc.CheckServiceStub) -> None:
    answers = stub.StreamCheckNumbers(iter([]), timeout=PATIENCE_S)
    assert list(answers) == []
    assert answers.code() is grpc.StatusCode.OK


def test_cancel_after_begin(channel: grpc.Channel, stub: check_pb2_grpc.CheckServiceStub) -> None:
    with opened(channel) as stream:
        stream.call.cancel()
        assert stream.call.code() is grpc.StatusCode.CANCELLED
    assert stub.CheckNumbers(REQUEST, timeout=PATIENCE_S).statuses == STATUSES


def test_cancel_after_first_response(channel: grpc.Channel, stub: check_pb2_grpc.CheckServiceStub) -> None:
    with opened(channel) as stream:
        assert stream.ask(ACTIVE, INACTIVE).statuses == STATUSES
        stream.call.cancel()
        assert stream.call.code() is grpc.StatusCode.CANCELLED
    assert stub.CheckNumbers(REQUEST, timeout=PATIENCE_S).statuses == STATUSES


def test_timeout_on_sleeping_server(stub: check_pb2_grpc.CheckServiceStub) -> None:
    """The stream waits for requests, and its time is up."""
    requests: queue.SimpleQueue[check_pb2.CheckNumbersRequest | None] = queue.SimpleQueue()
    answers = stub.StreamCheckNumbers(iter(requests.get, None), timeout=0.05)
    with pytest.raises(grpc.RpcError) as raised:
        list(answers)
    requests.put(None)  # grpcio's own thread waits for it
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


METADATA = [
    ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
    ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"),
]


def test_custom_metadata(stub: check_pb2_grpc.CheckServiceStub) -> None:
    """It is taken, in both kinds of call; nothing of it is given back."""
    answer, call = stub.CheckNumbers.with_call(REQUEST, timeout=PATIENCE_S, metadata=METADATA)
    assert answer.statuses == STATUSES
    answers = stub.StreamCheckNumbers(iter([REQUEST]), timeout=PATIENCE_S, metadata=METADATA)
    assert [list(one.statuses) for one in answers] == [STATUSES]
    for ended in (call, answers):
        given_back = {pair.key for pair in (*ended.initial_metadata(), *ended.trailing_metadata())}
        assert not given_back & dict(METADATA).keys()


def test_status_code_and_message(stub: check_pb2_grpc.CheckServiceStub) -> None:
    """The same code, message and details from the unary call and from the stream."""
    request = check_pb2.CheckNumbersRequest(numbers=[ACTIVE] * (NUMBERS_MAX + 1))
    outcomes = []
    for ask in (
        lambda: stub.CheckNumbers(request, timeout=PATIENCE_S),
        lambda: list(stub.StreamCheckNumbers(iter([request]), timeout=PATIENCE_S)),
    ):
        with pytest.raises(grpc.RpcError) as raised:
            ask()
        status, info = rpc_status.from_call(raised.value), error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        outcomes.append((raised.value.code(), raised.value.details(), info.reason))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] is grpc.StatusCode.INVALID_ARGUMENT
    assert outcomes[0][2] == "TOO_MANY_NUMBERS"


def test_special_status_message() -> None:
    """No message of ours has such characters; this is what the native door would make of them."""
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    assert percent_encoded(text) == (
        b"%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A"
    )


@pytest.mark.parametrize(
    "path", ["/numcheck.v1.CheckService/UnimplementedCall", "/grpc.testing.UnimplementedService/UnimplementedCall"]
)
def test_unimplemented_method_and_service(channel: grpc.Channel, path: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(path)(b"", timeout=PATIENCE_S)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_concurrent_large_unary(stub: check_pb2_grpc.CheckServiceStub) -> None:
    """One connection, many large calls at once: its windows are shared and given back."""
    request = check_pb2.CheckNumbersRequest(numbers=[ACTIVE] * 20_000)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: stub.CheckNumbers(request, timeout=PATIENCE_S), range(40)))
    assert [len(answer.statuses) for answer in answers] == [20_000] * 40


def test_rpc_soak(stub: check_pb2_grpc.CheckServiceStub) -> None:
    for _ in range(300):
        assert stub.CheckNumbers(REQUEST, timeout=PATIENCE_S).statuses == STATUSES


def test_channel_soak(either: str) -> None:
    for _ in range(20):
        with grpc.insecure_channel(either, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            answer = check_pb2_grpc.CheckServiceStub(channel).CheckNumbers(REQUEST, timeout=PATIENCE_S)
            assert answer.statuses == STATUSES
