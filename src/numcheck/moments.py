"""Moments as the store keeps them: microseconds since 1970 in UTC, integers, which every engine keeps exactly."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RESOLUTION = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """The moment as an integer."""
    return (moment - EPOCH) // RESOLUTION


def moment(microseconds: int) -> datetime:
    """The moment of an integer."""
    return EPOCH + timedelta(microseconds=microseconds)
