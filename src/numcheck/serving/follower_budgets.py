"""Budgets of new numbers of a follower (R9): its own share of them, in files of its own, as it has no store.

Invariants: as those of `budgets.py`, for this follower alone: what others answer about, it does not know, nor which
numbers are on registrations. On disk after a crash: what was taken counts as spent.
"""

import json
import os
import secrets
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from numcheck.config import Settings
from numcheck.moments import microseconds
from numcheck.output import OWNER_ONLY, OWNER_READS, write_whole
from numcheck.privacy import make_private
from numcheck.registrations.sealing import KEY_SIZE, Key, Keyring
from numcheck.registrations.vault import Vault
from numcheck.serving.budgets import Budgets
from numcheck.store.budgets import AskedRow, Judge

ENTRIES_NAME, KEY_NAME = "asked.jsonl", "asked.key"
OWN_KEY_ID = 1
DAYS_KEPT = 1  # beside the newest day


def budgets_of(settings: Settings) -> Budgets:
    """Return the budgets of a follower, in its data directory."""
    return Budgets(AskedFile(settings.data_dir / ENTRIES_NAME), _vault(settings.data_dir / KEY_NAME), settings)


def _vault(path: Path) -> Vault:
    """Return what seals the numbers that were asked about, under a key that seals nothing else."""
    if not path.exists():
        write_whole(path, secrets.token_bytes(KEY_SIZE), mode=OWNER_READS)
    key = Key(OWN_KEY_ID, path.read_bytes(), microseconds(datetime.now(UTC)))
    return Vault(Keyring([key]), secrets.token_bytes)


class AskedFile:
    """Entries of budgets in a file, a line each. It is one process' own."""

    def __init__(self, path: Path) -> None:
        self._path, self._turn = path, threading.Lock()
        make_private(path)
        # A crash may have left the half of a line, whose taking was told to nobody.
        whole, end, _ = path.read_bytes().rpartition(b"\n")
        self._rows = [_read(line) for line in whole.splitlines()]
        write_whole(path, whole + end, mode=OWNER_ONLY)

    def rows(self, service: str, day: int, *, after: int) -> list[AskedRow]:
        """Return what was taken of a day's budget behind an entry."""
        with self._turn:
            return [row for one, at, row in self._rows if (one, at) == (service, day) and row.entry_id > after]

    def take(self, service: str, day: int, *, after: int, judge: Judge) -> list[AskedRow]:
        """Have `judge` see the rows behind an entry and give another to be made, or None. Return all of them."""
        found = self.rows(service, day, after=after)
        made = judge(found)
        if made is None:
            return found
        with self._turn:
            row = AskedRow(1 + max((row.entry_id for _, _, row in self._rows), default=0), *made)
            self._add(service, day, row)
        return [*found, row]

    def _add(self, service: str, day: int, row: AskedRow) -> None:
        kept = [one for one in self._rows if one[1] >= day - DAYS_KEPT]
        if len(kept) < len(self._rows):
            write_whole(self._path, b"".join(map(_line, kept)), mode=OWNER_ONLY)
        self._rows = [*kept, (service, day, row)]
        with self._path.open("ab") as file:
            file.write(_line(self._rows[-1]))
            file.flush()
            os.fsync(file.fileno())

    def owned(self, _service: str, _tags: Sequence[bytes], _states: Sequence[int]) -> set[bytes]:
        """Return no tag: a follower knows no registration."""
        return set()


def _line(entry: tuple[str, int, AskedRow]) -> bytes:
    service, day, row = entry
    return json.dumps([service, day, *row[:-1], row.sealed.hex()]).encode() + b"\n"


def _read(line: bytes) -> tuple[str, int, AskedRow]:
    service, day, entry_id, taken, key_id, sealed = json.loads(line)
    return service, day, AskedRow(entry_id, taken, key_id, bytes.fromhex(sealed))
