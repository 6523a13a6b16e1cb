"""Codes over an HTTP gateway, which may get each of them twice.

Invariants: an attempt takes TIMEOUT_S at most, whatever the gateway does, and all of them PATIENCE_S with the pauses
between; none begins before the moment for which the gateway asked (`Retry-After`), or that its caller would not wait
for. The status of an answer and that header count; of its body, where the settings have a pattern for it, so many bytes
as ANSWER_SIZE_MAX, and otherwise none is read.
"""

import asyncio
import email.utils
import math
import random
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import httpx
import structlog

from numcheck.delivery.requests import Message, Request, RequestOf
from numcheck.errors import DeliveryFailed

log = structlog.get_logger()

TIMEOUT_S = 3.0
ATTEMPTS_MAX = 2
PATIENCE_S = 10.0
PAUSE_S = 0.5  # before the second attempt, up to, where the gateway asks for none
PLACE_TIMEOUT_S = 1.0  # how long a code waits for others to be handed over before it
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429
ANSWER_SIZE_MAX = 65_536
SECONDS_DIGITS_MAX = 9  # of a Retry-After in seconds: 30 years


class Answer(NamedTuple):
    """The outcome of an attempt: its problem (empty: none), whether another may help, and the time before that one."""

    problem: str = ""
    may_pass: bool = False
    retry_after_s: float = 0.0


class HttpCourier:
    """Posts each code to a gateway. Safe to use from any thread."""

    channels = frozenset({"sms", "call", "flash_call"})

    def __init__(
        self,
        request_of: RequestOf,
        *,
        now: Callable[[], datetime],
        sends_at_once_max: int,
        success: str | None = None,
        patience_s: Callable[[], float] = lambda: math.inf,
        use_proxy: bool = False,
    ) -> None:
        """At most `sends_at_once_max` threads wait for the gateway at once: it may be slow, the node must not be.

        `success` is a regular expression that the body of an answer has to match somewhere; None: any body will do.
        `patience_s` says how long the caller of a code still waits; `use_proxy`, whether the proxies of the environment
        count.
        """
        self._request_of, self._now, self._patience_s = request_of, now, patience_s
        self._success = None if success is None else re.compile(success)
        self._places = threading.BoundedSemaphore(sends_at_once_max)
        self._client = httpx.AsyncClient(
            timeout=None,  # `_asked` has one for all of it
            follow_redirects=False,
            trust_env=use_proxy,
            headers={"accept-encoding": "identity"},  # a bomb in a few bytes is not unpacked
        )
        # A loop of its own, as only there an attempt can be given up whole: sockets' timeouts are for each read.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="courier", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the connections to the gateway. Nobody may be sending."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def send(self, number: int, code: str, *, channel: str, service: str, message_id: str) -> None:
        """Hand the code over; DeliveryFailed if the gateway does not take it."""
        message = Message(number, code, channel, service, message_id)
        if not self._places.acquire(timeout=PLACE_TIMEOUT_S):
            raise DeliveryFailed("the gateway is too slow")
        try:
            self._hand_over(message)
        finally:
            self._places.release()

    def _hand_over(self, message: Message) -> None:
        until = time.monotonic() + min(PATIENCE_S, self._patience_s())
        for turn in range(1, ATTEMPTS_MAX + 1):
            answer = self._answer(self._request_of(message))
            if not answer.problem:
                return
            pause_s = answer.retry_after_s or random.uniform(0.5, 1) * PAUSE_S
            if not answer.may_pass or turn == ATTEMPTS_MAX or time.monotonic() + pause_s >= until:
                raise DeliveryFailed(answer.problem, answer.retry_after_s)
            log.warning("the HTTP gateway is asked again", problem=answer.problem, pause_s=round(pause_s, 3))
            time.sleep(pause_s)

    def _answer(self, request: Request) -> Answer:
        try:
            response, body = asyncio.run_coroutine_threadsafe(self._asked(request), self._loop).result()
        except TimeoutError:
            return Answer("the gateway does not answer", may_pass=True)
        except httpx.HTTPError as error:
            return Answer(f"the gateway cannot be reached ({type(error).__name__})", may_pass=True)
        status = response.status_code
        if httpx.codes.is_success(status):
            return self._judged(body)
        if status < SERVER_ERROR and status != TOO_MANY_REQUESTS:
            return Answer(f"the gateway refused the code with status {status}")
        retry_after_s = self._seconds(response.headers.get("retry-after", ""))
        return Answer(f"the gateway failed with status {status}", may_pass=True, retry_after_s=retry_after_s)

    def _judged(self, body: bytes) -> Answer:
        """Return the outcome of an answer whose status is a success."""
        if self._success is None or self._success.search(body.decode(errors="replace")):
            return Answer()
        return Answer("the gateway refused the code: its answer does not match `success`")

    def _seconds(self, retry_after: str) -> float:
        """Return a Retry-After, in seconds or as a date (RFC 9110, 10.2.3), as seconds from now; 0 if it is none."""
        text = retry_after.strip()
        if text.isascii() and text.isdecimal() and len(text) <= SECONDS_DIGITS_MAX:
            return float(text)
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        return max((moment.replace(tzinfo=moment.tzinfo or UTC) - self._now()).total_seconds(), 0.0)

    async def _asked(self, request: Request) -> tuple[httpx.Response, bytes]:
        method, url, headers, content = request
        async with asyncio.timeout(TIMEOUT_S):
            async with self._client.stream(method, url, content=content, headers=headers) as response:
                return response, b"" if self._success is None else await _start_of(response)


async def _start_of(response: httpx.Response) -> bytes:
    """Read a body as far as it is looked at."""
    body = b""
    async for piece in response.aiter_raw():
        body += piece
        if len(body) >= ANSWER_SIZE_MAX:
            break
    return body[:ANSWER_SIZE_MAX]
