"""What cannot be an identity or an agreement is refused, and the field that shows it is named."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from numcheck.v1 import identity_pb2
from numcheck.v1.identity_pb2 import Identity
from numcheck.v1.identity_pb2_grpc import IdentityServiceStub
from tests.rpc.calls import DEADLINE_S, refusal
from tests.serving import small
from tests.serving.command import serving

URI = "numcheck://somebody"
AUDITOR, OPERATOR, MESSENGER = identity_pb2.ROLE_AUDITOR, identity_pb2.ROLE_OPERATOR, identity_pb2.ROLE_MESSENGER


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityServiceStub]:
    with (
        serving(small.fill(tmp_path_factory.mktemp("identities") / "var")) as node,
        grpc.insecure_channel(node.address) as channel,
    ):
        yield IdentityServiceStub(channel)


@pytest.mark.parametrize(
    ("identity", "field"),
    [
        (None, "identity.role"),
        (Identity(uri=URI), "identity.role"),
        (Identity(uri=URI, role=9), "identity.role"),  # type: ignore[arg-type]
        (Identity(role=AUDITOR), "identity.uri"),
        (Identity(uri="somebody", role=AUDITOR), "identity.uri"),
        (Identity(uri=URI, role=OPERATOR), "identity.operator_id"),
        (Identity(uri=URI, role=AUDITOR, operator_id=1), "identity.operator_id"),
        (Identity(uri=URI, role=MESSENGER), "identity.service"),
        (Identity(uri=URI, role=MESSENGER, service="Upper"), "identity.service"),
    ],
)
def test_field_of_an_identity_that_cannot_be_is_named(
    stub: IdentityServiceStub, identity: Identity | None, field: str
) -> None:
    found = refusal(lambda: stub.AddIdentity(identity_pb2.AddIdentityRequest(identity=identity), timeout=DEADLINE_S))
    assert (found.code, found.violations) == (grpc.StatusCode.INVALID_ARGUMENT, [(field, "BAD_IDENTITY")])


@pytest.mark.parametrize("agreement", [None, {"operator_id": 1}, {"service": "Upper", "operator_id": 1}])
def test_service_of_an_agreement_that_cannot_be_is_named(
    stub: IdentityServiceStub, agreement: dict[str, Any] | None
) -> None:
    wanted = None if agreement is None else identity_pb2.Agreement(**agreement)
    found = refusal(lambda: stub.AddAgreement(identity_pb2.AddAgreementRequest(agreement=wanted), timeout=DEADLINE_S))
    assert (found.code, found.violations) == (grpc.StatusCode.INVALID_ARGUMENT, [("agreement.service", "BAD_IDENTITY")])


def test_uri_that_was_given_is_named(stub: IdentityServiceStub) -> None:
    asked = identity_pb2.AddIdentityRequest(identity=Identity(uri="numcheck://twice", role=AUDITOR))
    stub.AddIdentity(asked, timeout=DEADLINE_S)
    assert refusal(lambda: stub.AddIdentity(asked, timeout=DEADLINE_S)).violations == [("identity.uri", "BAD_IDENTITY")]
