"""How the tests call a node: stubs, raw bytes, and what a refusal tells."""

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

SERVICE = "/numcheck.v1.CheckService"
UNARY = ("CheckNumber", "CheckNumbers", "CheckRecycled", "ListOperators")
DEADLINE_S = 20.0


class Refusal(NamedTuple):
    """What a caller learns from an error: its code, its words, and its google.rpc details."""

    code: grpc.StatusCode
    message: str
    reason: str | None
    domain: str | None
    metadata: dict[str, str]
    violations: list[tuple[str, str]]
    retry_delay_s: float | None


def refusal(call: Callable[[], Any]) -> Refusal:
    """Make a call that has to fail."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return refusal_of(raised.value)


def refusal_of(error: Any) -> Refusal:
    """Read an error."""
    status = rpc_status.from_call(error)
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    found = {
        message for detail in (status.details if status else ()) for message in _unpacked(detail, info, request, retry)
    }
    return Refusal(
        code=error.code(),
        message=error.details(),
        reason=info.reason if "ErrorInfo" in found else None,
        domain=info.domain if "ErrorInfo" in found else None,
        metadata=dict(info.metadata),
        violations=[(one.field, one.reason) for one in request.field_violations],
        retry_delay_s=retry.retry_delay.ToTimedelta().total_seconds() if "RetryInfo" in found else None,
    )


def _unpacked(detail: Any, *messages: Any) -> list[str]:
    return [message.DESCRIPTOR.name for message in messages if detail.Unpack(message)]


def call_raw(channel: grpc.Channel, method: str, body: bytes, service: str = SERVICE) -> bytes:
    """Call a unary method with these bytes."""
    answer: bytes = channel.unary_unary(f"{service}/{method}")(body, timeout=DEADLINE_S)
    return answer


def stream_raw(channel: grpc.Channel, *bodies: bytes) -> list[bytes]:
    """Send these bytes over a stream; the answers' bytes."""
    return list(channel.stream_stream(f"{SERVICE}/StreamCheckNumbers")(iter(bodies), timeout=DEADLINE_S))
