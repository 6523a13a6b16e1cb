"""Reports of HTTP gateways: whose they are, and what they say, whatever is in them."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.delivery.callbacks import FIELDS_MAX, RECEIPTS_MAX, BadReport, Callback, Report
from numcheck.delivery.settings import CallbackSettings

SECRET = b"a gateway's own secret of/enough bytes"
NOW = datetime(2026, 9, 1, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))


def callback(**settings: str) -> Callback:
    return Callback(CallbackSettings(secret_file=Path("s"), **settings), SECRET, lambda: NOW)


def report(body: bytes = b"", *, query: str = "", path_secret: str = "", **headers: str) -> Report:
    return Report(path_secret, query, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def signature(body: bytes, stamp: str = STAMP, secret: bytes = SECRET) -> str:
    """As Standard Webhooks says, computed here by hand."""
    digest = hmac.new(secret, f"r1.{stamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def signed(body: bytes, given: str, stamp: str = STAMP, **headers: str) -> Report:
    return report(body, webhook_id="r1", webhook_timestamp=stamp, webhook_signature=given, **headers)


OWN = {
    "signed": signed(b"x", signature(b"x")),
    "signed by two keys": signed(b"x", "v1,AAAA " + signature(b"x")),
    "with the token": report(authorization=f"Bearer {SECRET.decode()}"),
    "with the secret in the path": report(path_secret=quote(SECRET.decode(), safe="")),
    "signed a while ago": signed(b"x", signature(b"x", str(int(STAMP) - 299)), str(int(STAMP) - 299)),
}
OTHERS = {
    "with nothing": report(),
    "of another body": signed(b"y", signature(b"x")),
    "of another time": signed(b"x", signature(b"x"), str(int(STAMP) - 1)),
    "too old": signed(b"x", signature(b"x", str(int(STAMP) - 301)), str(int(STAMP) - 301)),
    "from the future": signed(b"x", signature(b"x", str(int(STAMP) + 301)), str(int(STAMP) + 301)),
    "of no time": signed(b"x", signature(b"x", "-1"), "-1"),
    "of other digits": signed(b"x", signature(b"x"), "٣"),
    "of an endless time": signed(b"x", signature(b"x", "9" * 5_000), "9" * 5_000),
    "by another key": signed(b"x", signature(b"x", secret=b"another key")),
    "of another version": signed(b"x", signature(b"x").replace("v1", "v2")),
    "wrongly signed, with the token": signed(b"x", "v1,", authorization=f"Bearer {SECRET.decode()}"),
    "with letters that no signature has": signed(b"x", "v1,\u20ac"),
    "with another token": report(authorization=f"Bearer {SECRET.decode()}x"),
    "with the beginning of the token": report(authorization=f"Bearer {SECRET.decode()[:-1]}"),
    "with a token of another kind": report(authorization=f"Basic {SECRET.decode()}"),
    "with another secret in the path": report(path_secret="x"),
    "with letters that are no token": report(authorization="Bearer \u20ac"),
}


@pytest.mark.parametrize("one", OWN.values(), ids=OWN)
def test_a_report_is_the_gateways_own(one: Report) -> None:
    assert callback().is_own(one)


@pytest.mark.parametrize("one", OTHERS.values(), ids=OTHERS)
def test_a_report_of_anybody_else_is_not(one: Report) -> None:
    assert not callback().is_own(one)


PLAIN = {"message_id": "m1", "status": "Delivered"}
VENDOR = {"message_id": "results.id", "status": "results.state.name", "delivered": "OK", "failed": "BAD|GONE"}
FORM = "application/x-www-form-urlencoded; charset=utf-8"


@pytest.mark.parametrize(
    ("settings", "one", "receipts"),
    [
        ({}, report(json.dumps(PLAIN).encode()), [("m1", "delivered")]),
        ({}, report(json.dumps(PLAIN | {"status": "EXPIRED"}).encode()), [("m1", "failed")]),
        ({}, report(json.dumps(PLAIN | {"status": "enroute"}).encode()), [("m1", "open")]),
        ({}, report(json.dumps(PLAIN | {"status": "not delivered"}).encode()), [("m1", "open")]),
        ({}, report(json.dumps(PLAIN | {"message_id": 17}).encode()), [("17", "delivered")]),
        ({}, report(urlencode(PLAIN).encode(), content_type=FORM), [("m1", "delivered")]),
        ({}, report(query=urlencode(PLAIN)), [("m1", "delivered")]),
        ({}, report(b'{"status":"failed"}', query="message_id=m1&status=x"), [("m1", "failed")]),
        ({}, report(json.dumps(PLAIN | {"message_id": "m" * 999}).encode()), [("m" * 256, "delivered")]),
        (
            VENDOR,
            report(b'{"results":[{"id":"a","state":{"name":"OK"}},{"id":"b","state":{"name":"GONE"}}]}'),
            [("a", "delivered"), ("b", "failed")],
        ),
        ({"message_id": "id", "status": "st"}, report(b'[{"id":1,"st":"delivered"}]'), [("1", "delivered")]),
    ],
)
def test_a_report_says_what_its_settings_look_for(
    settings: dict[str, str], one: Report, receipts: list[tuple[str, str]]
) -> None:
    """In JSON, a form or the URL, at a path of names, for one message or many."""
    assert callback(**settings).receipts(one) == receipts


@pytest.mark.parametrize(
    "one",
    [
        report(),
        report(b"{"),
        report(b"\xff\xfe"),
        report(b"[" * 65_000),
        report(b"1" * 65_000),
        report(b"NaN"),
        report(b"null"),
        report(b'{"message_id":"m1"}'),
        report(b'{"message_id":"m1","status":null}'),
        report(b'{"message_id":{"a":1},"status":"delivered"}'),
        report(b'{"message_id":true,"status":"delivered"}'),
        report(b'{"message_id":["m1","m2"],"status":"delivered"}'),
        report(json.dumps([PLAIN] * (RECEIPTS_MAX + 1)).encode()),
        report(query="&".join(f"a{place}=1" for place in range(FIELDS_MAX + 1))),
        report(b"message_id=m1&status=delivered"),
    ],
)
def test_what_cannot_be_read_is_refused_whole(one: Report) -> None:
    with pytest.raises(BadReport):
        callback().receipts(one)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["message_id", "status", "x"]), inner),
)


@given(JSON | st.binary(max_size=40), st.text(max_size=20), st.sampled_from([FORM, "application/json", ""]))
def test_no_content_fails_but_by_its_own_refusal(content: Any, query: str, content_type: str) -> None:
    """Whatever somebody who has the secret sends; a receipt has an outcome, and a name of bounded length."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    one = report(body, query=query, content_type=content_type)
    try:
        receipts = callback().receipts(one)
    except BadReport:
        return
    assert all(outcome in ("delivered", "failed", "open") and len(name) <= 256 for name, outcome in receipts)
