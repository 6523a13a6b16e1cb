"""A client of RegistrationService: a messenger's side, for one service."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

import grpc

from numcheck.client.channel import PLAINTEXT, Security, open_channel
from numcheck.client.failures import let_go, refusal_of
from numcheck.client.importing import ImportCalls, RowsFrom
from numcheck.errors import RegistrationRefused, StoreDamaged
from numcheck.timestamps import timestamp
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub

DEADLINE_S = 10.0
SUMMARY_DEADLINE_S = 600.0  # of millions of registrations it takes a while
PAGE_SIZE = 1_000  # registrations: the most that a node gives at once

Proof = str | pb.InboundAct | pb.AttestedAct
Request = TypeVar(
    "Request",
    pb.RegisterRequest,
    pb.RefreshRegistrationRequest,
    pb.StartVerificationRequest,
    pb.ChangeNumberRequest,
)


class RegistrationClient:
    """Speaks with one node about the registrations of one service.

    Methods raise RegistrationRefused with the node's reason, NodeNotReady if repeating can help, or NodeUnreachable.
    No call is made again by itself: Register with its request_id, reads and erasures may be; each code that is given is
    a try.
    """

    def __init__(self, target: str, service: str, security: Security = PLAINTEXT) -> None:
        """Make a client of the node at `target`, host:port; nothing is connected yet."""
        self._target, self._service = target, service
        self._channel = open_channel(target, security)
        self._stub = RegistrationServiceStub(self._channel)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> "RegistrationClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def register(self, request: pb.RegisterRequest) -> pb.RegisterResponse:
        """Record a user and start to verify the number; the service is the client's. It may be repeated as it is, if it
        has a request_id."""
        response: pb.RegisterResponse = self._call(self._stub.Register, own(request, self._service))
        return response

    def get(self, user_id: str) -> pb.Registration:
        """Return a user's registration as it is now."""
        request = pb.GetRegistrationRequest(service=self._service, user_id=user_id)
        registration: pb.Registration = self._call(self._stub.GetRegistration, request).registration
        return registration

    def refresh(self, request: pb.RefreshRegistrationRequest) -> pb.RefreshRegistrationResponse:
        """Take a user's information anew and verify the number again; the service is the client's."""
        response: pb.RefreshRegistrationResponse = self._call(
            self._stub.RefreshRegistration, own(request, self._service)
        )
        return response

    def start_verification(self, request: pb.StartVerificationRequest) -> pb.StartVerificationResponse:
        """Start a verification, by the service's policy unless the request has a method; the service is the client's.
        The one under way ends."""
        response: pb.StartVerificationResponse = self._call(self._stub.StartVerification, own(request, self._service))
        return response

    def change_number(self, request: pb.ChangeNumberRequest) -> pb.ChangeNumberResponse:
        """Start to give a user another number, by the service's policy; the service is the client's. The verification
        under way ends, and the number of before stands until the new one is verified."""
        response: pb.ChangeNumberResponse = self._call(self._stub.ChangeNumber, own(request, self._service))
        return response

    def complete_verification(self, verification_id: str, proof: Proof) -> pb.Registration:
        """Give a verification its proof: the code that the user typed, an inbound act, or an attested one. The
        registration is VERIFIED then."""
        request = completion_request(self._service, verification_id, proof)
        registration: pb.Registration = self._call(self._stub.CompleteVerification, request).registration
        return registration

    def delete(self, user_id: str) -> None:
        """Erase a user's registration."""
        request = pb.DeleteRegistrationRequest(service=self._service, user_id=user_id)
        self._call(self._stub.DeleteRegistration, request)

    def list(
        self,
        *,
        states: Sequence[str] = (),
        number: str = "",
        due_before: datetime | None = None,
        registered_after: datetime | None = None,
        on_damaged: Callable[[str], None] | None = None,
    ) -> Iterator[pb.Registration]:
        """Every registration that the filters leave, page after page; states by their short names.

        `on_damaged` is told the id of each that the node leaves out, as what is stored of it is not what was written;
        without it the first is StoreDamaged.
        """
        request = list_request(self._service, states, number, due_before, registered_after)
        ahead = [self._stub.ListRegistrations.future(request, timeout=DEADLINE_S)]
        try:
            while ahead:
                page = self._answer(ahead.pop())
                if page.next_page_token:  # the node makes the next page while the caller is at this one
                    request.page_token = page.next_page_token
                    ahead.append(self._stub.ListRegistrations.future(request, timeout=DEADLINE_S))
                yield from page.registrations
                for registration_id in page.damaged_registration_ids:
                    (on_damaged or refuse_damaged)(registration_id)
        finally:
            for call in ahead:
                call.cancel()

    def summary(self) -> pb.SummarizeRegistrationsResponse:
        """Count the service's registrations."""
        request = pb.SummarizeRegistrationsRequest(service=self._service)
        summary: pb.SummarizeRegistrationsResponse = self._call(
            self._stub.SummarizeRegistrations, request, deadline_s=SUMMARY_DEADLINE_S
        )
        return summary

    def import_registrations(
        self,
        import_id: str,
        rows_from: RowsFrom,
        *,
        send_codes: bool = False,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> Iterator[pb.ImportRegistrationsResponse]:
        """Bring in users; an answer after each part, and one when it begins, which tells how far it came before.

        `rows_from(n)` gives the rows from place n on. An import that is cut goes on by itself, for minutes if the node
        is away; `tell` is told of it. One that ended in an error goes on with the same import_id and rows.
        """
        header = pb.ImportHeader(service=self._service, import_id=import_id, send_codes=send_codes)
        return ImportCalls(self._stub.ImportRegistrations, self._target, header, rows_from, tell).answers()

    def reverify(
        self, *, due_before: datetime | None = None, resume_token: str = ""
    ) -> Iterator[pb.ReverifyRegistrationsResponse]:
        """Verify again in bulk; a message after every piece."""
        request = pb.ReverifyRegistrationsRequest(
            service=self._service, due_before=timestamp(due_before), resume_token=resume_token
        )
        yield from self._stream(self._stub.ReverifyRegistrations(request))

    def watch(self, resume_token: str = "") -> Iterator[pb.WatchRegistrationsResponse]:
        """Every event, as it happens."""
        request = pb.WatchRegistrationsRequest(service=self._service, resume_token=resume_token)
        yield from self._stream(self._stub.WatchRegistrations(request))

    def _call(self, method: Any, request: Any, *, deadline_s: float = DEADLINE_S) -> Any:
        try:
            return method(request, timeout=deadline_s)
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, RegistrationRefused) from None

    def _answer(self, call: Any) -> Any:
        try:
            return call.result()
        except grpc.RpcError as error:
            refusal = refusal_of(error, self._target, RegistrationRefused)
            let_go(error)
        del call  # see let_go
        raise refusal

    def _stream(self, call: Any) -> Iterator[Any]:
        try:
            yield from call
            return
        except grpc.RpcError as error:
            refusal = refusal_of(error, self._target, RegistrationRefused)
            let_go(error)
        finally:
            call.cancel()
            del call  # see let_go
        raise refusal


def own(request: Request, service: str) -> Request:
    """Return the request, about the client's service; the caller's own stays as it was."""
    one = type(request)()
    one.CopyFrom(request)
    one.service = service
    return one


def completion_request(service: str, verification_id: str, proof: Proof) -> pb.CompleteVerificationRequest:
    """Return the request that gives a verification its proof."""
    request = pb.CompleteVerificationRequest(service=service, verification_id=verification_id)
    if isinstance(proof, str):
        request.code = proof
    elif isinstance(proof, pb.InboundAct):
        request.inbound_act.CopyFrom(proof)
    else:
        request.attested_act.CopyFrom(proof)
    return request


def list_request(
    service: str,
    states: Sequence[str],
    number: str,
    due_before: datetime | None,
    registered_after: datetime | None,
) -> pb.ListRegistrationsRequest:
    """Return the request for the first page of what the filters leave; states by their short names."""
    return pb.ListRegistrationsRequest(
        service=service,
        page_size=PAGE_SIZE,
        number=number,
        due_before=timestamp(due_before),
        registered_after=timestamp(registered_after),
        states=[f"REGISTRATION_STATE_{state}" for state in states],
    )


def refuse_damaged(registration_id: str) -> None:
    """Raise StoreDamaged, about a registration that a list leaves out."""
    raise StoreDamaged(f"registration {registration_id} is not what was written", registration_id=registration_id)
