"""Who calls, found out for every call before its method runs, and what he may do (R7).

A call's identity is its client certificate's SAN URI or its bearer token's; on a plaintext listener on loopback it is
the administrator's. What is found is remembered for seconds, so that revoking works on open connections as well; a
stream asks again with every message.
"""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Generic, NamedTuple, TypeVar

import grpc

from numcheck.access import LOCAL, Identity, Role, check_call, check_clearing_house, check_operator, check_own_service
from numcheck.errors import NotAuthenticated, NotPermitted
from numcheck.index import Index, PublishedIndex
from numcheck.rpc.calls import refuse

REMEMBERED_S = 10.0  # revoking works within a minute: this, and what a stream waits for its next message
REMEMBERED_MAX = 10_000
TOKEN_SIZE_MAX = 256
URIS_MAX = 16
BEARER = "bearer "

K = TypeVar("K")
V = TypeVar("V")

_caller: ContextVar[Identity] = ContextVar("caller", default=LOCAL)
_denied: ContextVar[Callable[[str, str], None]] = ContextVar("denied", default=lambda _uri, _reason: None)


def caller() -> Identity:
    """Who makes the call that this thread serves."""
    return _caller.get()


class Credential(NamedTuple):
    """What a call shows: the URIs of its certificate, and the tag of its token."""

    uris: tuple[str, ...]
    token_tag: bytes | None


Find = Callable[[Credential], Identity | None]
Deny = Callable[[str, str, str], None]


class _Memory(Generic[K, V]):
    """Remembers for seconds what was found."""

    def __init__(self, find: Callable[[K], V], clock: Callable[[], float]) -> None:
        self._find, self._clock = find, clock
        self._remembered: dict[K, tuple[float, V]] = {}
        self._lock = threading.Lock()

    def get(self, key: K) -> V:
        """What is found for a key, or was found not long ago."""
        now = self._clock()
        with self._lock:
            known = self._remembered.get(key)
        if known is not None and now - known[0] <= REMEMBERED_S:
            return known[1]
        found = self._find(key)
        with self._lock:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = now, found
        return found


class Access:
    """Finds out who calls. `find` and `agreed` ask the store; `deny` is told of each denial: URI, method and reason."""

    def __init__(
        self,
        find: Find,
        agreed: Callable[[str], frozenset[int]],
        deny: Deny,
        *,
        token_key: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.deny, self._token_key = deny, token_key
        self._identities = _Memory(find, clock)
        self._agreed = _Memory(agreed, clock)

    def identity(self, credential: Credential) -> Identity:
        """Whose credential it is; NotAuthenticated if nobody's."""
        identity = self._identities.get(credential)
        if identity is None:
            raise NotAuthenticated("this installation does not know who calls")
        return identity

    def admit(self, credential: Credential, method: str) -> Identity:
        """Whose call it is; NotAuthenticated, or NotPermitted if his role may not make it. Denials are told."""
        uri = credential.uris[0] if credential.uris else ""
        try:
            identity = self.identity(credential)
            uri = identity.uri
            check_call(identity, method)
        except (NotAuthenticated, NotPermitted) as error:
            self.deny(uri, method, error.reason)
            raise
        return identity

    def agreed(self, service: str) -> frozenset[int]:
        """The operators that a service has agreements with."""
        return self._agreed.get(service)

    def knows(self, identity: Identity) -> bool:
        """Whether the identity may call still."""
        try:
            return self.identity(Credential((identity.uri,), None)) == identity
        except NotAuthenticated:
            return False

    def credential(self, context: grpc.ServicerContext) -> Credential:
        """What a call shows."""
        auth = context.auth_context()
        names = [name.decode("utf-8", "replace") for name in _uris(auth)]
        tokens = [value for key, value in context.invocation_metadata() if key == "authorization"]
        return Credential(tuple(names[:URIS_MAX]), self._tag(tokens) if tokens else None)

    def _tag(self, tokens: list[Any]) -> bytes:
        token = str(tokens[0])
        if len(tokens) != 1 or len(token) > TOKEN_SIZE_MAX or token[: len(BEARER)].lower() != BEARER:
            raise NotAuthenticated("the authorization is not one bearer token")
        return token_tag(self._token_key, token[len(BEARER) :].strip())


def token_tag(key: bytes, token: str) -> bytes:
    """What is kept of a token: HMAC-SHA-256 of it under the installation's key."""
    return hmac.new(key, token.encode(), hashlib.sha256).digest()


def _uris(auth: Any) -> list[bytes]:
    return [name for name in auth.get("x509_subject_alternative_name", []) if b"://" in name]


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
    identity = caller()
    try:
        check(identity)
    except NotPermitted as error:
        _denied.get()(identity.uri, error.reason)
        raise


class AccessInterceptor(grpc.ServerInterceptor):
    """Lets a call through to its method if its caller may make it, and tells the method who that is."""

    def __init__(self, access: Access) -> None:
        self._access = access

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
                credential = self._access.credential(context)
                identity = self._access.admit(credential, method)
            except Exception as error:
                refuse(context, error)
            _caller.set(identity)
            _denied.set(lambda uri, reason: self._access.deny(uri, method, reason))
            if streaming:
                request = self._still_admitted(request, credential, method)
            return behaviour(request, context, *rest)

        return call

    def _still_admitted(self, requests: Iterator[Any], credential: Credential, method: str) -> Iterator[Any]:
        for request in requests:
            self._access.admit(credential, method)
            yield request


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
