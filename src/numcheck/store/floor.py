"""The newest set of callers that a node has seen, in a file outside of the database.

A database that is put back to what it was yesterday is whole in itself: only what is kept elsewhere can tell.

On disk after a crash: the file as it was before, or as it was written. The database commits first and the file follows:
a floor that lags behind its database refuses nothing.
"""

import hmac
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numcheck.errors import StoreUnavailable
from numcheck.output import OWNER_ONLY, write_whole

FLOOR_NAME = "callers.floor"

Mac = Callable[[list[Any]], bytes]


class Floor(NamedTuple):
    """A set of callers: its revision and its digest. `confirmed` is the digest of a set that an administrator wants
    back, whatever its revision; empty if there is none."""

    revision: int
    digest: bytes
    confirmed: bytes = b""


class FloorFile:
    """The file of a data directory. Its content counts only with its MAC."""

    def __init__(self, data_dir: Path, mac: Mac) -> None:
        self.path, self._mac, self._turn = data_dir / FLOOR_NAME, mac, threading.Lock()

    def content(self) -> bytes | None:
        """Return the file's bytes; None if there is none yet."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"{FLOOR_NAME} cannot be read: {error.strerror}") from None

    def try_read(self) -> tuple[Floor | None, str]:
        """Return the floor, if there is one, and what is wrong with the file, if anything is."""
        content = self.content()
        if content is None:
            return None, ""
        try:
            said = json.loads(content)
            floor = Floor(said["revision"], bytes.fromhex(said["digest"]), bytes.fromhex(said["confirmed"]))
            is_own = hmac.compare_digest(bytes.fromhex(said["mac"]), self._mac_of(floor))
        except (ValueError, TypeError, KeyError):
            is_own = False
        return (floor, "") if is_own else (None, f"{FLOOR_NAME} is not as it was written")

    def raise_to(self, floor: Floor) -> None:
        """Write a newer floor; of an older one nothing. Callers may come from several threads."""
        with self._turn:
            found, _ = self.try_read()
            if found is None or floor.revision > found.revision:
                self.write(floor)

    def write(self, floor: Floor) -> None:
        """Replace the file, durably; OSError if that cannot be."""
        said = {"revision": floor.revision, "digest": floor.digest.hex(), "confirmed": floor.confirmed.hex()}
        write_whole(self.path, json.dumps({**said, "mac": self._mac_of(floor).hex()}).encode(), mode=OWNER_ONLY)

    def _mac_of(self, floor: Floor) -> bytes:
        return self._mac(["floor", floor.revision, floor.digest.hex(), floor.confirmed.hex()])
