"""What cannot be a caller or an agreement is refused, and the field that shows it is named."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from numcheck.v1 import caller_pb2
from numcheck.v1.caller_pb2 import Caller
from numcheck.v1.caller_pb2_grpc import CallerServiceStub
from tests.api.calls import DEADLINE_S, refusal
from tests.serving import small
from tests.serving.command import serving

URI = "numcheck://somebody"
AUDITOR, OPERATOR, MESSENGER = caller_pb2.ROLE_AUDITOR, caller_pb2.ROLE_OPERATOR, caller_pb2.ROLE_MESSENGER


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallerServiceStub]:
    with (
        serving(small.fill(tmp_path_factory.mktemp("callers") / "var")) as node,
        grpc.insecure_channel(node.address) as channel,
    ):
        yield CallerServiceStub(channel)


@pytest.mark.parametrize(
    ("caller", "field"),
    [
        (None, "caller.role"),
        (Caller(uri=URI), "caller.role"),
        (Caller(uri=URI, role=9), "caller.role"),  # type: ignore[arg-type]
        (Caller(role=AUDITOR), "caller.uri"),
        (Caller(uri="somebody", role=AUDITOR), "caller.uri"),
        (Caller(uri=URI, role=OPERATOR), "caller.operator_id"),
        (Caller(uri=URI, role=AUDITOR, operator_id=1), "caller.operator_id"),
        (Caller(uri=URI, role=MESSENGER), "caller.service"),
        (Caller(uri=URI, role=MESSENGER, service="Upper"), "caller.service"),
    ],
)
def test_field_of_a_caller_that_cannot_be_is_named(stub: CallerServiceStub, caller: Caller | None, field: str) -> None:
    found = refusal(lambda: stub.AddCaller(caller_pb2.AddCallerRequest(caller=caller), timeout=DEADLINE_S))
    assert (found.code, found.violations) == (grpc.StatusCode.INVALID_ARGUMENT, [(field, "BAD_CALLER")])


@pytest.mark.parametrize("agreement", [None, {"operator_id": 1}, {"service": "Upper", "operator_id": 1}])
def test_service_of_an_agreement_that_cannot_be_is_named(
    stub: CallerServiceStub, agreement: dict[str, Any] | None
) -> None:
    wanted = None if agreement is None else caller_pb2.Agreement(**agreement)
    found = refusal(lambda: stub.AddAgreement(caller_pb2.AddAgreementRequest(agreement=wanted), timeout=DEADLINE_S))
    assert (found.code, found.violations) == (grpc.StatusCode.INVALID_ARGUMENT, [("agreement.service", "BAD_CALLER")])


def test_uri_that_was_given_is_named(stub: CallerServiceStub) -> None:
    asked = caller_pb2.AddCallerRequest(caller=Caller(uri="numcheck://twice", role=AUDITOR))
    stub.AddCaller(asked, timeout=DEADLINE_S)
    assert refusal(lambda: stub.AddCaller(asked, timeout=DEADLINE_S)).violations == [("caller.uri", "BAD_CALLER")]
