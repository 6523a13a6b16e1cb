"""A client of RegistrationService for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

import grpc

from numcheck.client.channel import PLAINTEXT, Security, open_aio_channel
from numcheck.client.failures import refusal_of
from numcheck.client.importing import RowsFrom
from numcheck.client.registrations import (
    DEADLINE_S,
    SUMMARY_DEADLINE_S,
    Proof,
    RegistrationClient,
    completion_request,
    list_request,
    own,
    refuse_damaged,
)
from numcheck.errors import RegistrationRefused
from numcheck.timestamps import timestamp
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub


class AsyncRegistrationClient:
    """Speaks with one node about the registrations of one service, from the tasks of one event loop:
    `RegistrationClient` with the same methods.

    They raise RegistrationRefused with the node's reason, NodeNotReady if repeating can help, or NodeUnreachable. No
    call is made again by itself: Register with its request_id, reads and erasures may be; each code that is given is a
    try.
    """

    def __init__(self, target: str, service: str, security: Security = PLAINTEXT) -> None:
        """Make a client of the node at `target`, host:port; nothing is connected yet."""
        self._target, self._service, self._security = target, service, security
        self._channel = open_aio_channel(target, security)
        self._stub: Any = RegistrationServiceStub(self._channel)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> "AsyncRegistrationClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def register(self, request: pb.RegisterRequest) -> pb.RegisterResponse:
        """Record a user and start to verify the number; the service is the client's. It may be repeated as it is, if it
        has a request_id."""
        response: pb.RegisterResponse = await self._call(self._stub.Register, own(request, self._service))
        return response

    async def get(self, user_id: str) -> pb.Registration:
        """Return a user's registration as it is now."""
        request = pb.GetRegistrationRequest(service=self._service, user_id=user_id)
        response: pb.GetRegistrationResponse = await self._call(self._stub.GetRegistration, request)
        return response.registration

    async def refresh(self, request: pb.RefreshRegistrationRequest) -> pb.RefreshRegistrationResponse:
        """Take a user's information anew and verify the number again; the service is the client's."""
        response: pb.RefreshRegistrationResponse = await self._call(
            self._stub.RefreshRegistration, own(request, self._service)
        )
        return response

    async def start_verification(self, request: pb.StartVerificationRequest) -> pb.StartVerificationResponse:
        """Start a verification, by the service's policy unless the request has a method; the service is the client's.
        The one under way ends."""
        response: pb.StartVerificationResponse = await self._call(
            self._stub.StartVerification, own(request, self._service)
        )
        return response

    async def change_number(self, request: pb.ChangeNumberRequest) -> pb.ChangeNumberResponse:
        """Start to give a user another number, by the service's policy; the service is the client's. The verification
        under way ends, and the number of before stands until the new one is verified."""
        response: pb.ChangeNumberResponse = await self._call(self._stub.ChangeNumber, own(request, self._service))
        return response

    async def complete_verification(self, verification_id: str, proof: Proof) -> pb.Registration:
        """Give a verification its proof: the code that the user typed, an inbound act, or an attested one. The
        registration is VERIFIED then."""
        request = completion_request(self._service, verification_id, proof)
        response: pb.CompleteVerificationResponse = await self._call(self._stub.CompleteVerification, request)
        return response.registration

    async def delete(self, user_id: str) -> None:
        """Erase a user's registration."""
        request = pb.DeleteRegistrationRequest(service=self._service, user_id=user_id)
        await self._call(self._stub.DeleteRegistration, request)

    async def list(
        self,
        *,
        states: Sequence[str] = (),
        number: str = "",
        due_before: datetime | None = None,
        registered_after: datetime | None = None,
        on_damaged: Callable[[str], None] | None = None,
    ) -> AsyncIterator[pb.Registration]:
        """Every registration that the filters leave, page after page; states by their short names.

        `on_damaged` is told the id of each that the node leaves out, as what is stored of it is not what was written;
        without it the first is StoreDamaged.
        """
        request = list_request(self._service, states, number, due_before, registered_after)
        is_last = False
        while not is_last:
            page: pb.ListRegistrationsResponse = await self._call(self._stub.ListRegistrations, request)
            for registration in page.registrations:
                yield registration
            for registration_id in page.damaged_registration_ids:
                (on_damaged or refuse_damaged)(registration_id)
            request.page_token, is_last = page.next_page_token, not page.next_page_token

    async def summary(self) -> pb.SummarizeRegistrationsResponse:
        """Count the service's registrations."""
        request = pb.SummarizeRegistrationsRequest(service=self._service)
        summary: pb.SummarizeRegistrationsResponse = await self._call(
            self._stub.SummarizeRegistrations, request, deadline_s=SUMMARY_DEADLINE_S
        )
        return summary

    async def import_registrations(
        self,
        import_id: str,
        rows_from: RowsFrom,
        *,
        send_codes: bool = False,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> AsyncIterator[pb.ImportRegistrationsResponse]:
        """Bring in users, as `RegistrationClient` does, on another thread: `rows_from` may read files, and both it and
        `tell` are called there."""
        with RegistrationClient(self._target, self._service, self._security) as client:
            answers = client.import_registrations(import_id, rows_from, send_codes=send_codes, tell=tell)
            while (answer := await asyncio.to_thread(next, answers, None)) is not None:
                yield answer

    async def reverify(
        self, *, due_before: datetime | None = None, resume_token: str = ""
    ) -> AsyncIterator[pb.ReverifyRegistrationsResponse]:
        """Verify again in bulk; a message after every piece."""
        request = pb.ReverifyRegistrationsRequest(
            service=self._service, due_before=timestamp(due_before), resume_token=resume_token
        )
        async for answer in self._stream(self._stub.ReverifyRegistrations(request)):
            yield answer

    async def watch(self, resume_token: str = "") -> AsyncIterator[pb.WatchRegistrationsResponse]:
        """Every event, as it happens."""
        request = pb.WatchRegistrationsRequest(service=self._service, resume_token=resume_token)
        async for answer in self._stream(self._stub.WatchRegistrations(request)):
            yield answer

    async def _call(self, method: Any, request: Any, *, deadline_s: float = DEADLINE_S) -> Any:
        try:
            return await method(request, timeout=deadline_s)
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, RegistrationRefused) from None

    async def _stream(self, call: Any) -> AsyncIterator[Any]:
        try:
            async for answer in call:
                yield answer
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, RegistrationRefused) from None
        finally:
            call.cancel()
