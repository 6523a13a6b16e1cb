"""CheckNumbers in the kernel: limits, the order of refusals, and responses of every size to the byte."""

from itertools import cycle, islice

import pytest

from numcheck._fast import Table
from numcheck.errors import IndexBehind, MalformedMessage, TooManyNumbers
from numcheck.index import build_index, open_index
from numcheck.v1.check_pb2 import CheckNumbersRequest, CheckNumbersResponse
from tests.index.world import small_world, telling_numbers

WORLD = small_world()
NUMBERS = telling_numbers(WORLD)
VERSION = 5


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    directory = tmp_path_factory.mktemp("index")
    build_index(directory, WORLD.source(VERSION))
    return open_index(directory).table


def request(count: int, **fields: int) -> bytes:
    return CheckNumbersRequest(numbers=islice(cycle(NUMBERS), count), **fields).SerializeToString()


def response(numbers, **fields: int) -> bytes:
    answers = [WORLD.answer(number) for number in numbers]
    return CheckNumbersResponse(
        statuses=[status for status, _ in answers],
        operator_ids=[operator_id for _, operator_id in answers],
        index_version=VERSION,
        **fields,
    ).SerializeToString()


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 127, 128, 129, 1_023, 1_024, 1_025, 16_383, 16_384, 65_536])
def test_response_is_the_runtimes_own_when_it_has_so_many_numbers(table, count):
    expected = response(islice(cycle(NUMBERS), count))
    assert table.check_numbers(request(count), numbers_per_call_max=65_536) == expected


@pytest.mark.parametrize("operator_id", [0, 1, 128, 16_384, 2_097_152, 2**32 - 1])
@pytest.mark.parametrize("count", [1, 25, 26, 31, 32, 42, 43, 63, 64, 127, 128, 3_276, 3_277, 8_192, 16_384])
def test_response_is_the_runtimes_own_when_all_operators_take_as_many_bytes(table, operator_id, count):
    """The varints' size takes more bytes than their count or as many: both sides of every such step."""
    number = next(number for number in NUMBERS if WORLD.answer(number)[1] == operator_id)
    body = CheckNumbersRequest(numbers=[number] * count).SerializeToString()
    assert table.check_numbers(body, numbers_per_call_max=count) == response([number] * count)


def test_batch_and_single_check_agree(table):
    answered = CheckNumbersResponse.FromString(table.check_numbers(request(len(NUMBERS)), numbers_per_call_max=10**6))
    assert [table.check(number) for number in NUMBERS] == list(
        zip(answered.statuses, answered.operator_ids, strict=True)
    )


def test_request_id_is_given_back_only_when_asked_for(table):
    body = request(2, request_id=2**64 - 1)
    assert table.check_numbers(body, numbers_per_call_max=2) == response(NUMBERS[:2])
    echoed = table.check_numbers(body, numbers_per_call_max=2, echo_request_id=True)
    assert echoed == response(NUMBERS[:2], request_id=2**64 - 1)


def test_numbers_of_a_split_list_are_counted_together_when_they_are_too_many(table):
    body = request(3) + request(2)
    assert table.check_numbers(body, numbers_per_call_max=5)
    with pytest.raises(TooManyNumbers) as refused:
        table.check_numbers(body, numbers_per_call_max=4)
    assert (refused.value.number_count, refused.value.numbers_per_call_max) == (5, 4)


def test_request_is_refused_when_the_index_is_behind(table):
    assert table.check_numbers(request(1, min_index_version=VERSION), numbers_per_call_max=1)
    with pytest.raises(IndexBehind) as refused:
        table.check_numbers(request(1, min_index_version=VERSION + 1), numbers_per_call_max=1)
    assert (refused.value.wanted, refused.value.index_version) == (VERSION + 1, VERSION)


def test_request_is_called_malformed_before_too_large_before_ahead(table):
    body = request(2, min_index_version=VERSION + 1)
    with pytest.raises(MalformedMessage):
        table.check_numbers(body + b"\x80", numbers_per_call_max=1)
    with pytest.raises(TooManyNumbers):
        table.check_numbers(body, numbers_per_call_max=1)


def test_no_number_is_in_a_refusal(table):
    body = CheckNumbersRequest(numbers=[79161234567] * 2).SerializeToString()
    for bad in (body + b"\x80", body):
        with pytest.raises((MalformedMessage, TooManyNumbers)) as refused:
            table.check_numbers(bad, numbers_per_call_max=1)
        assert "7916" not in str(refused.value)


@pytest.mark.parametrize("body", [None, "", bytearray(), memoryview(b"")])
def test_request_is_no_request_when_it_is_not_bytes(table, body):
    """What could change while it is read is not taken."""
    with pytest.raises(TypeError):
        table.check_numbers(body, numbers_per_call_max=1)
