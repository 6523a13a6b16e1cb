"""Every method of the table of methods is measured, or has a reason."""

import pytest

from numcheck.access.rules import METHODS
from numcheck.bench.bodies import EXAMPLES, example_request
from numcheck.bench.generator import framed
from numcheck.bench.workloads import NOT_CALLED, WORKLOADS, body_of, measured_methods, short
from numcheck.errors import BadConfiguration
from numcheck.v1 import check_pb2


def test_every_method_is_measured_or_has_a_reason():
    assert WORKLOADS.keys() | NOT_CALLED.keys() == METHODS.keys()
    assert WORKLOADS.keys() & NOT_CALLED.keys() == set()


def test_node_of_others_is_not_written_to():
    """What changes data is left out; names of methods that read stay."""
    kept = {short(path) for path in measured_methods(writes=False)}
    assert kept & {"Register", "AddCaller", "RevokeCaller", "DeleteRegistration", "IssueToken", "AddAgreement"} == set()
    assert {"CheckNumbers", "CheckNumber", "ListOperators", "GetHead", "ExportEvents"} <= kept


def test_body_of_a_stream_is_its_messages_one_after_the_other():
    assert body_of([b"a", b"bc"]) == framed(b"a") + framed(b"bc") == b"\0\0\0\0\x01a\0\0\0\0\x02bc"


@pytest.mark.parametrize("method", EXAMPLES)
def test_example_is_a_request_of_its_method(method):
    path, request = example_request(method, 7)
    assert path.endswith(f"/{method}")
    assert request.DESCRIPTOR.name == f"{method}Request"
    assert type(request).FromString(request.SerializeToString()) == request


def test_example_has_as_many_numbers_as_are_wanted():
    _, request = example_request("CheckNumbers", 1_000)
    assert isinstance(request, check_pb2.CheckNumbersRequest)
    assert len(request.numbers) == 1_000


@pytest.mark.parametrize("method", ["StreamCheckNumbers", "CompleteVerification", "Nothing", ""])
def test_method_without_an_example_is_refused_with_those_that_have_one(method):
    with pytest.raises(BadConfiguration, match="CheckNumbers, "):
        example_request(method, 1)
