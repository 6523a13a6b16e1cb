"""The rule of a service's name, the same wherever one comes in: a registration, a caller, an agreement, a setting."""

import re

SERVICE_LENGTH_MAX = 64
SERVICE_RULE = (
    f"a service's name is 1 to {SERVICE_LENGTH_MAX} lower-case letters, digits, dots, dashes and underscores, first a "
    "letter or a digit"
)
_SERVICE = re.compile(r"[a-z0-9][a-z0-9._-]*")


def is_service(name: str) -> bool:
    """Return True if a service may have the name."""
    return len(name) <= SERVICE_LENGTH_MAX and _SERVICE.fullmatch(name) is not None
