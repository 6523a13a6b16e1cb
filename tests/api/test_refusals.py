"""What a caller gets instead of an answer: one code and one reason for each case, details to act on, no number."""

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.api.calls import SERVICE, UNARY, call_raw, refusal, refusal_of, stream_raw
from tests.api.listeners import listening
from tests.api.streams import opened
from tests.fuzz.wire import length_delimited, packed
from tests.serving.command import serving
from tests.serving.small import fill

CANARY = 79167654321
CANARY_TEXT = str(CANARY)
CANARY_BYTES = CANARY.to_bytes(8, "little")
MALFORMED = {
    "a tag that goes on": b"\xff",
    "a field that is cut": length_delimited(1, CANARY_BYTES)[:-1],
    "a varint of eleven bytes": b"\x10" + b"\xff" * 10 + b"\x01",
    "an end of no group": packed(CANARY) + b"\x1c",
}
MESSAGE_SIZE_MAX = 1_049_600


def over_stream(channel, method, body):
    return stream_raw(channel, body)


CALLS = [*((call_raw, method) for method in UNARY), (over_stream, "StreamCheckNumbers")]
each_method = pytest.mark.parametrize(("call", "method"), CALLS, ids=[method for _, method in CALLS])


@each_method
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_request_is_refused_when_it_is_not_well_formed(channel, call, method, body):
    """INVALID_ARGUMENT and MALFORMED_MESSAGE for every method; no field is named, as none could be read."""
    refused = refusal(lambda: call(channel, method, body))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")
    assert refused.domain == "numcheck"
    assert refused.violations == [("", "MALFORMED_MESSAGE")]


def test_request_is_refused_when_its_text_is_not_utf_8(channel):
    """As the official runtime refuses a string that is none."""
    refused = refusal(lambda: call_raw(channel, "CheckNumber", length_delimited(1, b"\xff\xfe")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


@each_method
def test_request_is_answered_when_it_has_unknown_fields(channel, call, method):
    """A newer caller's fields are skipped: well formed, they are no error."""
    known = length_delimited(1, b"+79161234567") if method == "CheckNumber" else b""
    assert call(channel, method, known + length_delimited(99, CANARY_BYTES)) is not None


@pytest.mark.parametrize("service", [SERVICE, "/grpc.health.v1.Health", "/numcheck.v1.NoSuchService", "/a"])
def test_method_is_refused_with_details_when_there_is_none(channel, service):
    """An unknown method of a known service and any of an unknown one: UNIMPLEMENTED, UNKNOWN_METHOD."""
    refused = refusal(lambda: call_raw(channel, "NoSuchMethod", b"", service=service))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD")
    assert refused.domain == "numcheck"


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_unknown_method_is_refused_whatever_kind_of_call_it_is(channel, kind):
    request = iter([b"", b""]) if kind.startswith("stream") else b""
    call = getattr(channel, kind)(f"{SERVICE}/NoSuchMethod")
    refused = refusal(lambda: list(call(request)) if kind.endswith("stream") else call(request))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD")


@each_method
def test_request_is_refused_by_the_transport_when_it_is_over_the_limit(channel, call, method):
    """RESOURCE_EXHAUSTED before anything of ours reads it; a request of just the limit is read."""
    padding = MESSAGE_SIZE_MAX - len(length_delimited(99, b"", size=4))
    whole = length_delimited(99, bytes(padding - 1), size=4)
    refused = refusal(lambda: call(channel, method, whole + b"  "))
    assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    if method == "CheckNumber":
        assert refusal(lambda: call(channel, method, whole)).reason == "NOT_A_NUMBER"
    else:
        assert call(channel, method, whole) is not None


def too_many_streams(published):
    with listening(published, api_threads=2) as (_, channel), opened(channel) as first:
        first.ask()
        with opened(channel) as second:
            return refusal(lambda: second.ask(CANARY))


def test_no_refusal_repeats_a_number_of_its_request(channel, stub, published):
    """A canary in every field of every failing call: neither words nor details hold it, in any of its forms."""
    check_number, check_numbers = check_pb2.CheckNumberRequest, check_pb2.CheckNumbersRequest
    over = [CANARY] * 65_537
    calls = [
        lambda: stub.CheckNumber(check_number(number=f"x{CANARY_TEXT}{CANARY_TEXT}{CANARY_TEXT}")),
        lambda: stub.CheckNumber(check_number(number=CANARY_TEXT * 50)),
        lambda: stub.CheckNumbers(check_numbers(numbers=over)),
        lambda: list(stub.StreamCheckNumbers(iter([check_numbers(numbers=over)]))),
        lambda: stub.CheckNumbers(check_numbers(numbers=[CANARY], min_index_version=2**63)),
        lambda: call_raw(channel, CANARY_TEXT, CANARY_TEXT.encode()),
        *(lambda body=body, one=one: one[0](channel, one[1], body) for body in MALFORMED.values() for one in CALLS),
    ]
    for refused in [*map(refusal, calls), too_many_streams(published)]:
        assert not holds_canary(repr(refused)), refused.reason


def holds_canary(text: str) -> bool:
    return CANARY_TEXT[1:] in text or repr(CANARY_BYTES)[2:-1] in text


def test_no_line_of_the_node_repeats_a_number(tmp_path):
    """Answers, refusals, an end: what a node writes about them holds no number that it was asked for."""
    with serving(fill(tmp_path)) as node, grpc.insecure_channel(node.address) as channel:
        stub = check_pb2_grpc.CheckServiceStub(channel)
        stub.CheckNumber(check_pb2.CheckNumberRequest(number=f"+{CANARY}"))
        stub.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[CANARY]))
        refusal(lambda: stub.CheckNumber(check_pb2.CheckNumberRequest(number=CANARY_TEXT * 3)))
        for body in MALFORMED.values():
            refusal(lambda body=body: stream_raw(channel, body))
    assert not holds_canary("\n".join(node.process.lines))


@settings(max_examples=150)
@given(number=st.text(max_size=300))
def test_any_text_gets_an_answer_or_a_refusal_with_details(stub, number):
    """Whatever the text: a status of the API, or NOT_A_NUMBER; never INTERNAL."""
    call = stub.CheckNumber.future(check_pb2.CheckNumberRequest(number=number))
    error = call.exception()
    if error is None:
        assert 1 <= call.result().status <= 6
    else:
        assert refusal_of(error).reason == "NOT_A_NUMBER"
