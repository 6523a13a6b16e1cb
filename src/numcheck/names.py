"""The rules of names, the same wherever one comes in: a registration, a caller, an agreement, a setting."""

import re

SERVICE_LENGTH_MAX = 64
SERVICE_RULE = (
    f"a service's name is 1 to {SERVICE_LENGTH_MAX} lower-case letters, digits, dots, dashes and underscores, first a "
    "letter or a digit"
)
_SERVICE = re.compile(r"[a-z0-9][a-z0-9._-]*")

CHANNEL_LENGTH_MAX = 32
CHANNEL_RULE = (
    f"a channel's name is 1 to {CHANNEL_LENGTH_MAX} lower-case letters, digits, dashes and underscores, first a letter "
    "or a digit"
)
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9_-]*")

LANGUAGE_LENGTH_MAX = 35  # which RFC 5646, 4.4.1, asks for
LANGUAGE_RULE = f"a language is a tag of BCP 47, such as ru or pt-BR, of {LANGUAGE_LENGTH_MAX} characters at most"
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def is_service(name: str) -> bool:
    """Return True if a service may have the name."""
    return len(name) <= SERVICE_LENGTH_MAX and _SERVICE.fullmatch(name) is not None


def is_channel(name: str) -> bool:
    """Return True if a channel of codes may have the name."""
    return len(name) <= CHANNEL_LENGTH_MAX and _CHANNEL.fullmatch(name) is not None


def is_language(tag: str) -> bool:
    """Return True if it is a tag of a language by its form (RFC 5646, 2.1)."""
    return len(tag) <= LANGUAGE_LENGTH_MAX and _LANGUAGE.fullmatch(tag) is not None
