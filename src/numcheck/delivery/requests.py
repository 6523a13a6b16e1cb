"""Requests to HTTP gateways: the one of Standard Webhooks, or one after the settings' templates.

The former is signed as https://www.standardwebhooks.com says: `webhook-id` names the message, the same in every
repetition; `webhook-timestamp` is in seconds since 1970; `webhook-signature` is "v1," and the base64 of HMAC-SHA-256,
under the shared key, over id, timestamp and body, joined by full stops.

Templates are filled in as values and encoded afterwards, so that no text can break out of its place.
"""

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from numcheck.delivery.settings import FIELD, CourierSettings

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
STAMP_TOLERANCE_S = 300
STAMP_DIGITS_MAX = 12
PLACE_TIMEOUT_S = 1.0  # how long a message waits for others to be handed over before it


class Message(NamedTuple):
    """A code on its way: to which number (E.164 without the plus), over which channel, for which service, in which
    words of which language (empty: the service's own).

    `message_id` is the message's own name.
    """

    number: int
    code: str
    channel: str
    service: str
    message_id: str
    text: str
    language: str = ""


class Request(NamedTuple):
    """An HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


RequestOf = Callable[[Message], Request]


def signed_requests(url: str, key: bytes, now: Callable[[], datetime]) -> RequestOf:
    """Return a function that makes the requests of Standard Webhooks."""

    def request(message: Message) -> Request:
        told = {
            "number": f"+{message.number}",
            "code": message.code,
            "channel": message.channel,
            "service": message.service,
            "language": message.language,
            "text": message.text,
        }
        return signed(url, key, message.message_id, as_json(told), now())

    return request


def signed(url: str, key: bytes, message_id: str, body: bytes, now: datetime, content_type: str = JSON) -> Request:
    """Return a request of Standard Webhooks with this body."""
    stamp = str(int(now.timestamp()))
    signature = hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, "sha256")
    headers = {
        "content-type": content_type,
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }
    return Request("POST", url, headers, body)


def is_signed(key: bytes, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Return True if a request is signed as Standard Webhooks says, not long before or after now."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= STAMP_DIGITS_MAX):
        return False
    if abs(int(stamp) - now.timestamp()) > STAMP_TOLERANCE_S:
        return False
    digest = hmac.digest(key, f"{message_id}.{stamp}.".encode("latin-1") + body, "sha256")
    right = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").encode("latin-1", "replace").split(b" ")
    return any(hmac.compare_digest(one, right) for one in given)


def templated_requests(settings: CourierSettings, secret: str) -> RequestOf:
    """Return a function that makes requests after the settings' templates."""

    def request(message: Message) -> Request:
        fields = {name: str(value) for name, value in message._asdict().items()} | {"secret": secret}
        headers, query = _filled(settings.headers, fields), _filled(settings.query, fields)
        content_type, body = _body(settings, fields)
        url = f"{settings.url}{'&' if '?' in settings.url else '?'}{urlencode(query)}" if query else settings.url
        return Request(settings.method, url, content_type | headers, body)

    return request


def _body(settings: CourierSettings, fields: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    if settings.body is not None:
        return {"content-type": JSON}, as_json(_filled(settings.body, fields))
    if settings.form is not None:
        return {"content-type": FORM}, urlencode(_filled(settings.form, fields)).encode()
    return {}, b""


def _filled(part: Any, fields: Mapping[str, str]) -> Any:
    """Return a template with the fields in their places."""
    if isinstance(part, str):
        return FIELD.sub(lambda found: fields[found[1]], part)
    if isinstance(part, dict):
        return {name: _filled(value, fields) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, fields) for value in part]
    return part


def as_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8, without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
