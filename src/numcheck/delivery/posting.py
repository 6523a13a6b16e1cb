"""HTTP requests that are given up whole: sockets' timeouts are for each read, and a peer may send a byte at a time.

Invariant: a request takes TIMEOUT_S at most, whatever its peer does; no redirect is followed, nothing is unpacked, and
nothing that a peer says is kept for the next one.
"""

import asyncio
import email.utils
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import NamedTuple

import httpx

from numcheck import spans
from numcheck.delivery.requests import Request
from numcheck.errors import DeliveryFailed

TIMEOUT_S = 3.0
ANSWER_SIZE_MAX = 65_536
SUCCESSES = range(200, 300)
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429
SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
SECONDS_MAX = 1e9  # of a Retry-After: 30 years are longer than anybody waits


class Reply(NamedTuple):
    """An answer: its status, its headers, and as much of its body as was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Poster:
    """Sends requests, over connections that it keeps. Safe to use from any thread."""

    def __init__(self, *, use_proxy: bool = False) -> None:
        """`use_proxy`: the proxies of the environment count."""
        self._client = httpx.AsyncClient(
            timeout=None,  # `_asked` has one for all of it
            follow_redirects=False,
            trust_env=use_proxy,
            headers={"accept-encoding": "identity"},  # a bomb in a few bytes is not unpacked
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # of nobody
        )
        # A loop of its own, as only there a request can be given up whole.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="poster", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the connections. Nobody may be sending."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def send(self, request: Request, *, reads_body: bool = False) -> Reply:
        """Return the answer, with its body if that is read; DeliveryFailed if there is none in time.

        A request that is a part of a trace tells which: W3C Trace Context's `traceparent`.
        """
        if parent := spans.trace_parent():
            request = request._replace(headers={"traceparent": parent, **request.headers})
        try:
            return asyncio.run_coroutine_threadsafe(self._asked(request, reads_body), self._loop).result()
        except TimeoutError:
            raise DeliveryFailed("does not answer") from None
        except httpx.HTTPError as error:
            raise DeliveryFailed(f"cannot be reached ({type(error).__name__})") from None

    async def _asked(self, request: Request, reads_body: bool) -> Reply:
        method, url, texts, content = request
        headers = [(name.encode(), text.encode()) for name, text in texts.items()]  # of any letters
        async with asyncio.timeout(TIMEOUT_S):
            async with self._client.stream(method, url, content=content, headers=headers) as response:
                body = await _start_of(response) if reads_body else b""
                return Reply(response.status_code, response.headers, body)


async def _start_of(response: httpx.Response) -> bytes:
    """Read a body as far as it is looked at."""
    body = b""
    async for piece in response.aiter_raw():
        body += piece
        if len(body) >= ANSWER_SIZE_MAX:
            break
    return body[:ANSWER_SIZE_MAX]


def retry_after(reply: Reply, now: datetime) -> float:
    """Return a Retry-After, in seconds or as a date (RFC 9110, 10.2.3), as seconds from now; 0 if there is none.

    Some gateways write a fraction of a second as well.
    """
    text = reply.headers.get("retry-after", "").strip()
    if SECONDS.fullmatch(text):
        return min(float(text), SECONDS_MAX)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # of a number with very many digits
        return 0.0
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds(), 0.0)
