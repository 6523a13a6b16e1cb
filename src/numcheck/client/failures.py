"""Failures of calls as exceptions for the client's caller: by the reason that the node gave, if it gave one."""

from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from numcheck.errors import CallRefused, NodeNotReady, NodeUnreachable, NumcheckError

Detail = TypeVar("Detail", error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo)

# The first words of gRPC's messages about a peer that it could not reach.
NOBODY_THERE = (
    "failed to connect",
    "connections to all backends failing",
    "errors resolving",
    "DNS resolution failed",
)

# Words of gRPC about a connection that failed before any call, and what is to be looked at: the first found counts.
CAUSES = {
    "CERTIFICATE_VERIFY_FAILED": "the authority that was given (server_authority_file) did not issue its certificate",
    "Hostname Verification": "its certificate is for another host name or address than this one",
    "WRONG_VERSION_NUMBER": "it does not speak TLS: give no authority (server_authority_file), or name another port",
    "security handshaker": "the client's certificate and key do not belong together, or are not PEM",
    "TSI_DATA_CORRUPTED": "it does not accept the client's certificate, or asks for one (client_certificate_file)",
    "parsing HTTP/2": "it does not speak gRPC: name another port",
    "Socket closed": "it closed the connection: if it asks for TLS, name its authority (server_authority_file)",
}

# gRPC's for asyncio, where it could not write into a call because that had ended: the status it ended with is lost.
WRITE_FAILED = "Internal error from Core"


def reason_of(error: Any) -> str | None:
    """Return the reason that the node gave, or None: then the words are the transport's."""
    info = _error_info(error)
    return None if info is None else str(info.reason)


def names_a_delay(error: Any) -> bool:
    """Return True if the node said how long to wait: it does where the same call can be answered later."""
    return _try_detail(error, error_details_pb2.RetryInfo()) is not None


def _error_info(error: Any) -> error_details_pb2.ErrorInfo | None:
    return _try_detail(error, error_details_pb2.ErrorInfo())


def _try_detail(error: Any, detail: Detail) -> Detail | None:
    """Return the detail of that kind, read into the one given; None if the status has none."""
    status = rpc_status.from_call(error)
    return detail if any(one.Unpack(detail) for one in (status.details if status is not None else ())) else None


def refusal_of(error: grpc.RpcError, target: str, kind: type[CallRefused]) -> NumcheckError:
    """Return the error that a client raises for a call which failed: of that kind, if the node refused it for good."""
    info, retry = _error_info(error), _try_detail(error, error_details_pb2.RetryInfo())
    if info is None or error.code() is grpc.StatusCode.UNAVAILABLE:
        return _failure_of(error, target)
    delay_s = None if retry is None else retry.retry_delay.ToTimedelta().total_seconds()
    return kind(f"{info.reason}: {_words(error)}", info.reason, info.metadata, delay_s)


def let_go(error: grpc.RpcError) -> None:
    """Let a call go that is its own error, once the except clause is over: raise outside of it, and delete the call.

    A call needs a lock to go, which a thread of gRPC's may have when the interpreter ends: then it never ends. So
    nothing that outlives the client, such as the error that is raised and its frames, knows a call.
    """
    error.with_traceback(None)


def connection_ended(error: grpc.RpcError) -> bool:
    """Return True if the connection ended under the call: it was too old, the node stops, or the network broke."""
    if error.code() is grpc.StatusCode.INTERNAL:
        return _words(error).startswith(WRITE_FAILED)
    unavailable = error.code() is grpc.StatusCode.UNAVAILABLE and reason_of(error) is None
    return unavailable and not _words(error).startswith(NOBODY_THERE)


def _failure_of(error: grpc.RpcError, target: str) -> NumcheckError:
    """Return the error of a call that did not reach a node, or one that cannot answer it now."""
    code, reason = error.code(), reason_of(error)
    if code is grpc.StatusCode.UNAVAILABLE and reason is not None:
        return NodeNotReady(f"the node at {target} is there and cannot answer this yet: {_words(error)}", reason)
    if connection_ended(error):
        return NodeUnreachable(f"the connection to {target} has ended: the node stops, or the network broke")
    if cause := _cause_of(error):
        return NodeUnreachable(f"no connection to {target}: {cause}")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return NodeUnreachable(f"no node answers at {target}; `numcheck serve` starts one")
    return NodeUnreachable(f"the node at {target} answered {code.name}: {_words(error)}")


def _cause_of(error: grpc.RpcError) -> str | None:
    """Return why no connection can be made as things stand, though something listens there; None if that is unknown."""
    words = _words(error)
    return next((cause for said, cause in CAUSES.items() if said in words), None)


def _words(error: grpc.RpcError) -> str:
    return error.details() or ""
