"""The status of a number: the API's NumberStatus and RecycledStatus, for the code below the API. A test holds both
together."""

from enum import IntEnum


class NumberStatus(IntEnum):
    """The values are the wire's."""

    INVALID = 1
    """It cannot be a number of any loaded plan: wrong length or country."""
    UNALLOCATED = 2
    """The plan allots it to nobody."""
    INACTIVE = 3
    """Allotted, and the serving operator's data does not hold it."""
    ACTIVE = 4
    """The serving operator's data holds it."""
    UNKNOWN = 5
    """Allotted, but the serving operator has supplied no data, or none fresh enough."""
    NOT_MOBILE = 6
    """In a loaded plan, but not in a mobile range."""


class RecycledStatus(IntEnum):
    """The values are the wire's."""

    NO = 1
    """The record goes back to the moment, and has no withdrawal at or after it."""
    YES = 2
    """It was withdrawn, recycled or taken by a plan at or after the moment."""
    UNKNOWN = 3
    """The record does not go back that far, or nothing of it may be told."""
