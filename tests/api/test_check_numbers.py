"""CheckNumbers: many numbers in the order asked, each with its status and its serving operator."""

import grpc
import pytest

from numcheck.v1 import check_pb2, number_pb2
from tests.api.calls import call_raw, refusal
from tests.fuzz.wire import fixed64, integer
from tests.serving import small

NUMBERS_MAX = 65_536
STATUS_OF = {
    small.ACTIVE: number_pb2.NUMBER_STATUS_ACTIVE,
    small.INACTIVE: number_pb2.NUMBER_STATUS_INACTIVE,
    small.UNKNOWN: number_pb2.NUMBER_STATUS_UNKNOWN,
    small.UNALLOCATED: number_pb2.NUMBER_STATUS_UNALLOCATED,
    small.NOT_MOBILE: number_pb2.NUMBER_STATUS_NOT_MOBILE,
    small.SHARED_LAST_OF_T2: number_pb2.NUMBER_STATUS_ACTIVE,
    small.SHARED_FIRST_OF_MTS: number_pb2.NUMBER_STATUS_ACTIVE,
    small.FOREIGN: number_pb2.NUMBER_STATUS_INVALID,
    0: number_pb2.NUMBER_STATUS_INVALID,
    2**64 - 1: number_pb2.NUMBER_STATUS_INVALID,
}
OPERATOR_OF = {
    **dict.fromkeys((small.ACTIVE, small.INACTIVE, small.SHARED_FIRST_OF_MTS), small.MTS),
    small.UNKNOWN: small.SCARTEL,
    small.NOT_MOBILE: small.ROSTELECOM,
    small.SHARED_LAST_OF_T2: small.T2,
}


@pytest.fixture
def check(stub):
    return lambda numbers, **fields: stub.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=numbers, **fields))


@pytest.fixture
def expected(operators):
    """Status and operator id of a number."""

    def answer(number: int) -> tuple[int, int]:
        tax_id = OPERATOR_OF.get(number)
        return STATUS_OF[number], operators[tax_id].operator_id if tax_id else 0

    return answer


@pytest.mark.parametrize("number", STATUS_OF)
def test_number_gets_its_answer_when_it_is_alone(check, expected, number):
    answer = check([number])
    assert (list(answer.statuses), list(answer.operator_ids)) == ([expected(number)[0]], [expected(number)[1]])


def test_answers_come_in_the_order_asked_when_numbers_repeat(check, expected):
    """Forwards, backwards and twice over: no number is sorted, merged or left out."""
    numbers = [*STATUS_OF, *reversed(STATUS_OF), *STATUS_OF, small.ACTIVE, small.ACTIVE]
    answer = check(numbers)
    assert list(zip(answer.statuses, answer.operator_ids, strict=True)) == [expected(number) for number in numbers]


def test_answer_is_empty_when_no_number_is_asked(check):
    answer = check([])
    assert (list(answer.statuses), list(answer.operator_ids)) == ([], [])
    assert answer.index_version > 0


def test_call_takes_exactly_as_many_numbers_as_are_told(check, expected):
    """65,536 are answered, one more is refused with both counts, in words and as a violation."""
    pattern = [*STATUS_OF]
    numbers = (pattern * (NUMBERS_MAX // len(pattern) + 1))[:NUMBERS_MAX]
    answer = check(numbers)
    assert list(zip(answer.statuses, answer.operator_ids, strict=True)) == [expected(number) for number in numbers]
    refused = refusal(lambda: check([*numbers, small.ACTIVE]))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_NUMBERS")
    assert refused.violations == [("numbers", "TOO_MANY_NUMBERS")]
    assert "65,537" in refused.message
    assert "65,536" in refused.message


def test_list_is_read_when_it_is_not_packed(channel, expected):
    """Numbers in a field each, with other fields between them, are the same list."""
    body = integer(15, 1).join(fixed64(1, number) for number in STATUS_OF)
    answer = check_pb2.CheckNumbersResponse.FromString(call_raw(channel, "CheckNumbers", body))
    assert list(zip(answer.statuses, answer.operator_ids, strict=True)) == [expected(number) for number in STATUS_OF]


def test_request_id_is_not_given_back_in_a_unary_answer(check):
    assert check([small.ACTIVE], request_id=7).request_id == 0


def test_answer_comes_when_the_wanted_index_version_is_reached(check):
    """The version that the node has, and any before it, is good enough; the answer names it."""
    version = check([]).index_version
    for wanted in (0, 1, version):
        assert check([small.ACTIVE], min_index_version=wanted).index_version == version


@pytest.mark.parametrize("ahead", [1, 2**64 - 1])
def test_call_is_to_be_repeated_when_the_wanted_index_version_is_not_reached(check, ahead):
    """UNAVAILABLE with RetryInfo, even if there is no number to check."""
    version = check([]).index_version
    wanted = min(version + ahead, 2**64 - 1)
    for numbers in ([small.ACTIVE], []):
        refused = refusal(lambda numbers=numbers: check(numbers, min_index_version=wanted))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "INDEX_BEHIND")
        assert refused.retry_delay_s is not None
        assert refused.retry_delay_s > 0


def test_single_and_batch_answers_agree(stub, check, operators):
    """Both methods say the same of one number, from one index version."""
    names = {one.operator_id: one.display_name for one in operators.values()}
    for number in STATUS_OF:
        if not 0 < number < 10**15:
            continue
        single, batch = stub.CheckNumber(check_pb2.CheckNumberRequest(number=f"+{number}")), check([number])
        assert (single.status, single.index_version) == (batch.statuses[0], batch.index_version)
        assert single.serving_operator.display_name == names.get(batch.operator_ids[0], "")


def test_operators_are_listed_once_and_in_the_order_of_their_ids(stub, operators):
    """Every operator of the plan, those without data as well, with what CheckNumber says of it."""
    listed = list(stub.ListOperators(check_pb2.ListOperatorsRequest()).operators)
    ids = [one.operator_id for one in listed]
    assert ids == sorted(set(ids))
    assert {one.tax_id for one in listed} == {
        *(small.MTS, small.T2, small.VIMPELCOM, small.MTT, small.SCARTEL, small.ROSTELECOM)
    }
    assert [one.display_name for one in listed if one.synthetic] == ['ООО "Т2 Мобайл"']
    assert {one.tax_id for one in listed if not one.data_version} == {small.SCARTEL, small.ROSTELECOM}
    assert {one.tax_id for one in listed if not one.HasField("data_time")} == {small.SCARTEL, small.ROSTELECOM}
