"""How a caller wants a code to reach a user: over which channel, and in which language."""

from dataclasses import dataclass

from numcheck.errors import BadRegistration
from numcheck.names import CHANNEL_RULE, LANGUAGE_RULE, is_channel, is_language
from numcheck.registrations.policy import FLASH_CALL_CHANNEL


@dataclass(frozen=True, slots=True)
class Way:
    """A channel and a language; where one is empty, the service's settings say it."""

    channel: str = ""
    language: str = ""


ANY_WAY = Way()


def check_channel(name: str) -> str:
    """Return the channel's name, empty if there is none; BadRegistration if it cannot be one."""
    if name == FLASH_CALL_CHANNEL:
        raise BadRegistration("code_channel_name", "a flash call is asked for as a method: its code is another")
    if name and not is_channel(name):
        raise BadRegistration("code_channel_name", CHANNEL_RULE)
    return name


def check_language(tag: str) -> str:
    """Return the language, empty if there is none; BadRegistration if it cannot be one."""
    if tag and not is_language(tag):
        raise BadRegistration("language", LANGUAGE_RULE)
    return tag
