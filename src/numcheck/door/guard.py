"""Finds the caller of each call of grpcio's listener, and admits the call if its caller may make it."""

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import grpc

from numcheck.access import Caller, name_in
from numcheck.api.access import Admission, Call, Shown, call_of, checking, serve_call
from numcheck.api.asking import BUDGET_HEADER, AllowanceOf
from numcheck.api.check import SERVICE_NAME as CHECK
from numcheck.door.handlers import behind
from numcheck.door.refusing import refuse


class AccessInterceptor(grpc.ServerInterceptor):
    """Passes a call on to its method, with its caller, if that caller may make it."""

    def __init__(
        self, admission: Admission, show: Callable[[grpc.ServicerContext], Shown], allowance_of: AllowanceOf
    ) -> None:
        """Judge by `admission` what `show` finds about a call's caller, and tell callers that few new numbers are left
        of what `allowance_of` gives them."""
        self._admission, self._show, self._allowance_of = admission, show, allowance_of

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the handler of a method, behind the check."""
        handler = continuation(details)
        if handler is None:
            return None
        streaming = handler.request_streaming
        return behind(handler, lambda behaviour: self._guarded(behaviour, details.method, streaming=streaming))

    def _let_in(self, context: grpc.ServicerContext, method: str) -> Call:
        shown = self._show(context)
        return call_of(self._admission, self._admission.admit(shown, method), shown, method)

    def _tell_of_budget(self, caller: Caller, context: grpc.ServicerContext) -> None:
        """Tell a caller that nears the end of its budget how many new numbers are left, as its call begins."""
        allowance = self._allowance_of(caller)
        if allowance is not None and (few := allowance.few_left()) is not None:
            context.send_initial_metadata(((BUDGET_HEADER, str(few)),))

    def _guarded(self, behaviour: Any, method: str, *, streaming: bool) -> Any:
        def call(request: Any, context: grpc.ServicerContext, *rest: Any) -> Any:
            try:
                made = self._let_in(context, method)
            except Exception as error:
                refuse(context, error)
            serve_call(made)
            if method.startswith(f"/{CHECK}/"):
                self._tell_of_budget(made.caller, context)
            return behaviour(checking(request, made.check) if streaming else request, context, *rest)

        return call


def shown_over_tls(context: grpc.ServicerContext) -> Shown:
    """Return the credentials of a call over TLS; the name is read from the certificate itself."""
    certificates: Any = context.auth_context().get("x509_pem_cert", [])
    return Shown(
        name_in(ssl.PEM_cert_to_DER_cert(certificates[0].decode("ascii"))) if certificates else "",
        authorizations_of(context),
        address=_address_of(context.peer()),
    )


def authorizations_of(context: grpc.ServicerContext) -> tuple[str, ...]:
    """Return the values of a call's `authorization` as grpcio has them."""
    values = (value for key, value in context.invocation_metadata() if key == "authorization")
    return tuple(value if isinstance(value, str) else "" for value in values)


def _address_of(peer: str) -> str:
    """Return the address in grpcio's name of a peer, such as "ipv4:203.0.113.7:50812"; empty if there is none."""
    kind, _, place = peer.partition(":")
    host = unquote(place).rpartition(":")[0].strip("[]")
    return host if kind in ("ipv4", "ipv6") else ""
