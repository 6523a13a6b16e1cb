"""The numbers of all registrations of a moment, for changes that take far more numbers than there are registrations.

To look for every number that a plan moves takes an hour for a country; to read every registration, seconds. What is
registered after the moment rests on a later revision than the changes that are looked up here, and loses nothing.

Invariants: a census is read page by page, so that whoever reads it can do what is urgent in between; it has every
registration of the chunks that it covers: one, or as many as have ENTRIES_MAX. Those behind are for another census.
"""

from array import array
from collections import defaultdict

from pyroaring import AbstractBitMap, BitMap

from numcheck._bits import CHUNK_NUMBERS
from numcheck.registrations.states import RegistrationState
from numcheck.registrations.vault import Vault
from numcheck.store import Registrations, WithdrawnChunk

ENTRIES_MAX = 5_000_000  # registrations of 20 bytes each, and as much again while they are read
REGISTRATIONS_MAX = 40_000_000  # are read for one census: of more, it is less to look for each number
PAGE_SIZE = 5_000
ID_SIZE = 16
TAKEN_FROM = (RegistrationState.PENDING, RegistrationState.VERIFIED)
"""The states of registrations that a withdrawal does something to."""


class Census:
    """Tells which registrations are on a chunk's places, as of a revision, once it `is_whole`."""

    def __init__(self, taken: WithdrawnChunk) -> None:
        """Begin with nothing read, for what a change took of a chunk and of those behind."""
        self._revision, self._first = taken.revision, taken.chunk
        self._behind: int | None = None  # the first chunk that is not covered; None: all are, from the first on
        self._places: dict[int, array[int]] = defaultdict(lambda: array("I"))
        self._ids: dict[int, bytearray] = defaultdict(bytearray)
        self._count = self._read_count = 0
        self._after = b""
        self.is_whole = False

    @property
    def is_too_long(self) -> bool:
        """True if there are so many registrations that reading them all is of no use."""
        return self._read_count > REGISTRATIONS_MAX

    def is_for(self, taken: WithdrawnChunk) -> bool:
        """Return True if it tells, once whole, what is registered on what a change took of a chunk; or if another one
        is of no use."""
        return self.is_too_long or (taken.revision <= self._revision and self._covers(taken.chunk))

    def read_on(self, registrations: Registrations, vault: Vault) -> None:
        """Read the next page of the registrations."""
        rows = registrations.every_number(TAKEN_FROM, after=self._after, count_max=PAGE_SIZE)
        for row, number in zip(rows, vault.numbers(rows), strict=True):
            if number is not None:
                self._add(*divmod(number, CHUNK_NUMBERS), row.registration_id)
        while self._count > ENTRIES_MAX and len(self._places) > 1:
            self._leave_to_another(max(self._places))
        self._read_count += len(rows)
        self._after = rows[-1].registration_id if rows else self._after
        self.is_whole = len(rows) < PAGE_SIZE
        if self.is_too_long:
            self._places.clear()
            self._ids.clear()

    def _add(self, chunk: int, place: int, registration_id: bytes) -> None:
        if self._covers(chunk):
            self._places[chunk].append(place)
            self._ids[chunk] += registration_id
            self._count += 1

    def _covers(self, chunk: int) -> bool:
        return self._first <= chunk and (self._behind is None or chunk < self._behind)

    def _leave_to_another(self, chunk: int) -> None:
        """Cover this chunk, the last that there is something of, and those behind no more."""
        self._count -= len(self._places.pop(chunk))
        del self._ids[chunk]
        self._behind = chunk

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
