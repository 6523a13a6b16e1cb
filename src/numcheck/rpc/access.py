"""Who calls, found out for every call before its method runs, and what he may do (R7).

A call's identity is its client certificate's SAN URI or its bearer token's; on a plaintext listener on loopback it is
the administrator's, and a rule that is asked outside of any call refuses. What is known of callers lies in memory, so
that asking costs no I/O: a stream asks again with every message, and before its end counts; a watch, every few seconds.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import grpc

from numcheck.access import (
    LOCAL,
    METHODS,
    Identity,
    Role,
    check_call,
    check_clearing_house,
    check_operator,
    check_own_service,
)
from numcheck.errors import NotAuthenticated, NotPermitted
from numcheck.index import Index, PublishedIndex
from numcheck.rpc.calls import refuse

TOKEN_SIZE_MAX = 256
URIS_MAX = 16
BEARER = "bearer "
NO_METHOD = "(no such method)"


class Shown(NamedTuple):
    """What a call shows: the URIs of its certificate, the values of its `authorization`, and its peer's address.

    The address is empty where it is not known.
    """

    uris: tuple[str, ...] = ()
    authorizations: tuple[str, ...] = ()
    address: str = ""


class Call(NamedTuple):
    """A call that was let in: whose it is; what notes a denial; what raises if it may not be made any more."""

    caller: Identity
    deny: Callable[[str], None]
    check: Callable[[], None]


class Admission(Protocol):
    """Says who may call."""

    def let_in(self, context: grpc.ServicerContext, method: str) -> Call:
        """The call; NotAuthenticated, NotPermitted or UnknownMethod if it may not be made."""


class Access:
    """Admission by what callers show.

    `find` gives the identity of a certificate's URIs or a token's tag; `agreed` the operators that a service has
    agreements with; neither may be slow. `deny` is told of each denial: URI, method, reason and address.
    """

    def __init__(
        self,
        find: Callable[[tuple[str, ...], bytes | None], Identity | None],
        agreed: Callable[[str], frozenset[int]],
        deny: Callable[[str, str, str, str], None],
        *,
        token_key: bytes,
    ) -> None:
        self.agreed = agreed
        self._find, self._deny, self._token_key = find, deny, token_key

    def let_in(self, context: grpc.ServicerContext, method: str) -> Call:
        """The call; NotAuthenticated, NotPermitted or UnknownMethod if it may not be made."""
        shown = shown_by(context)
        identity = self.admit(shown, method)

        def deny(reason: str) -> None:
            self.deny(identity.uri, method, reason, shown.address)

        def check() -> None:
            self.admit(shown, method)

        return Call(identity, deny, check)

    def admit(self, shown: Shown, method: str) -> Identity:
        """Whose call it is; NotAuthenticated, NotPermitted or UnknownMethod if it may not be made. Denials are told."""
        uri = shown.uris[0] if shown.uris else ""
        try:
            identity = self._find(shown.uris[:URIS_MAX], self._tag(shown.authorizations))
            if identity is None:
                raise NotAuthenticated("this installation does not know who calls")
            uri = identity.uri
            check_call(identity, method)
        except (NotAuthenticated, NotPermitted) as error:
            self.deny(uri, method, error.reason, shown.address)
            raise
        return identity

    def deny(self, uri: str, method: str, reason: str, address: str) -> None:
        """Note that a call was denied. What a stranger calls a method is not repeated."""
        self._deny(uri, method if method in METHODS else NO_METHOD, reason, address)

    def _tag(self, authorizations: tuple[str, ...]) -> bytes | None:
        if not authorizations:
            return None
        token = authorizations[0]
        if len(authorizations) != 1 or len(token) > TOKEN_SIZE_MAX or token[: len(BEARER)].lower() != BEARER:
            raise NotAuthenticated("the authorization is not one bearer token")
        return token_tag(self._token_key, token[len(BEARER) :].strip())


class LoopbackAccess:
    """Admission on a plaintext listener on loopback: whoever calls may read the data directory anyway."""

    _call = Call(LOCAL, deny=lambda _reason: None, check=lambda: None)

    def let_in(self, _context: grpc.ServicerContext, _method: str) -> Call:
        """The call, as the administrator's."""
        return self._call


def token_tag(key: bytes, token: str) -> bytes:
    """What is kept of a token: HMAC-SHA-256 of it under the installation's key."""
    return hmac.new(key, token.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()


def shown_by(context: grpc.ServicerContext) -> Shown:
    """What a call over the API listener shows.

    grpcio lists URIs for themselves; among all of a certificate's names one of another kind may look like one.
    """
    uris: Iterable[Any] = context.auth_context().get("peer_uri", [])
    tokens = (value for key, value in context.invocation_metadata() if key == "authorization")
    return Shown(
        tuple(uri.decode("ascii") for uri in uris if uri.isascii() and uri.decode("ascii").isprintable()),
        tuple(value if isinstance(value, str) else "" for value in tokens),
        _address_of(context.peer()),
    )


def _address_of(peer: str) -> str:
    """The address in what grpcio calls a peer, such as "ipv4:203.0.113.7:50812"; empty if there is none."""
    kind, _, place = peer.partition(":")
    host = unquote(place).rpartition(":")[0].strip("[]")
    return host if kind in ("ipv4", "ipv6") else ""


# --- the call that a thread serves


_call: ContextVar[Call] = ContextVar("call")


def this_call() -> Call:
    """The call that this thread serves; NotAuthenticated outside of any."""
    call = _call.get(None)
    if call is None:
        raise NotAuthenticated("nobody calls")
    return call


def caller() -> Identity:
    """Who makes the call that this thread serves."""
    return this_call().caller


def own_operator(operator_id: int) -> None:
    """Raise NotPermitted if the caller may not touch this operator's active numbers; 0 is the portings."""
    if operator_id:
        _permit(lambda identity: check_operator(identity, operator_id))
    else:
        _permit(check_clearing_house)


def own_service(service: str) -> None:
    """Raise NotPermitted if the caller may not touch this service's registrations."""
    _permit(lambda identity: check_own_service(identity, service))


def _permit(check: Callable[[Identity], None]) -> None:
    call = this_call()
    try:
        check(call.caller)
    except NotPermitted as error:
        call.deny(error.reason)
        raise


class AccessInterceptor(grpc.ServerInterceptor):
    """Lets a call through to its method if its caller may make it, and tells the method who that is."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The handler of a method, behind the check."""
        handler = continuation(details)
        if handler is None:
            return None
        name = "_".join("stream" if one else "unary" for one in (handler.request_streaming, handler.response_streaming))
        behaviour = getattr(handler, name)
        guarded = self._guarded(behaviour, details.method, streaming=handler.request_streaming)
        for attribute in ("experimental_non_blocking", "experimental_thread_pool"):
            if hasattr(behaviour, attribute):
                setattr(guarded, attribute, getattr(behaviour, attribute))
        return handler._replace(**{name: guarded})

    def _guarded(self, behaviour: Any, method: str, *, streaming: bool) -> Any:
        def call(request: Any, context: grpc.ServicerContext, *rest: Any) -> Any:
            try:
                made = self._admission.let_in(context, method)
            except Exception as error:
                refuse(context, error)
            _call.set(made)
            return behaviour(_checking(request, made.check) if streaming else request, context, *rest)

        return call


def _checking(requests: Iterator[Any], check: Callable[[], None]) -> Iterator[Any]:
    """The requests of a stream, each after a check; so is the end, which may come an hour after the last of them."""
    for request in requests:
        check()
        yield request
    check()


class CallersIndex:
    """What is published, as whoever calls sees it: a messenger has the data of operators that it agreed with."""

    def __init__(self, published: PublishedIndex, agreed: Callable[[str], frozenset[int]]) -> None:
        """`agreed` gives the operators that a service has agreements with; it must not be slow."""
        self._published, self._agreed = published, agreed

    def get(self) -> Index:
        """The newest index; IndexNotReady if none was published yet."""
        return self._published.get().for_agreements(agreements_of(caller(), self._agreed))


def agreements_of(identity: Identity, agreed: Callable[[str], frozenset[int]]) -> frozenset[int] | None:
    """The operators whose data the identity sees; None: all."""
    return agreed(identity.service or "") if identity.role is Role.MESSENGER else None
