"""Makes a node's editions: the newest index and the callers, signed, for followers.

Invariants: an edition's index is one that this node answers from; the files of the last editions stay readable, though
the index directory has them no more. Nothing is made before somebody wants it, and nothing is read from the store.
"""

import os
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.api.editions import PIECE_SIZE
from numcheck.errors import IndexDamaged, IndexMissing, IndexNotReady, UnknownFile
from numcheck.index import Index, PublishedIndex
from numcheck.index.edition import CALLERS_NAME, Edition, EditionFile, hash_bytes, hash_file, sign_edition
from numcheck.index.format import MANIFEST_NAME, read_manifest
from numcheck.index.shelf import EDITIONS_KEPT, Shelf
from numcheck.moments import microseconds
from numcheck.worker import Worker

SIGNED_EVERY_S = 5.0  # followers know by it how old the newest edition is
REPLACED_RETRY_S = 0.05  # until the builder has told of the index whose files are there

log = structlog.get_logger()


class Kept(NamedTuple):
    """A file of an edition, which can be read until it is dropped."""

    told: EditionFile
    content: "_Descriptor | bytes"

    def read(self, offset: int, size: int) -> bytes:
        """Return a piece of it."""
        if isinstance(self.content, bytes):
            return self.content[offset : offset + size]
        return os.pread(self.content.number, size, offset)


class _Descriptor:
    """A file that is open as long as anybody has this."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self.number)


class _Opened:
    """Files of an index directory, opened and hashed once each: none is changed under its name."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], Kept] = {}

    def all(self, paths: Mapping[str, Path]) -> list[Kept]:
        """Return the files of these names, and forget all others; FileNotFoundError if one is there no more."""
        found = {}
        for name, path in paths.items():
            status = path.stat()
            key = name, status.st_ino, status.st_mtime_ns
            found[key] = self._known.get(key) or _opened(name, path)
        self._known = found
        return list(found.values())


def _opened(name: str, path: Path) -> Kept:
    content = _Descriptor(path)
    with os.fdopen(os.dup(content.number), "rb") as file:
        return Kept(EditionFile(name, os.fstat(content.number).st_size, hash_file(file)), content)


class Contents(NamedTuple):
    """The parts of a node that an edition is made of."""

    index_directory: Path
    callers: Callable[[], bytes]
    """Returns the file of callers."""
    current_at: Callable[[], datetime]
    """Returns the moment at which nothing newer was in the store."""


class NodeEditions:
    """The editions of a node. `newest` and `read` may be called from any thread."""

    def __init__(
        self,
        published: PublishedIndex,
        contents: Contents,
        key: Ed25519PrivateKey,
        *,
        changed: Callable[[], None],
        publish_dir: Path | None,
    ) -> None:
        """Call `changed` whenever there is a newer edition, which `publish_dir` gets as well."""
        self._published, self._contents, self._key, self._changed = published, contents, key, changed
        self._opened, self._shelf = _Opened(), None if publish_dir is None else Shelf(publish_dir)
        self._files: Mapping[bytes, Kept] = {}
        self._last: deque[list[Kept]] = deque(maxlen=EDITIONS_KEPT)
        self._newest: bytes | None = None
        self._index: Index | None = None  # the newest that there was
        self._wanted = publish_dir is not None
        published.subscribe(lambda _index: self.wake())
        self._worker = Worker("editions", self._work, "no edition is made for followers", retry_s=1.0)
        self._worker.start()

    def wake(self) -> None:
        """Say that there may be something newer; returns at once."""
        self._worker.wake()

    def stop(self) -> None:
        """Make no more."""
        self._worker.stop()

    def newest(self) -> bytes:
        """Return the newest edition, signed; IndexNotReady if there is none yet, and from now on there will be."""
        if self._newest is None:
            self._wanted = True
            self._worker.wake()
            raise IndexNotReady("this node has no edition yet")
        return self._newest

    def read(self, sha256: bytes, offset: int, size: int) -> bytes:
        """Return a piece of a file of the last editions; UnknownFile if there is none of that hash."""
        kept = self._files.get(sha256)
        if kept is None:
            raise UnknownFile("none of the last editions has a file of that hash")
        return kept.read(offset, size)

    def _work(self) -> float:
        if not self._wanted:
            return SIGNED_EVERY_S
        index = self._published.try_get()
        if index is None and self._index is None:
            return SIGNED_EVERY_S  # the first index wakes this
        try:
            files = [] if index is None else self._files_of(index)
        except (FileNotFoundError, IndexMissing, IndexDamaged):
            return REPLACED_RETRY_S
        self._index = index or self._index
        assert self._index is not None
        self._make(self._index, files)
        return SIGNED_EVERY_S

    def _files_of(self, index: Index) -> list[Kept]:
        """Return the files of an index and the callers; IndexMissing if the directory has a newer one by now."""
        directory = self._contents.index_directory
        manifest = read_manifest(directory.joinpath)
        if manifest["mark"] != index.mark.hex():
            raise IndexMissing("another index is there by now")
        named = manifest["files"]
        rows = [named["directory"], named["ranges"], *named["extents"], *named["record"]]
        names = [MANIFEST_NAME, *(row[0] for row in rows)]
        callers = self._contents.callers()
        kept_callers = Kept(EditionFile(CALLERS_NAME, len(callers), hash_bytes(callers)), callers)
        return [*self._opened.all({name: directory / name for name in names}), kept_callers]

    def _make(self, index: Index, files: list[Kept]) -> None:
        told = [one.told for one in files]
        if not self._last or told != [one.told for one in self._last[-1]]:
            self._last.append(files)
            self._files = {one.told.sha256: one for some in self._last for one in some}
        signed_at_us, current_at_us = microseconds(datetime.now(UTC)), microseconds(self._contents.current_at())
        edition = Edition(index.installation_id, index.index_version, signed_at_us, current_at_us, told)
        self._newest = sign_edition(edition, self._key)
        self._changed()
        if self._shelf is not None:
            self._shelf.fetch(edition, lambda sha256, offset: self.read(sha256, offset, PIECE_SIZE))
            self._shelf.keep(self._newest, edition)
