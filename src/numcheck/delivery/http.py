"""Codes over an HTTP gateway: a POST that the gateway can check and may get twice.

It is signed as https://www.standardwebhooks.com says: `webhook-id` names the message, the same in every repetition;
`webhook-timestamp` is in seconds since 1970; `webhook-signature` is "v1," and the base64 of HMAC-SHA-256, under the
shared key, over id, timestamp and body, joined by full stops.

Invariants: an attempt takes TIMEOUT_S at most, whatever the gateway does, and all of them PATIENCE_S with the pauses
between; none begins before the moment for which the gateway asked (`Retry-After`), or that its caller would not wait
for. Of an answer its status and that header count, and nothing behind the headers is read.
"""

import asyncio
import base64
import email.utils
import hmac
import json
import math
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import httpx
import structlog

from numcheck.errors import DeliveryFailed
from numcheck.hosts import is_loopback

log = structlog.get_logger()

TIMEOUT_S = 3.0
ATTEMPTS_MAX = 2
PATIENCE_S = 10.0
PAUSE_S = 0.5  # before the second attempt, up to, where the gateway asks for none
PLACE_TIMEOUT_S = 1.0  # how long a code waits for others to be handed over before it
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429
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
        url: str,
        key: bytes,
        *,
        now: Callable[[], datetime],
        sends_at_once_max: int,
        patience_s: Callable[[], float] = lambda: math.inf,
        use_proxy: bool = False,
    ) -> None:
        """At most `sends_at_once_max` threads wait for the gateway at once: it may be slow, the node must not be.

        `patience_s` says how long the caller of a code still waits; `use_proxy`, whether the proxies of the environment
        count, which for a gateway on loopback they never do.
        """
        self._url, self._key, self._now, self._patience_s = url, key, now, patience_s
        self._places = threading.BoundedSemaphore(sends_at_once_max)
        self._client = httpx.AsyncClient(
            timeout=None,  # `_asked` has one for all of it
            follow_redirects=False,
            trust_env=use_proxy and not is_loopback(httpx.URL(url).host),
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
        message = {"number": f"+{number}", "code": code, "channel": channel, "service": service}
        body = json.dumps(message, separators=(",", ":")).encode()
        if not self._places.acquire(timeout=PLACE_TIMEOUT_S):
            raise DeliveryFailed("the gateway is too slow")
        try:
            self._hand_over(body, message_id)
        finally:
            self._places.release()

    def _hand_over(self, body: bytes, message_id: str) -> None:
        until = time.monotonic() + min(PATIENCE_S, self._patience_s())
        for turn in range(1, ATTEMPTS_MAX + 1):
            answer = self._answer(body, message_id)
            if not answer.problem:
                return
            pause_s = answer.retry_after_s or random.uniform(0.5, 1) * PAUSE_S
            if not answer.may_pass or turn == ATTEMPTS_MAX or time.monotonic() + pause_s >= until:
                raise DeliveryFailed(answer.problem, answer.retry_after_s)
            log.warning("the HTTP gateway is asked again", problem=answer.problem, pause_s=round(pause_s, 3))
            time.sleep(pause_s)

    def _answer(self, body: bytes, message_id: str) -> Answer:
        try:
            asked = self._asked(body, self._headers(body, message_id))
            response = asyncio.run_coroutine_threadsafe(asked, self._loop).result()
        except TimeoutError:
            return Answer("the gateway does not answer", may_pass=True)
        except httpx.HTTPError as error:
            return Answer(f"the gateway cannot be reached ({type(error).__name__})", may_pass=True)
        status = response.status_code
        if httpx.codes.is_success(status):
            return Answer()
        if status < SERVER_ERROR and status != TOO_MANY_REQUESTS:
            return Answer(f"the gateway refused the code with status {status}")
        retry_after_s = self._seconds(response.headers.get("retry-after", ""))
        return Answer(f"the gateway failed with status {status}", may_pass=True, retry_after_s=retry_after_s)

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

    async def _asked(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        async with asyncio.timeout(TIMEOUT_S):
            async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                return response

    def _headers(self, body: bytes, message_id: str) -> dict[str, str]:
        stamp = str(int(self._now().timestamp()))
        signed = f"{message_id}.{stamp}.".encode() + body
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(hmac.digest(self._key, signed, "sha256")).decode(),
        }
