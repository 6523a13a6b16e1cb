"""A shelf: the files of the last editions in a directory, each under its hash, and the newest edition.

Invariants: a file on the shelf has the hash that is its name, as it was when it came; the edition names only files that
are there, durably. On disk after a crash: the edition before or the one after, and parts of files, which are gone on
with. Files that none of the last editions names are removed; who has one mapped keeps the mapping.
"""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from numcheck.errors import EditionRefused, UnknownFile
from numcheck.index.edition import Edition, EditionFile, hash_file
from numcheck.index.format import PathOf
from numcheck.output import OWNER_ONLY, sync_directory, write_whole
from numcheck.privacy import make_private_directory, private_opener

EDITION_NAME = "edition"
EDITIONS_KEPT = 8  # with other files each: for who is still fetching those of one

Piece = Callable[[bytes, int], bytes]
"""Returns the next bytes of the file of a hash, from an offset on."""


class Shelf:
    """The files of a directory. For one writing thread; `read` and `path_of` may be called from any."""

    def __init__(self, directory: Path, *, make: bool = True) -> None:
        """Use the directory; to be written, it is made if it is not there."""
        self._directory, self._files, self._parts = directory, directory / "files", directory / "parts"
        for one in (directory, self._files, self._parts) if make else ():
            make_private_directory(one)
        self._kept: deque[frozenset[bytes]] = deque(maxlen=EDITIONS_KEPT)

    def try_edition(self) -> bytes | None:
        """Return the newest edition, signed; None if there is none yet."""
        try:
            return (self._directory / EDITION_NAME).read_bytes()
        except FileNotFoundError:
            return None

    def path(self, sha256: bytes) -> Path:
        """Return where the file of a hash is."""
        return self._files / sha256.hex()

    def path_of(self, edition: Edition) -> PathOf:
        """Return what says where the files of an edition are, by name."""
        return lambda name: self.path(edition.hash_of(name))

    def read(self, sha256: bytes, offset: int, size: int) -> bytes:
        """Return a piece of a file; UnknownFile if there is none of that hash."""
        try:
            with self.path(sha256).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), size, offset)
        except FileNotFoundError:
            raise UnknownFile("none of the last editions has a file of that hash") from None

    def fetch(self, edition: Edition, piece: Piece) -> None:
        """Have every file of an edition, and fetch by `piece` those that are not there.

        What came before a cut is kept, and gone on with. EditionRefused if a file turns out to be another.
        """
        for file in edition.files:
            if not self.path(file.sha256).exists():
                self._fetch(file, piece)

    def _fetch(self, file: EditionFile, piece: Piece) -> None:
        part = self._parts / file.sha256.hex()
        with open(part, "ab", opener=private_opener) as written:
            while (offset := written.tell()) < file.size:
                content = piece(file.sha256, offset)
                if not content:
                    break
                written.write(content)
            written.flush()
            os.fsync(written.fileno())
        with part.open("rb") as read:
            is_whole = offset == file.size and hash_file(read) == file.sha256
        if not is_whole:
            part.unlink()
            raise EditionRefused(f"{file.name} is not the file that the edition names")
        part.replace(self.path(file.sha256))

    def discard(self, edition: Edition) -> None:
        """Remove the files of an edition: they are not what they were."""
        for file in edition.files:
            self.path(file.sha256).unlink(missing_ok=True)

    def keep(self, signed: bytes, edition: Edition) -> None:
        """Make this the newest edition, durably; its files are there. Forget files that are of none of the last."""
        named = frozenset(file.sha256 for file in edition.files)
        if not self._kept or named != self._kept[-1]:
            sync_directory(self._files)
            self._kept.append(named)
        write_whole(self._directory / EDITION_NAME, signed, mode=OWNER_ONLY)
        kept = {sha256.hex() for some in self._kept for sha256 in some}
        for directory in (self._files, self._parts):
            for path in directory.iterdir():
                if path.name not in kept:
                    path.unlink(missing_ok=True)
