"""Finds out for every call, before its method runs, who calls, and holds them to what they may do (R7).

Callers are known by the SAN URI of their client certificate or by their bearer token; on a plaintext listener, on
loopback, a user of this machine calls as the administrator. A rule that is asked outside of any call refuses. What is
known of callers lies in memory, so that asking costs no I/O: a call asks again with every message of its request, and
before the end of a stream counts; a watch, every few seconds.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple, Protocol

from numcheck.access import (
    LOOPBACK_TOKEN,
    METHODS,
    Caller,
    Role,
    check_call,
    check_clearing_house,
    check_operator,
    check_own_service,
    local_user,
)
from numcheck.errors import NotAuthenticated, NotPermitted
from numcheck.index import Index, PublishedIndex

TOKEN_SIZE_MAX = 256
BEARER = "bearer "
NO_METHOD = "(no such method)"


class Shown(NamedTuple):
    """What is known of a caller: the URI that its certificate is for, or an empty one, and the values of its
    `authorization`; in plaintext, the user who holds the other end, if that is known."""

    uri: str = ""
    authorizations: tuple[str, ...] = ()
    uid: int | None = None
    address: str = ""  # of its peer, over TLS on the plain door; empty where it is not known


class Call(NamedTuple):
    """A call that was let in: whose it is; what notes a denial; what raises if it may not be made any more."""

    caller: Caller
    deny: Callable[[str], None]
    check: Callable[[], object]


class Admission(Protocol):
    """Says who may call."""

    @property
    def agreed(self) -> Callable[[str], frozenset[int]]:
        """What gives the operators that a service has agreements with."""

    def admit(self, shown: Shown, method: str) -> Caller:
        """Return whose call it is; NotAuthenticated, NotPermitted or UnknownMethod if it may not be made."""

    def deny(self, uri: str, method: str, reason: str) -> None:
        """Note that a call was denied."""


class Access:
    """Admission by what callers show.

    `find` gives the caller of a certificate's URI or a token's tag; `agreed` the operators that a service has
    agreements with; neither may be slow. `deny` is told of each denial: URI, method, reason and
    the peer's address, empty if it is not known.
    """

    def __init__(
        self,
        find: Callable[[str, bytes | None], Caller | None],
        agreed: Callable[[str], frozenset[int]],
        deny: Callable[[str, str, str, str], None],
        *,
        token_key: bytes,
    ) -> None:
        self.agreed = agreed
        self._find, self._deny, self._token_key = find, deny, token_key

    def admit(self, shown: Shown, method: str) -> Caller:
        """Whose call it is; NotAuthenticated, NotPermitted or UnknownMethod if it may not be made. Denials are told."""
        uri = shown.uri
        try:
            caller = self._find(shown.uri, self._tag(shown.authorizations))
            if caller is None:
                raise NotAuthenticated("this installation does not know who calls")
            uri = caller.uri
            check_call(caller, method)
        except (NotAuthenticated, NotPermitted) as error:
            self._deny(uri, _told(method), error.reason, shown.address)
            raise
        return caller

    def deny(self, uri: str, method: str, reason: str) -> None:
        """Note that a call was denied. What a stranger calls a method is not repeated."""
        self._deny(uri, _told(method), reason, "")

    def _tag(self, authorizations: tuple[str, ...]) -> bytes | None:
        token = _bearer(authorizations)
        return None if token is None else token_tag(self._token_key, token)


class LoopbackAccess:
    """Admission on a plaintext listener on loopback, by the user who holds the other end of the connection.

    `users` are those who may read the data directory anyway; None: every user of this machine is let in. With a
    `token`, whoever shows it is let in, and nobody else: where the system does not say whose a connection is. `deny` is
    told of each denial: the caller, method and reason.
    """

    def __init__(
        self,
        users: frozenset[int] | None = None,
        deny: Callable[[str, str, str], None] = lambda _uri, _method, _reason: None,
        *,
        token: str | None = None,
    ) -> None:
        self._users, self._deny, self._token = users, deny, token

    def agreed(self, _service: str) -> frozenset[int]:
        """Return nothing: nobody here is a messenger, who is held to agreements."""
        return frozenset()

    def admit(self, shown: Shown, method: str) -> Caller:
        """Whose call it is; NotPermitted if its user may not make any. Denials are told."""
        caller = local_user(shown.uid)
        try:
            return self._let_in(caller, shown)
        except NotPermitted:
            self.deny(caller.uri, method, NotPermitted.reason)
            raise

    def _let_in(self, caller: Caller, shown: Shown) -> Caller:
        if self._token is not None:
            if not _is_same(self._token, shown.authorizations):
                raise NotPermitted(
                    "in plaintext this node lets in who shows the token in loopback.token of its data directory alone"
                )
            return LOOPBACK_TOKEN
        if self._users is not None and shown.uid not in self._users:
            raise NotPermitted(
                "in plaintext this node lets in root and the owner of its data directory alone; "
                f"this call is of {caller.uri}"
            )
        return caller

    def deny(self, uri: str, method: str, reason: str) -> None:
        """Note that a call was denied."""
        self._deny(uri, _told(method), reason)


def _bearer(authorizations: tuple[str, ...]) -> str | None:
    """Return the bearer token that is shown; None if nothing is; NotAuthenticated if it is anything else."""
    if not authorizations:
        return None
    token = authorizations[0]
    if len(authorizations) != 1 or len(token) > TOKEN_SIZE_MAX or token[: len(BEARER)].lower() != BEARER:
        raise NotAuthenticated("the authorization is not one bearer token")
    return token[len(BEARER) :].strip()


def _is_same(token: str, authorizations: tuple[str, ...]) -> bool:
    try:
        shown = _bearer(authorizations) or ""
    except NotAuthenticated:
        return False
    return hmac.compare_digest(token.encode(), shown.encode("utf-8", "surrogateescape"))


def _told(method: str) -> str:
    """The method as a denial has it: what a stranger calls a method is not repeated."""
    return method if method in METHODS else NO_METHOD


def token_tag(key: bytes, token: str) -> bytes:
    """What is kept of a token: HMAC-SHA-256 of it under the installation's key."""
    return hmac.new(key, token.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()


# --- the call that a thread serves


_call: ContextVar[Call] = ContextVar("call")


def serve_call(call: Call) -> None:
    """Make it the call that this thread serves from now on."""
    _call.set(call)


def this_call() -> Call:
    """The call that this thread serves; NotAuthenticated outside of any."""
    call = _call.get(None)
    if call is None:
        raise NotAuthenticated("nobody calls")
    return call


def this_caller() -> Caller:
    """Who makes the call that this thread serves."""
    return this_call().caller


def own_operator(operator_id: int) -> None:
    """Raise NotPermitted if the caller may not touch this operator's active numbers; 0 is the portings."""
    if operator_id:
        _permit(lambda caller: check_operator(caller, operator_id))
    else:
        _permit(check_clearing_house)


def own_service(service: str) -> None:
    """Raise NotPermitted if the caller may not touch this service's registrations."""
    _permit(lambda caller: check_own_service(caller, service))


def _permit(check: Callable[[Caller], None]) -> None:
    call = this_call()
    try:
        check(call.caller)
    except NotPermitted as error:
        call.deny(error.reason)
        raise


def call_of(admission: Admission, caller: Caller, shown: Shown, method: str) -> Call:
    """Return the call of a caller who was admitted to the method by what they showed."""
    return Call(
        caller,
        deny=lambda reason: admission.deny(caller.uri, method, reason),
        check=lambda: admission.admit(shown, method),
    )


def checking(requests: Iterator[bytes], check: Callable[[], object]) -> Iterator[bytes]:
    """Return the requests of a stream, each after a check, and its end too: that may come an hour after the last."""
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
        return self._published.get().for_agreements(agreements_of(this_caller(), self._agreed))


def agreements_of(caller: Caller, agreed: Callable[[str], frozenset[int]]) -> frozenset[int] | None:
    """The operators whose data the caller sees; None: all."""
    return agreed(caller.service or "") if caller.role is Role.MESSENGER else None
