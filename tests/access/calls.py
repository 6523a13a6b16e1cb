"""A call of every method that succeeds for whoever may make it, as often as it is made."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from numcheck.access import Caller, Role
from numcheck.registrations.events import Chain
from numcheck.registrations.vault import Vault
from numcheck.serving.keys import read_keys
from numcheck.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    caller_pb2,
    caller_pb2_grpc,
    check_pb2,
    check_pb2_grpc,
    edition_pb2,
    edition_pb2_grpc,
    numbering_pb2,
    numbering_pb2_grpc,
)
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.access.node import ALPHA, BETA, FIRST, NOW, SecureNode
from tests.active.sets import active_set_of
from tests.api.calls import DEADLINE_S

Call = Callable[[grpc.Channel], Any]
FIRST_OF = {ALPHA: FIRST, BETA: FIRST + 10_000_000}
SET_SIZE = 40
_numbers = count()

Request = numbering_pb2.PushActiveNumbersRequest
WATCH_EDITIONS = edition_pb2.WatchEditionsRequest()


def stamp() -> Timestamp:
    """Now, as the API has it."""
    one = Timestamp()
    one.FromDatetime(datetime.now(UTC))
    return one


def first_of(stream: Any) -> Any:
    """The first message of a stream that goes on."""
    found = next(stream)
    stream.cancel()
    return found


# --- CheckService, health and reflection: what asks and changes nothing


def check(method: str) -> Call:
    requests = {
        "CheckNumber": check_pb2.CheckNumberRequest(number=f"+{FIRST}"),
        "CheckNumbers": check_pb2.CheckNumbersRequest(numbers=[FIRST]),
        "CheckRecycled": check_pb2.CheckRecycledRequest(numbers=[FIRST], since_unix_s=[0]),
        "ListOperators": check_pb2.ListOperatorsRequest(),
    }

    def call(channel: grpc.Channel) -> Any:
        stub = check_pb2_grpc.CheckServiceStub(channel)
        if method == "StreamCheckNumbers":
            return list(stub.StreamCheckNumbers(iter([requests["CheckNumbers"]]), timeout=DEADLINE_S))
        return getattr(stub, method)(requests[method], timeout=DEADLINE_S)

    return call


def audit(method: str) -> Call:
    """A call of AuditService."""
    request = getattr(audit_pb2, f"{method}Request")()

    def call(channel: grpc.Channel) -> Any:
        answer = getattr(audit_pb2_grpc.AuditServiceStub(channel), method)(request, timeout=DEADLINE_S)
        return answer if method == "GetHead" else list(answer)

    return call


def watch_editions(channel: grpc.Channel) -> Any:
    """The newest edition, asked for again as long as there is none: it is made once somebody asks."""
    while True:
        try:
            watch = edition_pb2_grpc.EditionServiceStub(channel).WatchEditions(WATCH_EDITIONS, timeout=DEADLINE_S)
            return first_of(watch)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


def fetch_file(node: SecureNode) -> Call:
    """The first file of the newest edition."""
    with node.channel("administrator") as channel:
        edition = edition_pb2.Edition.FromString(watch_editions(channel).edition)
    request = edition_pb2.FetchFileRequest(sha256=edition.files[0].sha256)
    return lambda channel: edition_pb2_grpc.EditionServiceStub(channel).FetchFile(request, timeout=DEADLINE_S)


def health(method: str) -> Call:
    request = health_pb2.HealthCheckRequest()

    def call(channel: grpc.Channel) -> Any:
        answer = getattr(health_pb2_grpc.HealthStub(channel), method)(request, timeout=DEADLINE_S)
        return first_of(answer) if method == "Watch" else answer

    return call


def reflect(method: str) -> Call:
    """List the services, by either version of reflection: their messages are the same."""

    def call(channel: grpc.Channel) -> Any:
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()])
        return first_of(channel.stream_stream(method)(requests, timeout=DEADLINE_S))

    return call


# --- NumberingService


def fill(node: SecureNode, operator_id: int) -> None:
    """Give the operator a set, and drop what is held."""
    numbers = [FIRST_OF[operator_id] + i for i in range(SET_SIZE)]
    node.store.sets.replace_active_set(operator_id, active_set_of(numbers), data_time=NOW, now=NOW)


def push(node: SecureNode, operator_id: int) -> Call:
    """A delta that adds a number."""
    fill(node, operator_id)
    header = numbering_pb2.PushHeader(
        operator_id=operator_id,
        mode=numbering_pb2.PUSH_MODE_DELTA,
        base_version=node.store.sets.head(operator_id).version,
        data_time=stamp(),
    )
    requests = [Request(header=header), Request(add=[FIRST_OF[operator_id] + SET_SIZE + 1])]
    return lambda channel: numbering_pb2_grpc.NumberingServiceStub(channel).PushActiveNumbers(
        iter(requests), timeout=DEADLINE_S
    )


def confirm(node: SecureNode, operator_id: int) -> Call:
    """The confirmation of a snapshot that is held."""
    request = numbering_pb2.ConfirmPushRequest(
        operator_id=operator_id, confirmation_token=token_of_held(node, operator_id)
    )
    return lambda channel: numbering_pb2_grpc.NumberingServiceStub(channel).ConfirmPush(request, timeout=DEADLINE_S)


def token_of_held(node: SecureNode, operator_id: int) -> str:
    """Push a snapshot that is held, as the administrator; its token."""
    fill(node, operator_id)
    header = numbering_pb2.PushHeader(operator_id=operator_id, mode=numbering_pb2.PUSH_MODE_SNAPSHOT, data_time=stamp())
    with node.channel("administrator") as channel:
        held = numbering_pb2_grpc.NumberingServiceStub(channel).PushActiveNumbers(
            iter([Request(header=header, add=[FIRST_OF[operator_id]])]), timeout=DEADLINE_S
        )
    return str(held.confirmation_token)


def reject(node: SecureNode, operator_id: int) -> Call:
    """The rejection of a snapshot that is held."""
    request = numbering_pb2.RejectHeldPushRequest(
        operator_id=operator_id, confirmation_token=token_of_held(node, operator_id)
    )
    return lambda channel: numbering_pb2_grpc.NumberingServiceStub(channel).RejectHeldPush(request, timeout=DEADLINE_S)


def held(_node: SecureNode, operator_id: int) -> Call:
    """The pushes that wait to be confirmed; everybody's, for operator 0."""
    request = numbering_pb2.ListHeldPushesRequest(operator_id=operator_id)
    return lambda channel: numbering_pb2_grpc.NumberingServiceStub(channel).ListHeldPushes(request, timeout=DEADLINE_S)


def state(_node: SecureNode, operator_id: int) -> Call:
    """The head of a set; of the portings, for operator 0."""
    request = numbering_pb2.GetOperatorStateRequest(operator_id=operator_id)
    return lambda channel: numbering_pb2_grpc.NumberingServiceStub(channel).GetOperatorState(
        request, timeout=DEADLINE_S
    )


def identifications(node: SecureNode, operator_id: int) -> Call:
    """Whom a service identified on an operator's number, of which there is at least one to tell."""
    keys = read_keys(node.directory.parent / "data" / "keys.json")
    vault, registration_id = Vault(keys.keyring, secrets.token_bytes), secrets.token_bytes(16)
    sealed = vault.sealed_number(registration_id, FIRST_OF[operator_id])
    row: Any = SimpleNamespace(
        registration_id=registration_id, service="chat", state=2, confirmed_by=operator_id, **sealed
    )
    node.control.callers.agree("chat", operator_id, now=NOW, identifications=True)
    node.control.directory.refresh()
    registrations = node.store.registrations(Chain(keys.keyring))
    registrations.write(lambda work: work.note_identification(row, 0, anew=True))
    request = numbering_pb2.WatchIdentificationsRequest(operator_id=operator_id)
    return lambda channel: first_of(
        numbering_pb2_grpc.NumberingServiceStub(channel).WatchIdentifications(request, timeout=DEADLINE_S)
    )


def push_portings(node: SecureNode) -> Call:
    """A delta that ports a number of the first operator to the second."""
    header = numbering_pb2.PortingsHeader(
        mode=numbering_pb2.PUSH_MODE_DELTA, base_version=node.store.sets.portings_head().version, data_time=stamp()
    )
    number = FIRST + 10_000 + next(_numbers)
    request = numbering_pb2.PushPortingsRequest(
        header=header, ported=[numbering_pb2.PortedNumbers(operator_id=BETA, numbers=[number])]
    )
    return lambda channel: numbering_pb2_grpc.NumberingServiceStub(channel).PushPortings(
        iter([request]), timeout=DEADLINE_S
    )


def import_plan(node: SecureNode) -> Call:
    """The plan that is there, with another region."""
    names = {one.operator_id: (one.display_name, one.tax_id or "") for one in node.store.operators()}
    rows = [
        numbering_pb2.PlanRow(
            first=one.first,
            last=one.last,
            operator_name=names[one.operator_id][0],
            tax_id=names[one.operator_id][1],
            region=f"region {next(_numbers)}",
        )
        for one in node.store.ranges()
    ]
    request = numbering_pb2.ImportNumberingPlanRequest(
        header=numbering_pb2.PlanHeader(calling_code=7, source="rows"), rows=rows
    )
    return lambda channel: numbering_pb2_grpc.NumberingServiceStub(channel).ImportNumberingPlan(
        iter([request]), timeout=DEADLINE_S
    )


def watch_index(channel: grpc.Channel) -> Any:
    stub = numbering_pb2_grpc.NumberingServiceStub(channel)
    return first_of(stub.WatchIndex(numbering_pb2.WatchIndexRequest(), timeout=DEADLINE_S))


# --- CallerService


def caller(node: SecureNode, method: str) -> Call:
    """A call about a caller, or an agreement, of the call's own."""
    uri, service = f"numcheck://auditor/{next(_numbers)}", f"s{next(_numbers)}"
    if method in ("RevokeCaller", "IssueToken"):
        node.control.callers.add(Caller(uri, Role.AUDITOR), now=NOW)
    if method == "EndAgreement":
        node.control.callers.agree(service, ALPHA, now=NOW)
    agreement = caller_pb2.Agreement(service=service, operator_id=ALPHA)
    requests = {
        "AddCaller": lambda: caller_pb2.AddCallerRequest(
            caller=caller_pb2.Caller(uri=uri, role=caller_pb2.ROLE_AUDITOR)
        ),
        "ListCallers": caller_pb2.ListCallersRequest,
        "RevokeCaller": lambda: caller_pb2.RevokeCallerRequest(uri=uri),
        "IssueToken": lambda: caller_pb2.IssueTokenRequest(uri=uri),
        "AddAgreement": lambda: caller_pb2.AddAgreementRequest(agreement=agreement),
        "EndAgreement": lambda: caller_pb2.EndAgreementRequest(agreement=agreement),
    }
    request = requests[method]()
    return lambda channel: getattr(caller_pb2_grpc.CallerServiceStub(channel), method)(request, timeout=DEADLINE_S)


# --- RegistrationService

ADDRESS = pb.NetworkAddress(address="192.0.2.7", port=5000)
DATA = {"name": "as he typed it"}


def register_request(service: str) -> pb.RegisterRequest:
    """A registration of a new user of a number that nobody has data for."""
    number = FIRST + 15_000
    return pb.RegisterRequest(
        service=service,
        user_id=f"u{next(_numbers)}",
        number=f"+{number}",
        network_address=ADDRESS,
        registration_data=DATA,
    )


def registration(node: SecureNode, method: str, service: str) -> Call:
    """A call about a user of the service, whom the administrator has registered for it."""
    request = _registration_request(node, method, service)
    if method == "ImportRegistrations":
        return lambda channel: list(RegistrationServiceStub(channel).ImportRegistrations(iter([request])))

    def call(channel: grpc.Channel) -> Any:
        answer = getattr(RegistrationServiceStub(channel), method)(request, timeout=DEADLINE_S)
        if method == "WatchRegistrations":
            return first_of(answer)
        return list(answer) if method == "ReverifyRegistrations" else answer

    return call


def _registration_request(node: SecureNode, method: str, service: str) -> Any:
    new = register_request(service)
    if method == "Register":
        return new
    if method == "ImportRegistrations":
        header = pb.ImportHeader(service=service, import_id=new.user_id)
        row = pb.ImportedRegistration(
            user_id=new.user_id, number=new.number, network_address=ADDRESS, registration_data=DATA
        )
        return pb.ImportRegistrationsRequest(header=header, rows=[row])
    attested = pb.VERIFICATION_METHOD_ATTESTED
    with node.channel("administrator") as channel:
        stub = RegistrationServiceStub(channel)
        stub.Register(new, timeout=DEADLINE_S)
        start = pb.StartVerificationRequest(service=service, user_id=new.user_id, method=attested)
        if method == "CompleteVerification":
            verification = stub.StartVerification(start, timeout=DEADLINE_S).verification
            act = pb.AttestedAct(authority="bank", assertion_id=new.user_id, attested_at=stamp())
            return pb.CompleteVerificationRequest(
                service=service, verification_id=verification.verification_id, attested_act=act
            )
    if method == "StartVerification":
        return start
    if method == "RefreshRegistration":
        return pb.RefreshRegistrationRequest(
            service=service, user_id=new.user_id, registration_data=DATA, network_address=ADDRESS
        )
    about: dict[str, Any] = {}
    if method in ("GetRegistration", "DeleteRegistration", "ChangeNumber"):
        about = {"user_id": new.user_id}
    if method == "ChangeNumber":
        about |= {"number": new.number, "network_address": ADDRESS}
    return getattr(pb, f"{method}Request")(service=service, **about)
