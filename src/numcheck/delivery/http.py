"""Codes over an HTTP gateway: a POST that the gateway can check and may get twice.

It is signed as https://www.standardwebhooks.com says: `webhook-id` names the message, the same in every repetition;
`webhook-timestamp` is in seconds since 1970; `webhook-signature` is "v1," and the base64 of HMAC-SHA-256, under the
shared key, over id, timestamp and body, joined by full stops.

Invariant: an attempt takes TIMEOUT_S at most, whatever the gateway does; of its answer the status counts alone, and
nothing behind the headers is read.
"""

import asyncio
import base64
import hmac
import json
import threading
from collections.abc import Callable
from datetime import datetime

import httpx

from numcheck.errors import DeliveryFailed

TIMEOUT_S = 3.0
ATTEMPTS_MAX = 2
PLACE_TIMEOUT_S = 1.0  # how long a code waits for others to be handed over before it
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429


class HttpCourier:
    """Posts each code to a gateway. Safe to use from any thread."""

    channels = frozenset({"sms", "call"})

    def __init__(self, url: str, key: bytes, *, now: Callable[[], datetime], sends_at_once_max: int) -> None:
        """At most `sends_at_once_max` threads wait for the gateway at once: it may be slow, the node must not be."""
        self._url, self._key, self._now = url, key, now
        self._places = threading.BoundedSemaphore(sends_at_once_max)
        self._client = httpx.AsyncClient(timeout=None, follow_redirects=False)  # `_status` has one for all of it
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
            if not any(self._taken(body, message_id, last=turn == ATTEMPTS_MAX) for turn in range(1, ATTEMPTS_MAX + 1)):
                raise DeliveryFailed("the gateway does not take the code")
        finally:
            self._places.release()

    def _taken(self, body: bytes, message_id: str, *, last: bool) -> bool:
        """Whether the gateway took it; DeliveryFailed if it will not, or did not the last time."""
        try:
            asked = self._status(body, self._headers(body, message_id))
            status = asyncio.run_coroutine_threadsafe(asked, self._loop).result()
        except (httpx.HTTPError, TimeoutError):
            return False
        if httpx.codes.is_success(status):
            return True
        if status < SERVER_ERROR and status != TOO_MANY_REQUESTS:
            raise DeliveryFailed(f"the gateway refused the code with status {status}")
        if last:
            raise DeliveryFailed(f"the gateway failed with status {status}")
        return False

    async def _status(self, body: bytes, headers: dict[str, str]) -> int:
        async with asyncio.timeout(TIMEOUT_S):
            async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                return response.status_code

    def _headers(self, body: bytes, message_id: str) -> dict[str, str]:
        stamp = str(int(self._now().timestamp()))
        signed = f"{message_id}.{stamp}.".encode() + body
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(hmac.digest(self._key, signed, "sha256")).decode(),
        }
