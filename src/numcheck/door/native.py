"""Admission and statuses for the native door's loops: who may call, and a refusal as HTTP/2 headers carry it."""

import base64
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from numcheck._budget import Allowance
from numcheck.access import Caller
from numcheck.api.access import Admission, Shown, agreements_of
from numcheck.api.asking import AllowanceOf, asker_name
from numcheck.api.errors import log_failure, status_of
from numcheck.errors import MessageTooLarge, MetadataTooLarge, TooManyCalls, UnknownMethod

trace_parent_of: Callable[[Any], str] = attrgetter("trace_parent")
"""Read the `traceparent` that a Call's caller sent."""


class Status(NamedTuple):
    """A status as HTTP/2 headers carry it: its message percent-encoded, its details in base64."""

    code: int
    message: bytes
    details: bytes


Agreements = frozenset[int] | None
"""The operators whose data a caller may see; None: all."""


class NativeCaller(NamedTuple):
    """An admitted caller, and the credentials that they were admitted by."""

    caller: Caller
    shown: Shown


class Admitted(NamedTuple):
    """A caller as a loop keeps them: agreements, role, the name under which their numbers are counted, the caller, the
    party whose line their calls wait in, and the numbers that they may ask about; or the refusal, if they may not call.
    """

    agreements: Agreements
    role: str
    asker: str
    caller: NativeCaller | None
    party: str
    allowance: Allowance | None
    refusal: Status | None = None


def admitted(admission: Admission, allowance_of: AllowanceOf, shown: Shown, path: str) -> Admitted:
    """Return the caller if they may call the method, or the refusal. Never blocks: an event loop waits for it."""
    try:
        caller = admission.admit(shown, path)
        agreements = agreements_of(caller, admission.agreed)
        return Admitted(
            agreements,
            str(caller.role),
            asker_name(caller),
            NativeCaller(caller, shown),
            caller.party,
            allowance_of(caller),
        )
    except Exception as error:
        log_failure(error)
        return Admitted(None, "", "", None, "", None, refusal(error))


def authorizations(joined: bytes) -> tuple[str, ...]:
    """Return the values of `authorization`, each of which follows a NUL: no header can contain one."""
    return tuple(value.decode("utf-8", "surrogateescape") for value in joined.split(b"\0")[1:])


def refusal(error: Exception) -> Status:
    """Return the error's status as HTTP/2 headers carry it."""
    status = status_of(error)
    details = base64.b64encode(status.SerializeToString()).rstrip(b"=")
    return Status(status.code, percent_encoded(status.message), details)


def ready_refusals(unknown: str) -> dict[str, Status]:
    """Return the refusals that a loop gives by itself; that of an unknown method in these words."""
    return {
        "unknown": refusal(UnknownMethod(unknown)),
        "crowded": refusal(TooManyCalls("as many calls wait as this node can begin soon")),
        "full": refusal(TooManyCalls("this node holds as many requests and answers as it can")),
        "large_message": refusal(MessageTooLarge("the message is larger than this node takes")),
        "large_metadata": refusal(MetadataTooLarge("the metadata is larger than this node takes")),
    }


def percent_encoded(text: str) -> bytes:
    """Encode for grpc-message: printable ASCII, except the percent sign, stays as it is."""
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != ord("%") else b"%%%02X" % byte for byte in text.encode()
    )
