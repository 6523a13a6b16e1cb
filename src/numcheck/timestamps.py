"""Moments as the API's messages have them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.moments import microseconds

SECONDS_MIN, SECONDS_MAX = -62_135_596_800, 253_402_300_799  # the years 1 to 9999


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return the moment as a message has it; None for none."""
    return None if moment is None else timestamp_at(microseconds(moment))


def try_microseconds(stamp: Timestamp) -> int | None:
    """Return the moment of a message as the store has it; None if it is none that a Timestamp may have."""
    if not (SECONDS_MIN <= stamp.seconds <= SECONDS_MAX and 0 <= stamp.nanos < 1_000_000_000):
        return None
    return stamp.seconds * 1_000_000 + stamp.nanos // 1_000


def timestamp_at(moment_us: int | None) -> Timestamp | None:
    """Return a moment of the store as a message has it; None for none, which is 0 or None."""
    if not moment_us:
        return None
    stamp = Timestamp()
    set_timestamp(stamp, moment_us)
    return stamp


def set_timestamp(stamp: Timestamp, moment_us: int) -> None:
    """Write a moment of the store into a message's own field."""
    stamp.seconds, rest_us = divmod(moment_us, 1_000_000)
    stamp.nanos = 1_000 * rest_us
