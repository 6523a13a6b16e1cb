"""Delivery receipts: how a courier tells what became of a code, and under which names an SMSC may know a message."""

from collections.abc import Iterator
from typing import Protocol

DELIVERED, FAILED, OPEN = "delivered", "failed", "open"
"""Outcomes of a receipt; open is a state that is not final."""
REFERENCE_LENGTH_MAX = 256


class Reports(Protocol):
    """Takes what a courier learns of its messages."""

    def named(self, message_id: str, reference: str) -> None:
        """Note that a message that is under way is known by another name to whoever carries it."""

    def came(self, references: Iterator[str], outcome: str) -> None:
        """Note a receipt for the message that has one of these names, the first of them that there is."""


class Unheard:
    """Takes reports, and tells nobody."""

    def named(self, message_id: str, reference: str) -> None:
        """Do nothing."""

    def came(self, references: Iterator[str], outcome: str) -> None:
        """Do nothing."""


def plain_id(text: str) -> str:
    """Return an SMSC's id of a message as it is compared: case, white space and zeros in front tell nothing."""
    return text.strip().casefold().lstrip("0")[:REFERENCE_LENGTH_MAX] or "0"


def ids_of(text: str) -> Iterator[str]:
    """Yield the names under which the message of a receipt may be known: as it stands, and, as SMSCs answer in one of
    the two and send receipts with the other, its number in hexadecimal and in decimal digits."""
    plain = plain_id(text)
    yield plain
    for base, written in ((10, "x"), (16, "d")):
        try:
            yield format(int(plain, base), written)
        except ValueError:
            continue
