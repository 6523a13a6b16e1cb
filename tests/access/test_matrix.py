"""R7: the whole matrix of identities, methods and objects, from the one table, over mutual TLS."""

import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from numcheck.access import METHODS, Role
from numcheck.v1 import (
    check_pb2,
    check_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    numbering_pb2,
    numbering_pb2_grpc,
    registration_pb2,
    registration_pb2_grpc,
)
from tests.access.node import ALPHA, BETA, FIRST, IDENTITIES, secure_node
from tests.rpc.calls import DEADLINE_S

OPERATOR_OF = {"alpha": ALPHA, "beta": BETA}
DENIED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
EPOCH = Timestamp(seconds=1_750_000_000)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with secure_node(tmp_path_factory.mktemp("secure")) as one:
        yield one


def push(channel: grpc.Channel, operator_id: int) -> Any:
    header = numbering_pb2.PushHeader(
        operator_id=operator_id, mode=numbering_pb2.PUSH_MODE_DELTA, base_version=99, data_time=EPOCH
    )
    request = numbering_pb2.PushActiveNumbersRequest(header=header, add=[FIRST])
    return numbering_pb2_grpc.NumberingServiceStub(channel).PushActiveNumbers(iter([request]), timeout=DEADLINE_S)


def confirm(channel: grpc.Channel, operator_id: int) -> Any:
    request = numbering_pb2.ConfirmPushRequest(operator_id=operator_id, confirmation_token="none")
    return numbering_pb2_grpc.NumberingServiceStub(channel).ConfirmPush(request, timeout=DEADLINE_S)


def state(channel: grpc.Channel, operator_id: int) -> Any:
    request = numbering_pb2.GetOperatorStateRequest(operator_id=operator_id)
    return numbering_pb2_grpc.NumberingServiceStub(channel).GetOperatorState(request, timeout=DEADLINE_S)


def numbering(method: str, request: Any, *, stream: bool = False) -> Callable[[grpc.Channel], Any]:
    def call(channel: grpc.Channel) -> Any:
        stub = getattr(numbering_pb2_grpc.NumberingServiceStub(channel), method)
        return stub(iter([request]) if stream else request, timeout=DEADLINE_S)

    return call


def check(method: str, request: Any) -> Callable[[grpc.Channel], Any]:
    return lambda channel: getattr(check_pb2_grpc.CheckServiceStub(channel), method)(request, timeout=DEADLINE_S)


def first_of(call: Any) -> Any:
    found = next(call)
    call.cancel()
    return found


def identity(method: str) -> Callable[[grpc.Channel], Any]:
    """A call that changes nothing, whoever makes it: it names nobody."""
    request = getattr(identity_pb2, f"{method}Request")()
    return lambda channel: getattr(identity_pb2_grpc.IdentityServiceStub(channel), method)(request, timeout=DEADLINE_S)


def registration(method: str) -> Callable[[grpc.Channel], Any]:
    """A call about the messenger's own service that changes nothing: it lacks what it needs."""
    request = getattr(registration_pb2, f"{method}Request")(service="chat")
    streams = method in ("ReverifyRegistrations", "WatchRegistrations")

    def call(channel: grpc.Channel) -> Any:
        stub = getattr(registration_pb2_grpc.RegistrationServiceStub(channel), method)
        if not streams:
            return stub(request, timeout=DEADLINE_S)
        stream = stub(request, timeout=DEADLINE_S)
        try:
            stream.initial_metadata()
            first = threading.Timer(0.5, stream.cancel)
            first.start()
            return list(stream)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.CANCELLED:
                return None
            raise

    return call


CHECK, NUMBERING, IDENTITY, REGISTRATION = (
    f"/numcheck.v1.{name}Service" for name in ("Check", "Numbering", "Identity", "Registration")
)
CALLS: dict[str, Callable[[grpc.Channel], Any]] = {
    f"{CHECK}/CheckNumber": check("CheckNumber", check_pb2.CheckNumberRequest(number=f"+{FIRST}")),
    f"{CHECK}/CheckNumbers": check("CheckNumbers", check_pb2.CheckNumbersRequest(numbers=[FIRST])),
    f"{CHECK}/ListOperators": check("ListOperators", check_pb2.ListOperatorsRequest()),
    f"{CHECK}/StreamCheckNumbers": lambda channel: first_of(
        check_pb2_grpc.CheckServiceStub(channel).StreamCheckNumbers(
            iter([check_pb2.CheckNumbersRequest(numbers=[FIRST])]), timeout=DEADLINE_S
        )
    ),
    f"{NUMBERING}/PushPortings": numbering(
        "PushPortings",
        numbering_pb2.PushPortingsRequest(
            header=numbering_pb2.PortingsHeader(mode=numbering_pb2.PUSH_MODE_DELTA, base_version=99, data_time=EPOCH)
        ),
        stream=True,
    ),
    f"{NUMBERING}/ImportNumberingPlan": numbering(
        "ImportNumberingPlan", numbering_pb2.ImportNumberingPlanRequest(), stream=True
    ),
    f"{NUMBERING}/WatchIndex": lambda channel: first_of(
        numbering_pb2_grpc.NumberingServiceStub(channel).WatchIndex(
            numbering_pb2.WatchIndexRequest(), timeout=DEADLINE_S
        )
    ),
    **{
        f"{IDENTITY}/{method.name}": identity(method.name)
        for method in identity_pb2.DESCRIPTOR.services_by_name["IdentityService"].methods
    },
    **{
        f"{REGISTRATION}/{method.name}": registration(method.name)
        for method in registration_pb2.DESCRIPTOR.services_by_name["RegistrationService"].methods
    },
    "/grpc.health.v1.Health/Check": lambda channel: health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(), timeout=DEADLINE_S
    ),
    "/grpc.health.v1.Health/Watch": lambda channel: first_of(
        health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
    ),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": lambda channel: first_of(
        reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=DEADLINE_S
        )
    ),
}
ABOUT_AN_OPERATOR = {
    f"{NUMBERING}/PushActiveNumbers": push,
    f"{NUMBERING}/ConfirmPush": confirm,
    f"{NUMBERING}/GetOperatorState": state,
}


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def contents(node) -> tuple[Any, ...]:
    """All that a call could change; denials are what they are to change."""
    sets = [node.store.head(one) for one in (ALPHA, BETA)]
    return node.store.revision, sets, node.store.identities(), node.store.agreements(), node.store.portings_head()


def test_table_has_every_method_that_is_served():
    """From the descriptors: a new method that nobody gave a row fails here."""
    served = {
        f"/{service.full_name}/{method.name}"
        for file in (check_pb2, numbering_pb2, identity_pb2, registration_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert served <= METHODS.keys()
    assert {method for method in METHODS if method.startswith("/numcheck.v1")} == served
    assert CALLS.keys() | ABOUT_AN_OPERATOR.keys() == METHODS.keys()


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity_may_call_what_the_table_says_and_nothing_else(node, name):
    """A denied call changes nothing and is kept; one that is let through may fail for its own reasons."""
    with node.channel(name) as channel:
        for method, call in CALLS.items():
            before = contents(node)
            allowed = IDENTITIES[name].role in METHODS[method]
            assert (code_of(lambda call=call: call(channel)) not in DENIED) == allowed, method
            assert allowed or contents(node) == before


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("operator_id", [ALPHA, BETA])
@pytest.mark.parametrize("method", ABOUT_AN_OPERATOR)
def test_operator_touches_its_own_numbers_only(node, name, operator_id, method):
    role = IDENTITIES[name].role
    allowed = role in METHODS[method] and not (role is Role.OPERATOR and OPERATOR_OF[name] != operator_id)
    allowed = allowed and role is not Role.CLEARING_HOUSE
    before = contents(node)
    with node.channel(name) as channel:
        assert (code_of(lambda: ABOUT_AN_OPERATOR[method](channel, operator_id)) not in DENIED) == allowed
    assert contents(node) == before or method.endswith("GetOperatorState")


@pytest.mark.parametrize(("name", "allowed"), [("alpha", False), ("house", True), ("auditor", True)])
def test_portings_are_read_by_whom_they_concern(node, name, allowed):
    with node.channel(name) as channel:
        assert (code_of(lambda: state(channel, 0)) not in DENIED) == allowed


@pytest.mark.parametrize("method", ["GetRegistration", "ListRegistrations", "DeleteRegistration", "StartVerification"])
def test_service_touches_its_own_registrations_only(node, method):
    request = getattr(registration_pb2, f"{method}Request")(service="another")
    with node.channel("messenger") as channel:
        stub = getattr(registration_pb2_grpc.RegistrationServiceStub(channel), method)
        assert code_of(lambda: stub(request, timeout=DEADLINE_S)) == grpc.StatusCode.PERMISSION_DENIED
    with node.channel("administrator") as channel:
        stub = getattr(registration_pb2_grpc.RegistrationServiceStub(channel), method)
        assert code_of(lambda: stub(request, timeout=DEADLINE_S)) != grpc.StatusCode.PERMISSION_DENIED
