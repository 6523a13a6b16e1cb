"""Parts that couriers and webhooks share: names in a list of tables, and files with secrets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from numcheck.errors import BadConfiguration

SIGNING_KEY_SIZE_MIN = 24  # bytes, as Standard Webhooks asks


class Named(Protocol):
    """A table of a list, which has a name."""

    @property
    def name(self) -> str:
        """Its name, of its own in the list."""


def check_names(setting: str, tables: Sequence[Named]) -> None:
    """Raise BadConfiguration if two tables of a list have one name."""
    if len({one.name for one in tables}) < len(tables):
        raise BadConfiguration(f"{setting}: two have the same name")


def read_secret(file: Path, setting: str) -> bytes:
    """Return a file's content without white space at the ends; BadConfiguration, by the setting's name."""
    try:
        return file.read_bytes().strip()
    except OSError as error:
        raise BadConfiguration(f"{setting}: cannot be read ({type(error).__name__})") from None


def read_signing_key(file: Path, setting: str) -> bytes:
    """Return the key of a file that signs what others get; BadConfiguration if it is too short, too."""
    key = read_secret(file, setting)
    if len(key) < SIGNING_KEY_SIZE_MIN:
        raise BadConfiguration(f"{setting}: has less than {SIGNING_KEY_SIZE_MIN} bytes")
    return key
