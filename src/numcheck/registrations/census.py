"""The numbers of all registrations of a moment, for changes that take far more numbers than there are registrations.

To look for every number that a plan moves takes an hour for a country; to read every registration, seconds. What is
registered after the moment rests on a later revision than the changes that are looked up here, and loses nothing.
"""

from array import array
from collections import defaultdict
from typing import Self

from pyroaring import AbstractBitMap, BitMap

from numcheck._bits import CHUNK_NUMBERS
from numcheck.registrations.states import RegistrationState
from numcheck.registrations.vault import Vault
from numcheck.store import Registrations

REGISTRATIONS_MAX = 5_000_000  # 20 bytes each, and as much again while they are read
PAGE_SIZE = 5_000
ID_SIZE = 16
TAKEN_FROM = (RegistrationState.PENDING, RegistrationState.VERIFIED)
"""Where registrations stand that a withdrawal does something to."""


class Census:
    """Tells which registrations are on a chunk's places, as of a revision."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self._places: dict[int, array[int]] = defaultdict(lambda: array("I"))
        self._ids: dict[int, bytearray] = defaultdict(bytearray)

    @classmethod
    def try_take(cls, registrations: Registrations, vault: Vault, revision: int) -> Self | None:
        """Read all registrations; None if there are more than are kept in memory."""
        census, count, after = cls(revision), 0, b""
        while rows := registrations.every_number(TAKEN_FROM, after=after, count_max=PAGE_SIZE):
            for row, number in zip(rows, vault.numbers(rows), strict=True):
                if number is not None:
                    census._add(number, row.registration_id)
            count, after = count + len(rows), rows[-1].registration_id
            if count > REGISTRATIONS_MAX:
                return None
        return census

    def _add(self, number: int, registration_id: bytes) -> None:
        chunk, place = divmod(number, CHUNK_NUMBERS)
        self._places[chunk].append(place)
        self._ids[chunk] += registration_id

    def on(self, chunk: int, places: AbstractBitMap) -> list[tuple[int, bytes]]:
        """Return place and id of the registrations on any of these places, by ascending place."""
        known = self._places.get(chunk)
        if known is None:
            return []
        met, ids = set(BitMap(known) & places), self._ids[chunk]
        return sorted(
            (place, bytes(ids[ID_SIZE * entry : ID_SIZE * (entry + 1)]))
            for entry, place in enumerate(known)
            if place in met
        )
