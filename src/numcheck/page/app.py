"""The page over HTTP: its files, and what they ask of the node.

Invariants: no answer but a file of the page's own is given before its caller is admitted; a number comes in a body,
never in a path; no more than THREADS_MAX requests ask the store at once.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import anyio
import orjson
from google.rpc import code_pb2
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from numcheck.api.access import Admission, Call, serve_call
from numcheck.api.errors import log_failure, status_of
from numcheck.door.methods import Method
from numcheck.errors import MalformedMessage, NumcheckError
from numcheck.index import PublishedIndex
from numcheck.page.gate import CONFIRM, LIST_HELD, LOOK_UP, REJECT, Gate
from numcheck.page.live import Live
from numcheck.page.plan import Map, code_facts
from numcheck.page.story import story_of
from numcheck.store import Store
from numcheck.v1 import check_pb2, numbering_pb2

Answer = TypeVar("Answer")

STATIC = Path(__file__).parent / "static"
BODY_SIZE_MAX = 4_096
BODY_TIMEOUT_S = 5.0
THREADS_MAX = 4
CODE_DIGITS_MAX = 8

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "numcheck",
}
HTTP_STATUSES = {
    code_pb2.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    code_pb2.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    code_pb2.ABORTED: HTTPStatus.CONFLICT,
    code_pb2.NOT_FOUND: HTTPStatus.NOT_FOUND,
    code_pb2.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    code_pb2.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    code_pb2.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    code_pb2.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""As google.rpc.Code has them; others are INTERNAL_SERVER_ERROR."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of its node that the page asks."""

    admission: Admission
    methods: Mapping[str, Method]
    """The API's methods, by path: the page's lookups and changes are theirs."""
    published: PublishedIndex
    store: Store
    sample: Callable[[], dict[str, Any]]
    """Returns the figures of now; it may wait."""


class _Waits:
    """The view that a method of the API has of its call: the browser waits, and says nothing of how long."""

    def is_active(self) -> bool:
        """Return True."""
        return True

    def time_remaining(self) -> float | None:
        """Return None: without an end."""
        return None


class Page:
    """Answers the page's requests."""

    def __init__(self, parts: Parts, *, tls: bool) -> None:
        """Answer for a node of these parts, over TLS or in plaintext on loopback."""
        self._parts, self._tls = parts, tls
        self._gate, self._map = Gate(parts.admission, tls=tls), Map(parts.published)
        self._live = Live(lambda: orjson.dumps(parts.sample()))
        self._threads = anyio.CapacityLimiter(THREADS_MAX)

    def app(self) -> ASGIApp:
        """Return the application."""
        routes = [
            Route("/", self._index),
            Route("/api/me", self._me),
            Route("/api/map", self._answer_map),
            Route("/api/codes/{chunk}", self._code),
            Route("/api/live", self._watch),
            Route("/api/held", self._held),
            Route("/api/lookup", self._look_up, methods=["POST"]),
            Route("/api/confirm", self._confirm, methods=["POST"]),
            Route("/api/reject", self._reject, methods=["POST"]),
            Route("/api/session", self._session, methods=["POST", "DELETE"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        refused = {NumcheckError: _refuse, Exception: _refuse}
        app = Starlette(routes=routes, exception_handlers=refused)
        app.router.redirect_slashes = False  # an answer of its own, before anybody is let in
        return _Guarded(app, self._gate)

    async def _index(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _me(self, request: Request) -> Response:
        caller = self._gate.admit(request).caller
        return _json(
            {
                "caller": caller.uri,
                "role": caller.role,
                "may_look_up": self._gate.may(caller, LOOK_UP),
                "may_confirm": self._gate.may(caller, CONFIRM),
                "has_session": self._gate.cookie in request.cookies,
                "token": self._gate.token(caller),
            }
        )

    async def _answer_map(self, request: Request) -> Response:
        self._gate.admit(request)
        tag, packed = await self._in_thread(self._map.get)
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache", "Content-Encoding": "gzip"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(packed, media_type="application/octet-stream", headers=headers)

    async def _code(self, request: Request) -> Response:
        self._gate.admit(request)
        chunk = request.path_params["chunk"]
        if not (chunk.isascii() and chunk.isdecimal() and len(chunk) <= CODE_DIGITS_MAX):
            raise MalformedMessage("there is no such code")
        return _json(await self._in_thread(lambda: code_facts(self._parts.published.get(), int(chunk))))

    async def _watch(self, request: Request) -> Response:
        call = self._gate.admit(request)
        samples = self._live.watch(call.caller.uri)
        first = await anext(samples)

        async def events() -> AsyncIterator[bytes]:
            yield b"data: " + first + b"\n\n"
            async for sample in samples:
                try:
                    call.check()
                except NumcheckError:
                    return  # the page asks again, and is told why
                yield b"data: " + sample + b"\n\n"

        return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _held(self, request: Request) -> Response:
        call = self._gate.admit(request, LIST_HELD)
        answer = await self._ask(call, LIST_HELD, numbering_pb2.ListHeldPushesRequest())
        held = numbering_pb2.ListHeldPushesResponse.FromString(answer).held_pushes
        return _json({"held": [_held_facts(one) for one in held]})

    async def _look_up(self, request: Request) -> Response:
        call = self._gate.admit(request, LOOK_UP)
        self._gate.check_token(request, call.caller)
        fields = await _fields(request, number=str)
        answer = await self._ask(call, LOOK_UP, check_pb2.CheckNumberRequest(**fields))
        return _json(await self._in_thread(lambda: story_of(self._parts.published.get(), self._parts.store, answer)))

    async def _confirm(self, request: Request) -> Response:
        told = await self._decide(request, CONFIRM, numbering_pb2.ConfirmPushRequest)
        answer = numbering_pb2.ConfirmPushResponse.FromString(told)
        return _json({"version": answer.push.version, "index_version": answer.push.index_version})

    async def _reject(self, request: Request) -> Response:
        await self._decide(request, REJECT, numbering_pb2.RejectHeldPushRequest)
        return _json({})

    async def _decide(self, request: Request, method: str, message: Callable[..., Any]) -> bytes:
        """Return what a method answers about a held push that the request names."""
        call = self._gate.admit(request, method)
        self._gate.check_token(request, call.caller)
        fields = await _fields(request, operator_id=int, confirmation_token=str)
        try:
            asked = message(**fields)
        except ValueError:
            raise MalformedMessage("the operator_id is none") from None
        return await self._ask(call, method, asked)

    async def _session(self, request: Request) -> Response:
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        if request.method == "DELETE":
            self._gate.end_session(request)
            response.delete_cookie(self._gate.cookie, secure=self._tls, httponly=True, samesite="strict")
            return response
        fields = await _fields(request, token=str)
        name = self._gate.begin_session(request, fields["token"])
        response.set_cookie(self._gate.cookie, name, secure=self._tls, httponly=True, samesite="strict")
        return response

    async def _ask(self, call: Call, path: str, message: Any) -> bytes:
        """Return the answer of a method of the API, as its caller gets it over the node's door."""

        def ask() -> bytes:
            serve_call(call)
            answer: bytes = self._parts.methods[path].answer(message.SerializeToString(), _Waits())
            return answer

        return await self._in_thread(ask)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await anyio.to_thread.run_sync(work, limiter=self._threads)


class _Guarded:
    """Refuses what another site asks, turns errors into answers, and adds the headers that every answer has."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith("/static/") else "no-store")
            await send(message)

        try:
            self._gate.check_site(Request(scope))
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            log_failure(error)
            if not begun:
                await _refusal(error)(scope, receive, send_with_headers)


async def _refuse(_request: Request, error: Exception) -> Response:
    if isinstance(error, NumcheckError):  # others are logged where they end
        log_failure(error)
    return _refusal(error)


def _refusal(error: Exception) -> Response:
    """Return the answer that tells of an error, in the API's words."""
    status = status_of(error)
    reason = error.reason if isinstance(error, NumcheckError) else "INTERNAL"
    http = HTTP_STATUSES.get(status.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return _json({"reason": reason, "message": status.message}, http)


def _json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _fields(request: Request, **kinds: type) -> dict[str, Any]:
    """Return the fields of a request's JSON; MalformedMessage if one is not there, or of another type."""
    try:
        found = orjson.loads(await _body(request))
    except orjson.JSONDecodeError:
        found = None
    values = {name: found.get(name) for name in kinds} if isinstance(found, dict) else {}
    for name, kind in kinds.items():
        if type(values.get(name)) is not kind:
            raise MalformedMessage(f"the request has no {name}")
    return values


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        with anyio.fail_after(BODY_TIMEOUT_S):
            async for piece in request.stream():
                body += piece
                if len(body) > BODY_SIZE_MAX:
                    raise MalformedMessage(f"a request has {BODY_SIZE_MAX} bytes at most")
    except TimeoutError:
        raise MalformedMessage(f"the request has not come within {BODY_TIMEOUT_S:.0f} s") from None
    return bytes(body)


def _held_facts(held: numbering_pb2.HeldPush) -> dict[str, Any]:
    push = held.push
    return {
        "operator_id": held.operator_id,
        "confirmation_token": push.confirmation_token,
        "snapshot": held.mode == numbering_pb2.PUSH_MODE_SNAPSHOT,
        "data_time": held.data_time.seconds,
        "expires_at": held.expire_time.seconds,
        "added": push.added_count,
        "removed": push.removed_count,
        "recycled": push.recycled_count,
        "number_count": push.number_count,
    }
