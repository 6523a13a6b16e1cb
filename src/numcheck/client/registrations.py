"""A client of RegistrationService for whoever looks after a service's registrations."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.client.channel import PLAINTEXT, Security, open_channel
from numcheck.errors import NodeUnreachable
from numcheck.v1 import registration_pb2 as pb
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub

DEADLINE_S = 10.0


class RegistrationClient:
    """Asks one node about one service. Methods raise NodeUnreachable, with the node's own words where it has some."""

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

    def list(
        self, *, states: Sequence[str] = (), number: str = "", due_before: datetime | None = None
    ) -> Iterator[pb.Registration]:
        """Every registration that the filters leave, page after page; states by their short names."""
        request = pb.ListRegistrationsRequest(
            service=self._service,
            number=number,
            due_before=_stamp(due_before),
            states=[f"REGISTRATION_STATE_{state}" for state in states],
        )
        while True:
            try:
                page = self._stub.ListRegistrations(request, timeout=DEADLINE_S)
            except grpc.RpcError as error:
                raise self._unreachable(error) from None
            yield from page.registrations
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def reverify(
        self, *, due_before: datetime | None = None, resume_token: str = ""
    ) -> Iterator[pb.ReverifyRegistrationsResponse]:
        """Verify again in bulk; a message after every piece."""
        request = pb.ReverifyRegistrationsRequest(
            service=self._service, due_before=_stamp(due_before), resume_token=resume_token
        )
        yield from self._stream(self._stub.ReverifyRegistrations(request))

    def watch(self, resume_token: str = "") -> Iterator[pb.WatchRegistrationsResponse]:
        """Every event, as it happens."""
        request = pb.WatchRegistrationsRequest(service=self._service, resume_token=resume_token)
        yield from self._stream(self._stub.WatchRegistrations(request))

    def _stream(self, call: Any) -> Iterator[Any]:
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._unreachable(error) from None
        finally:
            call.cancel()

    def _unreachable(self, error: grpc.RpcError) -> NodeUnreachable:
        code = error.code()
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return NodeUnreachable(f"no node answers at {self._target}; `numcheck serve` starts one")
        return NodeUnreachable(f"the node at {self._target} answered {code.name}: {error.details()}")


def _stamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
