"""A shelf: the files of the last editions in a directory, each under its hash, and the newest edition.

Invariants: a file on the shelf has the hash that is its name, as it was when it came; the edition names only files that
are there, durably. On disk after a crash: the edition before or the one after, and parts of files, which are gone on
with. Files that none of the last editions names are removed; who has one mapped keeps the mapping.

Others may write to the directory, such as the bucket that it is a mount of: no link is followed, nothing but a file is
read, no more of it than it may hold, and nothing is removed whose name is no hash.
"""

import os
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

from numcheck.errors import EditionRefused, UnknownFile
from numcheck.index.edition import HASH_SIZE, Edition, EditionFile, hash_file
from numcheck.index.format import PathOf
from numcheck.output import OWNER_ONLY, sync_directory, write_whole
from numcheck.plain_files import open_plain
from numcheck.privacy import make_private_directory, private_opener

EDITION_NAME = "edition"
EDITION_SIZE_MAX = 1_048_576
EDITIONS_KEPT = 8  # with other files each: for who is still fetching those of one

HASH_NAME = re.compile(f"[0-9a-f]{{{2 * HASH_SIZE}}}")

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
        """Return the newest edition, signed; None if there is none yet. EditionRefused if what is there is none."""
        content = _try_read(self._directory / EDITION_NAME, 0, EDITION_SIZE_MAX + 1)
        if content is not None and len(content) > EDITION_SIZE_MAX:
            raise EditionRefused("the edition is not a well-formed one")
        return content

    def path(self, sha256: bytes) -> Path:
        """Return where the file of a hash is."""
        return self._files / sha256.hex()

    def path_of(self, edition: Edition) -> PathOf:
        """Return what says where the files of an edition are, by name."""
        return lambda name: self.path(edition.hash_of(name))

    def read(self, sha256: bytes, offset: int, size: int) -> bytes:
        """Return a piece of a file; UnknownFile if there is none of that hash."""
        content = _try_read(self.path(sha256), offset, size) if len(sha256) == HASH_SIZE else None
        if content is None:
            raise UnknownFile("none of the last editions has a file of that hash")
        return content

    def fetch(self, edition: Edition, piece: Piece) -> None:
        """Have every file of an edition, and fetch by `piece` those that are not there.

        What came before a cut is kept, and gone on with; if that makes another file, all of it is fetched again, as
        the beginning may be somebody else's. EditionRefused if a file turns out to be another.
        """
        for file in edition.files:
            part = self._parts / file.sha256.hex()
            if self.path(file.sha256).exists():
                continue
            is_begun = part.exists()
            if not (self._fetch(file, part, piece) or (is_begun and self._fetch(file, part, piece))):
                raise EditionRefused(f"{file.name} is not the file that the edition names")

    def _fetch(self, file: EditionFile, part: Path, piece: Piece) -> bool:
        """Go on with a part of a file; False, and the part is gone, if it becomes another."""
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
        if is_whole:
            part.replace(self.path(file.sha256))
        else:
            part.unlink()
        return is_whole

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
                if HASH_NAME.fullmatch(path.name) and path.name not in kept:
                    path.unlink(missing_ok=True)


def _try_read(path: Path, offset: int, size: int) -> bytes | None:
    """Return a piece of a file; None if there is none, or anything else."""
    try:
        with open_plain(path) as file:
            return os.pread(file.fileno(), size, offset)
    except OSError:
        return None
