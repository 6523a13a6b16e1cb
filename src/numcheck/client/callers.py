"""A client of CallerService: says who may call."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc

from numcheck.client.channel import PLAINTEXT, Security, open_channel
from numcheck.client.failures import refusal_of
from numcheck.client.push import DEADLINE_S
from numcheck.errors import PushRefused
from numcheck.v1 import caller_pb2, caller_pb2_grpc


class CallerClient:
    """Speaks with one node. Methods raise PushRefused with the node's reason, NodeNotReady, or NodeUnreachable."""

    def __init__(self, target: str, security: Security = PLAINTEXT) -> None:
        """Make a client of the node at `target`, host:port; nothing is connected yet."""
        self._target = target
        self._stub = caller_pb2_grpc.CallerServiceStub(open_channel(target, security))

    @classmethod
    def of_methods(cls, methods: "Mapping[str, Callable[[bytes, Any], bytes]]") -> "CallerClient":
        """Return a client of the service's methods themselves, where there is no node to ask."""
        client = cls("", PLAINTEXT)
        client._stub = _Methods(methods)  # type: ignore[assignment]
        return client

    def add(self, caller: caller_pb2.Caller) -> None:
        """Add a caller."""
        self._call(self._stub.AddCaller, caller_pb2.AddCallerRequest(caller=caller))

    def list(self) -> caller_pb2.ListCallersResponse:
        """Every caller and agreement."""
        response: caller_pb2.ListCallersResponse = self._call(self._stub.ListCallers, caller_pb2.ListCallersRequest())
        return response

    def revoke(self, uri: str) -> None:
        """Let a caller call nothing any more."""
        self._call(self._stub.RevokeCaller, caller_pb2.RevokeCallerRequest(uri=uri))

    def issue_token(self, uri: str) -> str:
        """Return a new bearer token of a caller, shown this once."""
        return str(self._call(self._stub.IssueToken, caller_pb2.IssueTokenRequest(uri=uri)).token)

    def agree(self, service: str, operator_id: int, *, identifications: bool = False) -> None:
        """Record a contract of a service with an operator, and whether the operator is told whom it identified."""
        agreement = caller_pb2.Agreement(service=service, operator_id=operator_id, identifications=identifications)
        self._call(self._stub.AddAgreement, caller_pb2.AddAgreementRequest(agreement=agreement))

    def end_agreement(self, service: str, operator_id: int) -> None:
        """Record the end of one."""
        agreement = caller_pb2.Agreement(service=service, operator_id=operator_id)
        self._call(self._stub.EndAgreement, caller_pb2.EndAgreementRequest(agreement=agreement))

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, PushRefused) from None


class _Methods:
    """Stands in for a stub: each method takes a message and gives one."""

    def __init__(self, methods: Mapping[str, Callable[[bytes, Any], bytes]]) -> None:
        self._methods = methods

    def __getattr__(self, name: str) -> Callable[..., Any]:
        response = getattr(caller_pb2, f"{name}Response")
        return lambda request, timeout: response.FromString(self._methods[name](request.SerializeToString(), None))
