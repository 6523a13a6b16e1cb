"""Moments as the API's messages have them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from numcheck.moments import microseconds


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return the moment as a message has it; None for none."""
    return None if moment is None else timestamp_at(microseconds(moment))


def timestamp_at(moment_us: int | None) -> Timestamp | None:
    """Return a moment of the store as a message has it; None for none, which is 0 or None."""
    if not moment_us:
        return None
    seconds, rest_us = divmod(moment_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=1_000 * rest_us)
