"""What the native listener asks of Python: the calls that its event loops do not answer themselves, and every refusal.

The answers are the API listener's own: the same servicer's methods, the same table of errors.
"""

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

from grpc_health.v1 import health_pb2

from numcheck.api.access import Admission, LoopbackAccess, Shown, agreements_of
from numcheck.api.asking import asker_name
from numcheck.api.calls import parsed
from numcheck.api.check import SERVICE_NAME, CheckService
from numcheck.api.errors import log_failure, status_of
from numcheck.errors import UnknownMethod, UnknownService

HEALTH = "/grpc.health.v1.Health/"
SERVICES = ("", SERVICE_NAME)
"""Those that health knows: what is served here. The empty name stands for the listener."""


class Answer(NamedTuple):
    """A response, or, if `code` is not 0, a status: its message percent-encoded and its details in base64."""

    response: bytes
    code: int = 0
    message: bytes = b""
    details: bytes = b""


Agreements = frozenset[int] | None
"""The operators whose data a caller may see; None: all."""


class NativeAnswers:
    """Answers by method. `serving` is what health says. Safe to ask from any thread."""

    def __init__(
        self,
        check_for: Callable[[Agreements], CheckService],
        admission: Admission | None = None,
    ) -> None:
        """`check_for` gives the service that answers a caller with such agreements; by default everybody may call."""
        self.serving = False
        self._check_for = check_for
        self._admission = admission or LoopbackAccess()

    def admit(self, shown: Shown, path: str) -> tuple[Agreements, str, Answer | None]:
        """What the client may see, the name that its numbers are counted by and None, or the status that the API
        listener would refuse with.

        It is asked on the thread that serves, so that the admission must not wait.
        """
        try:
            caller = self._admission.admit(shown, path)
            return agreements_of(caller, self._admission.agreed), asker_name(caller), None
        except Exception as error:
            log_failure(error)
            return None, "", refusal(error)

    def answer(self, path: str, request: bytes, agreements: Agreements = None) -> Answer:
        """The response, or the status that the API listener would refuse with."""
        try:
            if path.startswith(HEALTH):
                return Answer(self._health(request, watching=path.endswith("Watch")))
            return Answer(self._method(path, agreements)(request, None))
        except Exception as error:
            log_failure(error)
            return refusal(error)

    def _method(self, path: str, agreements: Agreements) -> Callable[[bytes, Any], bytes]:
        check = self._check_for(agreements)
        methods: dict[str, Callable[[bytes, Any], bytes]] = {
            f"/{SERVICE_NAME}/CheckNumbers": check.check_numbers,
            f"/{SERVICE_NAME}/StreamCheckNumbers": lambda request, context: next(
                check.stream_check_numbers(iter([request]), context)
            ),
            f"/{SERVICE_NAME}/CheckNumber": check.check_number,
            f"/{SERVICE_NAME}/ListOperators": check.list_operators,
        }
        if path not in methods:
            raise UnknownMethod("this node has no such method")
        return methods[path]

    def _health(self, request: bytes, *, watching: bool) -> bytes:
        response = health_pb2.HealthCheckResponse
        status: int = response.SERVICE_UNKNOWN
        if parsed(health_pb2.HealthCheckRequest, request).service in SERVICES:
            status = response.SERVING if self.serving else response.NOT_SERVING
        elif not watching:
            raise UnknownService("this listener has no such service")
        return response(status=status).SerializeToString()


def authorizations(joined: bytes) -> tuple[str, ...]:
    """Return the values of `authorization`, each of which stands behind a NUL, as no header can hold one."""
    return tuple(value.decode("utf-8", "surrogateescape") for value in joined.split(b"\0")[1:])


def refusal(error: Exception) -> Answer:
    """The error's status as HTTP/2 headers carry it."""
    status = status_of(error)
    details = base64.b64encode(status.SerializeToString()).rstrip(b"=")
    return Answer(b"", status.code, percent_encoded(status.message), details)


def percent_encoded(text: str) -> bytes:
    """As grpc-message has it: printable ASCII but the percent sign stands for itself."""
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != ord("%") else b"%%%02X" % byte for byte in text.encode()
    )
