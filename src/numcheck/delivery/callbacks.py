"""Reports of HTTP gateways: whether one is the gateway's own, and what it says of which messages.

Invariants: nothing that a report holds fails anything but itself; it says at most RECEIPTS_MAX outcomes.
"""

import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from numcheck.delivery.receipts import DELIVERED, FAILED, OPEN, REFERENCE_LENGTH_MAX
from numcheck.delivery.requests import FORM, is_signed
from numcheck.delivery.settings import CallbackSettings

RECEIPTS_MAX = 1_000  # in one report
FIELDS_MAX = 1_000  # of a form or a query
BEARER = "Bearer "


class BadReport(ValueError):
    """A report that says nothing that can be read."""


class Report(NamedTuple):
    """A request to where reports are taken; names of headers are in small letters.

    `path_secret` is what stands in its path behind the courier's name.
    """

    path_secret: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Callback:
    """Reads a gateway's reports. Safe to use from any thread."""

    def __init__(self, settings: CallbackSettings, secret: bytes, now: Callable[[], datetime]) -> None:
        self._secret, self._now = secret, now
        self._names = [names.split(".") for names in (settings.message_id, settings.status)]
        self._outcomes = {DELIVERED: re.compile(settings.delivered), FAILED: re.compile(settings.failed)}

    def is_own(self, report: Report) -> bool:
        """Return True if the report is the gateway's: signed, or with the secret as a token or in its path."""
        if "webhook-signature" in report.headers:
            return is_signed(self._secret, report.headers, report.body, self._now())
        authorization = report.headers.get("authorization", "")
        token = authorization.removeprefix(BEARER) if authorization.startswith(BEARER) else report.path_secret
        return hmac.compare_digest(unquote_to_bytes(token), self._secret)

    def receipts(self, report: Report) -> list[tuple[str, str]]:
        """Return of each message that the report names its outcome; BadReport."""
        said = dict(parse_fields(report.query))
        content = content_of(report)
        if isinstance(content, dict):
            content = said | content
        ids, statuses = (list(_values(content, names)) for names in self._names)
        if not ids or len(ids) != len(statuses):
            raise BadReport("it does not have a status for each message that it names")
        if len(ids) > RECEIPTS_MAX:
            raise BadReport(f"it has more than {RECEIPTS_MAX} receipts")
        return [(one[:REFERENCE_LENGTH_MAX], self._outcome(status)) for one, status in zip(ids, statuses, strict=True)]

    def _outcome(self, status: str) -> str:
        return next((outcome for outcome, form in self._outcomes.items() if form.fullmatch(status)), OPEN)


def content_of(report: Report) -> Any:
    """Return what a report's body holds: a form's fields, or JSON; BadReport if it is neither."""
    if not report.body:
        return {}
    if report.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        return dict(parse_fields(report.body.decode(errors="replace")))
    try:
        return json.loads(report.body)
    except (ValueError, RecursionError):
        raise BadReport("its body is no JSON") from None


def parse_fields(text: str) -> list[tuple[str, str]]:
    """Return the fields of a form or a query; BadReport if there are too many."""
    try:
        return parse_qsl(text, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise BadReport(f"it has more than {FIELDS_MAX} fields") from None


def _values(content: Any, names: list[str]) -> Iterator[str]:
    """Yield the texts and whole numbers that stand at a path of names, in each entry of a list on the way."""
    if isinstance(content, list):
        for entry in content:
            yield from _values(entry, names)
    elif names:
        if isinstance(content, dict) and names[0] in content:
            yield from _values(content[names[0]], names[1:])
    elif isinstance(content, str) or (isinstance(content, int) and not isinstance(content, bool)):
        yield str(content)
