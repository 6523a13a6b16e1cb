"""Moments as the store keeps them: microseconds since 1970 in UTC, integers, which every engine keeps exactly; and as
people write them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK_SKEW_MAX = timedelta(minutes=5)
"""Greatest difference between the clocks of two machines: a moment that comes in may be ahead of this node's clock by
so much."""

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

# Stricter than the standard library, which takes any sign between date and time, and so an offset of a date for a time,
# and a fraction of an hour or a minute for one of a second.
_OFFSET = r"\d\d(:?[0-5]\d){0,2}"
_ISO_8601 = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d-?\d)"
    r"((T|\s+)(?P<time>\d\d(:\d\d(:\d\d([.,]\d+)?)?|\d\d(\d\d([.,]\d+)?)?)?)"
    rf"\s*(?P<offset>Z|[+-]{_OFFSET})?|(?P<offset_of_day>Z|\+{_OFFSET}))?",
    re.ASCII,
)
_RESOLUTION = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Return the moment as an integer."""
    return (moment - EPOCH) // _RESOLUTION


def microseconds_of(span: timedelta) -> int:
    """Return how long a span is, in microseconds."""
    return span // _RESOLUTION


def moment(microseconds: int) -> datetime:
    """Return the moment of an integer."""
    return EPOCH + timedelta(microseconds=microseconds)


def rfc3339(microseconds: int, *, timespec: str = "auto") -> str:
    """Return the moment of an integer as RFC 3339 writes it, in UTC; `timespec` is that of `isoformat`."""
    return moment(microseconds).isoformat(timespec=timespec).replace("+00:00", "Z")


def read_moment(text: str, zone: tzinfo = UTC) -> datetime:
    """Return a moment of ISO 8601 in UTC, of `zone` if it has no offset; ValueError if it is none.

    A date is its beginning, and may have an offset as those of XML do (`2026-11-21+03:00`); one behind a minus could be
    a time as well, and is refused. So are digits alone, but for a date without dashes: a count of milliseconds would be
    read as a day of the Middle Ages.
    """
    found = _ISO_8601.fullmatch(text.strip().upper())
    try:
        if found is None:
            raise ValueError
        offset = found["offset"] or found["offset_of_day"] or ""
        moment = datetime.fromisoformat(f"{found['day']}T{found['time'] or '00:00'}{offset}")
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day, or one before the first year or behind the last
        raise ValueError("no moment of ISO 8601") from None
