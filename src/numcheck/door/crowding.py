"""Gives a call that is one too many the details that every error of ours has.

grpcio refuses such a call before any handler is asked, and has no public way to say more than a code and a text: what
it calls for that is replaced. Where another version of grpcio has it not, or otherwise, its own refusal stands.
"""

import inspect
from importlib import import_module
from typing import Any

from google.rpc import code_pb2

from numcheck.api.errors import status_of
from numcheck.errors import TooManyCalls

PARAMETERS = ["rpc_event", "rpc_state", "status", "details"]
NEEDED = ("_reject_rpc", "_get_initial_metadata_operation", "_EMPTY_FLAGS")
DETAILS_KEY = "grpc-status-details-bin"


def give_details() -> bool:
    """Make grpcio refuse a call too many as TOO_MANY_CALLS, in this process; whether it can be made to."""
    server: Any = import_module("grpc._server")
    if not all(hasattr(server, name) for name in NEEDED):
        return False
    original = server._reject_rpc
    if getattr(original, "gives_details", False):
        return True
    if list(inspect.signature(original).parameters) != PARAMETERS:
        return False
    server._reject_rpc = _refusing(server, original)
    return True


def _refusing(server: Any, original: Any) -> Any:
    cygrpc: Any = import_module("grpc._cython.cygrpc")
    refusal = status_of(TooManyCalls("this node holds as many calls as it takes"))
    metadata, text = ((DETAILS_KEY, refusal.SerializeToString()),), refusal.message.encode()

    def reject(event: Any, state: Any, code: Any, details: bytes) -> None:
        if code != code_pb2.RESOURCE_EXHAUSTED:
            original(event, state, code, details)
            return
        operations = (
            server._get_initial_metadata_operation(state, None),
            cygrpc.ReceiveCloseOnServerOperation(server._EMPTY_FLAGS),
            cygrpc.SendStatusFromServerOperation(metadata, code, text, server._EMPTY_FLAGS),
        )
        event.call.start_server_batch(operations, lambda _event: (state, ()))

    reject.gives_details = True  # type: ignore[attr-defined]
    return reject
