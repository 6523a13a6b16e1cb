"""Messages to operators about users identified on their numbers (E.4), in order, from any position on.

Invariants: rows are read in the order of their positions and none is left out; a position is that of the last row that
was told, so that an operator that gives it back goes on behind it. Nothing that is told leads to a person: the code of
a user is the id of their registration.
"""

from typing import NamedTuple

import structlog

from numcheck.registrations.vault import Vault
from numcheck.store import Registrations, Sent

log = structlog.get_logger()

PIECE_SIZE = 250


class Identified(NamedTuple):
    """A row, and the number that it is about; None if that is not what was written."""

    row: Sent
    number: int | None


class Identifications:
    """The outbox of an installation, as operators may see it."""

    def __init__(self, registrations: Registrations, vault: Vault) -> None:
        self._registrations, self._vault = registrations, vault

    @property
    def newest(self) -> int:
        """The newest position of all; 0 before the first."""
        return self._registrations.newest_identification

    def after(self, operator_id: int, position: int) -> list[Identified]:
        """Return what an operator is told next behind a position. UnknownOperator if there is no such operator."""
        rows = self._registrations.identified(operator_id, position, count_max=PIECE_SIZE)
        found = [Identified(row, number) for row, number in zip(rows, self._vault.numbers(rows), strict=True)]
        for row, number in found:
            if number is None:
                log.error("an identification is not what was written", registration_id=row.registration_id.hex())
        return found
