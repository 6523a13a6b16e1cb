"""What the native door asks of Python beside the methods: who may call, and what a status looks like in HTTP/2."""

import base64
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from numcheck._budget import Allowance
from numcheck.access import Caller
from numcheck.api.access import Admission, Shown, agreements_of
from numcheck.api.asking import AllowanceOf, asker_name
from numcheck.api.errors import log_failure, status_of
from numcheck.errors import TooManyCalls, UnknownMethod

trace_parent_of: Callable[[Any], str] = attrgetter("trace_parent")
"""Reads what a Call's caller sent as `traceparent`."""


class Status(NamedTuple):
    """A status as HTTP/2 headers carry it: its message percent-encoded, its details in base64."""

    code: int
    message: bytes
    details: bytes


Agreements = frozenset[int] | None
"""The operators whose data a caller may see; None: all."""


class NativeCaller(NamedTuple):
    """Who calls: who was admitted, and by what they showed."""

    caller: Caller
    shown: Shown


class Admitted(NamedTuple):
    """A caller as a loop keeps them: their agreements, the name that counts their numbers, their own name, whose line
    their calls wait in, and what they may ask about; or why they may not call."""

    agreements: Agreements
    asker: str
    caller: NativeCaller | None
    party: str
    allowance: Allowance | None
    refusal: Status | None = None


def admitted(admission: Admission, allowance_of: AllowanceOf, shown: Shown, path: str) -> Admitted:
    """Ask whether the client may call a method. Neither may wait, as an event loop does."""
    try:
        caller = admission.admit(shown, path)
        agreements = agreements_of(caller, admission.agreed)
        return Admitted(agreements, asker_name(caller), NativeCaller(caller, shown), caller.party, allowance_of(caller))
    except Exception as error:
        log_failure(error)
        return Admitted(None, "", None, "", None, refusal(error))


def authorizations(joined: bytes) -> tuple[str, ...]:
    """Return the values of `authorization`, each of which stands behind a NUL, as no header can hold one."""
    return tuple(value.decode("utf-8", "surrogateescape") for value in joined.split(b"\0")[1:])


def refusal(error: Exception) -> Status:
    """Return the error's status as HTTP/2 headers carry it."""
    status = status_of(error)
    details = base64.b64encode(status.SerializeToString()).rstrip(b"=")
    return Status(status.code, percent_encoded(status.message), details)


def ready_refusals() -> dict[str, Status]:
    """Return the refusals that a loop gives without asking: of a method that is none, of a call that may not wait."""
    return {
        "unknown": refusal(UnknownMethod("this node has no such method")),
        "crowded": refusal(TooManyCalls("as many calls wait as this node can begin soon")),
    }


def percent_encoded(text: str) -> bytes:
    """Encode as grpc-message has it: printable ASCII but the percent sign stands for itself."""
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != ord("%") else b"%%%02X" % byte for byte in text.encode()
    )
