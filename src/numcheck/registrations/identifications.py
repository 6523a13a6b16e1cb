"""Messages to operators about users identified on their numbers (E.4), in order, from any position on.

Invariants: rows are read in the order of their positions and none is left out; a position is that of the last row that
was told, so that an operator that gives it back goes on behind it. Nothing that is told leads to a person: the code of
a user is the id of their registration.
"""

import re
from typing import NamedTuple

import structlog

from numcheck.registrations.vault import Vault
from numcheck.store import Registrations, Sent

log = structlog.get_logger()

PIECE_SIZE = 250
MARK = re.compile(r"([1-9][0-9]{0,17})-[0-9a-f]{16}")


class Identified(NamedTuple):
    """A row, and the number that it is about; None if that is not what was written."""

    row: Sent
    number: int | None


def _mark_of(sequence: int, digest: bytes) -> str:
    return f"{sequence}-{digest[:8].hex()}"


class Identifications:
    """The outbox of an installation, as operators may see it."""

    def __init__(self, registrations: Registrations, vault: Vault) -> None:
        self._registrations, self._vault = registrations, vault

    def mark(self) -> str:
        """Return what tells later if the store still has all rows that were read before this: the place and the hash of
        the newest event, as rows are written with events."""
        head = self._registrations.events.try_head()
        return "" if head is None else _mark_of(head.sequence, head.hash)

    def has_mark(self, mark: str) -> bool:
        """Return True if the store has all rows that were read before a mark was given out."""
        read = MARK.fullmatch(mark)
        if read is None:
            return False
        found = self._registrations.events.after(int(read[1]) - 1, count_max=1)
        return [_mark_of(one.sequence, one.hash) for one in found] == [mark]

    def after(self, operator_id: int, position: int) -> list[Identified]:
        """Return what an operator is told next behind a position. UnknownOperator if there is no such operator."""
        rows = self._registrations.identified(operator_id, position, count_max=PIECE_SIZE)
        found = [Identified(row, number) for row, number in zip(rows, self._vault.numbers(rows), strict=True)]
        for row, number in found:
            if number is None:
                log.error("an identification is not what was written", registration_id=row.registration_id.hex())
        return found
