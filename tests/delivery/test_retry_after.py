"""Retry-After as gateways and receivers of webhooks write it (RFC 9110, 10.2.3): nothing that it says ends anything."""

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.delivery.posting import Reply, retry_after

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def read(text: str) -> float:
    return retry_after(Reply(429, {"retry-after": text}, b""), NOW)


@given(seconds=st.integers(0, 10**6))
def test_seconds_and_a_date_are_read(seconds: int) -> None:
    moment = datetime.fromtimestamp(NOW.timestamp() + seconds, UTC)
    assert read(str(seconds)) == seconds
    assert read(format_datetime(moment, usegmt=True)) == seconds
    assert parsedate_to_datetime(format_datetime(moment, usegmt=True)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-5",
        "1e9",
        "nan",
        "\u0665",
        ".5",
        "1.5.2",
        "Mon, 01 Jan 99999 00:00:00 GMT",
        "Mon, 01 Jan 2026 99:00:00 GMT",
        f"Mon, {'9' * 30} Jan 2026 00:00:00 GMT",
        f"Mon, 01 Jan 2026 00:00:00 +{'9' * 30}",
        "Mon, 01 Jan 2020 00:00:00 GMT",
    ],
)
def test_anything_else_and_what_is_past_is_no_time_to_wait(text: str) -> None:
    assert read(text) == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"), [("1.5", 1.5), ("0.25", 0.25), ("007", 7), ("9" * 40, 1e9), ("9" * 400, 1e9)]
)
def test_fractions_and_very_long_times_are_read_as_they_stand(text: str, seconds: float) -> None:
    assert read(text) == seconds


@given(text=st.text(st.characters(codec="latin-1"), max_size=60))
def test_no_text_is_an_error(text: str) -> None:
    assert read(text) >= 0.0
