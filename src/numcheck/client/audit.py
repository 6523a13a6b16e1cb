"""A client of AuditService: what an auditor gets of a node, and needs no key for."""

import json
from collections.abc import Iterator
from typing import Any

import grpc

from numcheck.client.channel import PLAINTEXT, Security, open_channel
from numcheck.client.failures import refusal_of
from numcheck.client.push import DEADLINE_S
from numcheck.errors import PushRefused
from numcheck.v1 import audit_pb2 as pb
from numcheck.v1 import audit_pb2_grpc

MICROSECOND_NS = 1_000


class AuditClient:
    """Speaks with one node. Methods raise PushRefused with the node's reason, NodeNotReady, or NodeUnreachable."""

    def __init__(self, target: str, security: Security = PLAINTEXT) -> None:
        """Make a client of the node at `target`, host:port; nothing is connected yet."""
        self._target = target
        self._stub = audit_pb2_grpc.AuditServiceStub(open_channel(target, security))

    def head(self) -> dict[str, Any]:
        """Return the signed head, with the fields of `numcheck events head`."""
        try:
            return _head_fields(self._stub.GetHead(pb.GetHeadRequest(), timeout=DEADLINE_S).head)
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, PushRefused) from None

    def lines(self, *, after: int = 0) -> Iterator[str]:
        """Return the events behind a position and the signed head, each as a line of `numcheck events export`."""
        try:
            for answer in self._stub.ExportEvents(pb.ExportEventsRequest(after_sequence=after)):
                yield from (json.dumps(_event_fields(event)) for event in answer.events)
                if answer.HasField("head"):
                    yield json.dumps(_head_fields(answer.head))
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, PushRefused) from None

    def row_digests(self) -> Iterator[pb.RowDigest]:
        """Return what each row is now, by kind and id."""
        try:
            for answer in self._stub.ListRowDigests(pb.ListRowDigestsRequest()):
                yield from answer.rows
        except grpc.RpcError as error:
            raise refusal_of(error, self._target, PushRefused) from None


def _head_fields(head: pb.ChainHead) -> dict[str, Any]:
    return {
        "sequence": head.sequence,
        "hash": head.hash.hex(),
        "signed_at_us": head.signed_at.ToNanoseconds() // MICROSECOND_NS,
        "signature": head.signature.hex(),
        "public_key": head.public_key.hex(),
        "service": "",
    }


def _event_fields(event: pb.ChainEvent) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "at_us": event.event_time.ToNanoseconds() // MICROSECOND_NS,
        "service": event.service,
        "registration_id": event.registration_id.hex(),
        "kind": event.kind,
        "state": event.state,
        "details": event.details,
        "hash": event.hash.hex(),
    }
