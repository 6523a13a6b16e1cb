"""Moments as the store keeps them: microseconds since 1970 in UTC, integers, which every engine keeps exactly."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK_SKEW_MAX = timedelta(minutes=5)
"""Greatest difference between the clocks of two machines: a moment that comes in may be ahead of this node's clock by
so much."""

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

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
