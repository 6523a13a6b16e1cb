"""CheckNumber: whatever a person writes, and all that is known of it."""

import grpc
import phonenumbers
import pytest

from numcheck.spelling import TEXT_SIZE_MAX
from numcheck.v1 import check_pb2, number_pb2
from tests.api.calls import refusal
from tests.serving import small
from tests.spellings import REFUSED, SPELLINGS, is_encodable


@pytest.fixture
def check(stub):
    return lambda text: stub.CheckNumber(check_pb2.CheckNumberRequest(number=text))


def test_number_is_understood_when_a_person_writes_it(check):
    """Every spelling of a number gets that number's answer."""
    assert {text: check(text).number for text in SPELLINGS} == SPELLINGS
    assert check("8 (916) 123-45-67").status == number_pb2.NUMBER_STATUS_ACTIVE


@pytest.mark.parametrize(
    ("number", "status", "serving_operator", "region"),
    [
        (small.ACTIVE, "ACTIVE", small.MTS, "г. Москва и Московская область"),
        (small.INACTIVE, "INACTIVE", small.MTS, "г. Москва и Московская область"),
        (small.OLD, "ACTIVE", small.VIMPELCOM, "г. Москва"),
        (small.UNKNOWN, "UNKNOWN", small.SCARTEL, "г. Москва"),
        (79000000000, "ACTIVE", small.T2, "Краснодарский край"),
        (small.SHARED_LAST_OF_T2, "ACTIVE", small.T2, "г. Москва"),
        (small.SHARED_FIRST_OF_MTS, "ACTIVE", small.MTS, "г. Москва"),
        (small.SHARED_FIRST_OF_MTS + 1, "INACTIVE", small.MTS, "г. Москва"),
        (small.SHARED_LAST_OF_T2 - 1, "INACTIVE", small.T2, "г. Москва"),
        (small.SHARED_FIRST_OF_MTS + 50, "UNALLOCATED", None, ""),
        (small.UNALLOCATED, "UNALLOCATED", None, ""),
        (small.NOT_MOBILE, "NOT_MOBILE", small.ROSTELECOM, "г. Москва"),
        (small.NOT_MOBILE_EITHER, "NOT_MOBILE", small.ROSTELECOM, "г. Улан-Удэ"),
        (small.FOREIGN, "INVALID", None, ""),
        (small.TOO_LONG, "INVALID", None, ""),
        (7916, "INVALID", None, ""),
        (999999999999999, "INVALID", None, ""),
    ],
)
def test_answer_has_status_operator_and_region_of_the_number(check, number, status, serving_operator, region):
    """The range's own operator serves a number, nothing is ported, and what is nobody's has no operator."""
    answer = check(f"+{number}")
    assert number_pb2.NumberStatus.Name(answer.status) == f"NUMBER_STATUS_{status}"
    assert answer.number == number
    assert answer.HasField("serving_operator") == answer.HasField("range_holder") == (serving_operator is not None)
    assert answer.serving_operator == answer.range_holder
    assert answer.serving_operator.tax_id == (serving_operator or "")
    assert answer.region == region
    assert not answer.ported


def test_every_status_of_the_api_is_answered_but_unspecified(check):
    """One number each: none of the five statuses is out of reach."""
    numbers = (small.FOREIGN, small.UNALLOCATED, small.INACTIVE, small.ACTIVE, small.UNKNOWN, small.NOT_MOBILE)
    assert (
        [check(f"+{number}").status for number in numbers] == [1, 2, 3, 4, 5, 6] == number_pb2.NumberStatus.values()[1:]
    )


def test_operator_is_told_with_its_data_when_it_has_supplied_some(check, operators):
    """Name, INN, version and time of the data; nothing says synthetic."""
    operator = check(f"+{small.ACTIVE}").serving_operator
    assert operator == operators[small.MTS]
    assert (operator.display_name, operator.tax_id, operator.data_version) == ('ПАО "МТС"', small.MTS, 1)
    assert operator.data_time.ToDatetime(tzinfo=small.DATA_TIME.tzinfo) == small.DATA_TIME
    assert operator.operator_id > 0
    assert not operator.synthetic


def test_operator_has_no_version_and_no_time_when_it_has_supplied_nothing(check):
    operator = check(f"+{small.UNKNOWN}").serving_operator
    assert (operator.data_version, operator.HasField("data_time"), operator.synthetic) == (0, False, False)


def test_operator_is_called_synthetic_when_its_data_is_made_up(check):
    operator = check("+79000000000").serving_operator
    assert operator.synthetic
    assert operator.data_version == 1


def test_number_is_active_when_phonenumbers_calls_it_invalid(check):
    """The plan decides: the library's metadata knows nothing of this range of code 930."""
    text = f"+{small.CALLED_INVALID_BY_PHONENUMBERS}"
    assert not phonenumbers.is_valid_number(phonenumbers.parse(text))
    assert check(text).status == number_pb2.NUMBER_STATUS_ACTIVE


def test_text_is_refused_when_a_part_of_it_is_not_understood(check):
    """INVALID_ARGUMENT with the reason and the field."""
    for text in filter(is_encodable, REFUSED):
        refused = refusal(lambda text=text: check(text))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NOT_A_NUMBER"), text
        assert refused.violations == [("number", "NOT_A_NUMBER")]


def test_text_is_read_up_to_the_length_that_is_told_and_no_further(check):
    """250 characters with a number in them are read; 251 are refused, with the bound in the message."""
    padding = " " * (TEXT_SIZE_MAX - len("+79161234567"))
    assert check(f"+79161234567{padding}").number == small.ACTIVE
    assert f"at most {TEXT_SIZE_MAX}" in refusal(lambda: check(f"+79161234567{padding} ")).message
