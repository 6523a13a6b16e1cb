"""What a call of a campaign's client came to, when it was no answer."""

from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

DEADLINE_S = 30.0
PASSING_REASON = "TOO_MANY_CALLS"  # nothing was done, and the call may be repeated: the machine is slow
OPEN_REASONS = ("STORE_UNAVAILABLE",)  # the database went away, perhaps after it had committed


class NodeEnded(Exception):
    """The node, or its database, was killed before it answered: what was asked for may have happened or not."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A status that numcheck gave, with its reason."""

    reason: str
    metadata: dict[str, str]

    @property
    def passes(self) -> bool:
        """True if the same call is to be made again."""
        return self.reason == PASSING_REASON


def refused_by(error: grpc.RpcError) -> Refused | None:
    """What numcheck refused the call with; None if the answer does not say that nothing was done."""
    status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
    if status is None or not any(detail.Unpack(info) for detail in status.details):
        return None
    return None if info.reason in OPEN_REASONS else Refused(info.reason, dict(info.metadata))
