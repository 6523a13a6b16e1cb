"""Finds who asks for the page, and admits them to what they may call over the API.

Invariants: each answer but the page's own files is somebody's who was admitted to a method of the API, by the rule of
the node's door; nothing is changed by a request that another site's page could make a browser send.
"""

import hashlib
import hmac
import secrets
import time
from collections import Counter
from typing import NamedTuple

from starlette.requests import HTTPConnection, Request

from numcheck.access import METHODS, Caller
from numcheck.api.access import Admission, Call, Shown, call_of
from numcheck.door.loopback import user_of
from numcheck.errors import NotAuthenticated, NotPermitted
from numcheck.hosts import is_own_name

VIEW = "/numcheck.v1.AuditService/GetHead"
"""The method whose callers may see the page: an administrator and an auditor."""
LOOK_UP = "/numcheck.v1.CheckService/CheckNumber"
LIST_HELD = "/numcheck.v1.NumberingService/ListHeldPushes"
CONFIRM = "/numcheck.v1.NumberingService/ConfirmPush"
REJECT = "/numcheck.v1.NumberingService/RejectHeldPush"

CERTIFICATE = "numcheck.certificate"  # in a request's scope: the URI of the client's certificate
LET_IN = "numcheck.let_in"  # and what is to be called once its caller is admitted
TOKEN_HEADER = "x-numcheck-token"
SESSION_S = 28_800.0  # 8 hours
SESSIONS_MAX = 64
TOKEN_SIZE = 32


class _Session(NamedTuple):
    """A browser that has shown the bearer token of a caller."""

    uri: str
    authorization: str
    ends_at_s: float


class Gate:
    """Admits requests. Used from the page's event loop alone."""

    def __init__(self, admission: Admission, *, tls: bool) -> None:
        """Admit by `admission`: over TLS by certificates and tokens, else on loopback by users of this machine."""
        self._admission, self._tls = admission, tls
        self._sessions: dict[str, _Session] = {}  # the oldest first
        self._key = secrets.token_bytes(TOKEN_SIZE)
        # Browsers take a name that begins so only over TLS, for this host and all of its paths.
        self.cookie = "__Host-numcheck" if tls else "numcheck"

    def admit(self, request: HTTPConnection, method: str = VIEW) -> Call:
        """Return the call of whoever asks; NotAuthenticated or NotPermitted, and a denial, if they may not make it, or
        not see the page at all."""
        shown = self._shown(request)
        self._admission.admit(shown, VIEW)
        call = call_of(self._admission, self._admission.admit(shown, method), shown, method)
        request.scope[LET_IN]()
        return call

    def may(self, caller: Caller, method: str) -> bool:
        """Return True if the caller's role may call a method."""
        return caller.role in METHODS[method].roles

    def check_site(self, request: HTTPConnection) -> None:
        """Raise NotPermitted if another site's page sends the request, or it is for another host's name.

        A link to the page may stand anywhere: its markup is nobody's secret, and it is shown in no frame.
        """
        site = request.headers.get("sec-fetch-site", "none")
        origin = request.headers.get("origin")
        host = request.headers.get("host", "")
        if not self._tls and not is_own_name(host):
            raise NotPermitted("this is not the host that was asked for")
        if request.scope["path"] == "/":
            return
        if site not in ("none", "same-origin") or (origin is not None and origin.partition("://")[2] != host):
            raise NotPermitted("another site's page asks")

    def check_token(self, request: Request, caller: Caller) -> None:
        """Raise NotPermitted unless the request has the token that this page alone can read."""
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), self.token(caller).encode()):
            raise NotPermitted("the request does not come from this page; load it again")

    def token(self, caller: Caller) -> str:
        """Return the token that the caller's changes have to show."""
        return hmac.new(self._key, caller.uri.encode(), hashlib.sha256).hexdigest()

    def begin_session(self, request: HTTPConnection, token: str) -> str:
        """Return the name of a new session for the bearer of a token, if they may see the page.

        Of too many sessions, the oldest of whoever has most ends.
        """
        authorization = f"Bearer {token}"
        shown = self._shown(request)._replace(authorizations=(authorization,))
        uri = self._admission.admit(shown, VIEW).uri
        if len(self._sessions) >= SESSIONS_MAX:
            ((most, _),) = Counter(one.uri for one in self._sessions.values()).most_common(1)
            del self._sessions[next(name for name, one in self._sessions.items() if one.uri == most)]
        name = secrets.token_urlsafe(TOKEN_SIZE)
        self._sessions[name] = _Session(uri, authorization, time.monotonic() + SESSION_S)
        return name

    def end_session(self, request: HTTPConnection) -> None:
        """Forget the session of a request, if it has one."""
        self._sessions.pop(request.cookies.get(self.cookie, ""), None)

    def _shown(self, request: HTTPConnection) -> Shown:
        authorizations = tuple(request.headers.getlist("authorization")) or self._of_session(request)
        if self._tls:
            return Shown(request.scope.get(CERTIFICATE, ""), authorizations, address=_host(request))
        return Shown("", authorizations, _user(request))

    def _of_session(self, request: HTTPConnection) -> tuple[str, ...]:
        session = self._sessions.get(request.cookies.get(self.cookie, ""))
        if session is None:
            return ()
        if session.ends_at_s < time.monotonic():
            raise NotAuthenticated("the session has ended: sign in again")
        return (session.authorization,)


def _host(request: HTTPConnection) -> str:
    return "" if request.client is None else request.client.host


def _user(request: HTTPConnection) -> int | None:
    """Return the user of this machine who owns the other end of the connection."""
    own = request.scope.get("server")
    if request.client is None or own is None:
        return None
    try:
        return user_of((request.client.host, request.client.port), (own[0], own[1]))
    except OSError:
        return None  # the peer has gone
