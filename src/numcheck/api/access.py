"""Finds the caller of every call before its method runs, and holds them to their permissions (R7).

The SAN URI of a client certificate or a bearer token names a caller; on a plaintext listener, on loopback, a user of
this machine calls as the administrator. A rule that is checked outside of any call refuses. The callers are kept in
memory, so that a check costs no I/O: it is repeated with every message of a request, and before the end of a stream
counts; for a watch, every few seconds.
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
    """The credentials of a call: the URI of its certificate, empty without one, and the values of `authorization`; in
    plaintext the user at the other end, if that is known."""

    uri: str = ""
    authorizations: tuple[str, ...] = ()
    uid: int | None = None
    address: str = ""  # of its peer, over TLS on the plain door; else empty


class Call(NamedTuple):
    """An admitted call: its caller; `deny` notes a denial; `check` raises once it may not be made any more."""

    caller: Caller
    deny: Callable[[str], None]
    check: Callable[[], object]


class Admission(Protocol):
    """Decides who may call."""

    @property
    def agreed(self) -> Callable[[str], frozenset[int]]:
        """Returns the operators that a service has agreements with."""

    def admit(self, shown: Shown, method: str) -> Caller:
        """Return the caller; NotAuthenticated, NotPermitted or UnknownMethod if they may not make the call."""

    def deny(self, uri: str, method: str, reason: str) -> None:
        """Note that a call was denied."""


class Access:
    """Admission by certificates and tokens.

    `find` returns the caller of a certificate's URI or a token's tag; `agreed` the operators that a service has
    agreements with; both must be quick. `deny` is called at each denial with URI, method, reason and the peer's
    address, empty if unknown.
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
        """Return the caller; NotAuthenticated, NotPermitted or UnknownMethod, and a denial, if they may not call."""
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
        """Note that a call was denied. An unknown method's name is not repeated: a stranger chose it."""
        self._deny(uri, _told(method), reason, "")

    def _tag(self, authorizations: tuple[str, ...]) -> bytes | None:
        token = _bearer(authorizations)
        return None if token is None else token_tag(self._token_key, token)


class LoopbackAccess:
    """Admission on a plaintext listener on loopback, by the user at the other end of the connection.

    `users` are those who can read the data directory anyway; None admits every user of this machine. A `token`, where
    the system cannot tell whose a connection is, admits its bearer and nobody else. `deny` is called at each denial
    with the caller, method and reason.
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
        """Return no operator: only messengers are held to agreements, and none calls here."""
        return frozenset()

    def admit(self, shown: Shown, method: str) -> Caller:
        """Return the caller; NotPermitted, and a denial, if their user may not call."""
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
    """Return the bearer token; None without an authorization; NotAuthenticated if it is anything else."""
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
    """Return the method's name for a denial; NO_METHOD for one that a stranger made up."""
    return method if method in METHODS else NO_METHOD


def token_tag(key: bytes, token: str) -> bytes:
    """Return the tag by which the store knows a token: its HMAC-SHA-256 under the installation's key."""
    return hmac.new(key, token.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()


# --- the call that a thread serves


_call: ContextVar[Call] = ContextVar("call")


def serve_call(call: Call) -> None:
    """Set the call that this thread serves from now on."""
    _call.set(call)


def this_call() -> Call:
    """Return the call that this thread serves; NotAuthenticated outside of any."""
    call = _call.get(None)
    if call is None:
        raise NotAuthenticated("nobody calls")
    return call


def this_caller() -> Caller:
    """Return the caller of the call that this thread serves."""
    return this_call().caller


def own_operator(operator_id: int) -> None:
    """Raise NotPermitted if the caller may not touch this operator's active numbers; 0 is the portings."""
    if operator_id:
        _permit(check_operator, operator_id)
    else:
        _permit(check_clearing_house)


def own_service(service: str) -> None:
    """Raise NotPermitted if the caller may not touch this service's registrations."""
    _permit(check_own_service, service)


def _permit(check: Callable[..., None], *whose: int | str) -> None:
    call = this_call()
    try:
        check(call.caller, *whose)
    except NotPermitted as error:
        call.deny(error.reason)
        raise


def call_of(admission: Admission, caller: Caller, shown: Shown, method: str) -> Call:
    """Return the call of a caller who was admitted to the method by these credentials."""
    return Call(
        caller,
        deny=lambda reason: admission.deny(caller.uri, method, reason),
        check=lambda: admission.admit(shown, method),
    )


def checking(requests: Iterator[bytes], check: Callable[[], object]) -> Iterator[bytes]:
    """Yield the requests of a stream, each after a check, and check at its end too: that may come an hour later."""
    for request in requests:
        check()
        yield request
    check()


class CallersIndex:
    """The published index in its caller's view: a messenger sees the data of operators with an agreement."""

    def __init__(self, published: PublishedIndex, agreed: Callable[[str], frozenset[int]]) -> None:
        """`agreed` returns the operators that a service has agreements with; it must be quick."""
        self._published, self._agreed = published, agreed

    def get(self) -> Index:
        """Return the newest index; IndexNotReady if none was published yet."""
        return self._published.get().for_agreements(agreements_of(this_caller(), self._agreed))


def agreements_of(caller: Caller, agreed: Callable[[str], frozenset[int]]) -> frozenset[int] | None:
    """Return the operators whose data the caller sees; None: all."""
    return agreed(caller.service or "") if caller.role is Role.MESSENGER else None
