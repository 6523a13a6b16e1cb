"""Codes over an HTTP gateway: a POST that the gateway can check and may get twice.

It is signed as https://www.standardwebhooks.com says: `webhook-id` names the message, the same in every repetition;
`webhook-timestamp` is in seconds since 1970; `webhook-signature` is "v1," and the base64 of HMAC-SHA-256, under the
shared key, over id, timestamp and body, joined by full stops.
"""

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
        self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)

    def close(self) -> None:
        """Close the connections to the gateway."""
        self._client.close()

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
            response = self._client.post(self._url, content=body, headers=self._headers(body, message_id))
        except httpx.HTTPError:
            return False
        if response.is_success:
            return True
        if response.status_code < SERVER_ERROR and response.status_code != TOO_MANY_REQUESTS:
            raise DeliveryFailed(f"the gateway refused the code with status {response.status_code}")
        if last:
            raise DeliveryFailed(f"the gateway failed with status {response.status_code}")
        return False

    def _headers(self, body: bytes, message_id: str) -> dict[str, str]:
        stamp = str(int(self._now().timestamp()))
        signed = f"{message_id}.{stamp}.".encode() + body
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(hmac.digest(self._key, signed, "sha256")).decode(),
        }
