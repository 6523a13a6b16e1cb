"""Moments as the store keeps them: microseconds since 1970 in UTC, integers, which every engine keeps exactly; and as
people write them."""

from datetime import UTC, datetime, timedelta, tzinfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK_SKEW_MAX = timedelta(minutes=5)
"""Greatest difference between the clocks of two machines: a moment that comes in may be ahead of this node's clock by
so much."""

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

DAY_DIGITS = 8  # of a date without dashes

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

    Of digits alone a date is one, YYYYMMDD: a count of milliseconds would be read as a day of the Middle Ages.
    """
    text = text.strip()
    if text.isdecimal() and len(text) != DAY_DIGITS:
        raise ValueError("digits that are no date")
    found = datetime.fromisoformat(text)
    try:
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment before the first year, or behind the last") from None
