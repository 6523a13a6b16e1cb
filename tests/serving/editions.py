"""A node's editions in the tests' own process, and sources of them that fail, lie, or are slow."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.access import Caller
from numcheck.api.editions import PIECE_SIZE, CallersFile, callers_file
from numcheck.config import Settings
from numcheck.errors import IndexNotReady, SourceFailed
from numcheck.index import PublishedIndex, open_index
from numcheck.index.edition import Edition, read_edition
from numcheck.index.shelf import Shelf
from numcheck.serving.access import FollowedCallers
from numcheck.serving.editions import Contents, NodeEditions
from numcheck.serving.following import Following
from numcheck.serving.publishing import IndexFollower, index_directory
from numcheck.store import Store
from tests.active.sets import active_set_of
from tests.serving import small

WAIT_S = 20.0
TAG_KEY = b"k" * 32


def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds that another thread brings about."""
    ends = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.002)


class Origin:
    """A node as far as followers see it, over a data directory that small.py has filled."""

    def __init__(self, data_dir: Path, publish_dir: Path | None = None) -> None:
        self.store, self.data_dir = Store(data_dir), data_dir
        self.key, self.published = Ed25519PrivateKey.generate(), PublishedIndex()
        self.callers: list[tuple[Caller, bytes | None]] = []
        self.current_at: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._builder, self.made = IndexFollower(data_dir), threading.Condition()
        contents = Contents(index_directory(data_dir), self._callers_file, self._current_at)
        self.editions = NodeEditions(self.published, contents, self.key, changed=self._changed, publish_dir=publish_dir)
        self.index = open_index(index_directory(data_dir))
        self.published.publish(self.index)

    def _current_at(self) -> datetime:
        return self.current_at()

    def _callers_file(self) -> bytes:
        return callers_file(CallersFile(self.callers, [], TAG_KEY, len(self.callers)))

    def _changed(self) -> None:
        with self.made:
            self.made.notify_all()

    def push(self, *numbers: int) -> int:
        """Make these the numbers of MTS; the index version, which is published."""
        operator_id = next(one.operator_id for one in self.store.operators() if one.tax_id == small.MTS)
        now = datetime.now(UTC)
        self.store.sets.replace_active_set(operator_id, active_set_of(numbers), data_time=now, now=now)
        self._builder.update(self.store, self.index)
        self.index = open_index(index_directory(self.data_dir), previous=self.index)
        self.published.publish(self.index)
        return self.index.index_version

    def newest(self) -> bytes:
        """The newest edition, waited for if there is none yet."""
        with self.made:
            while True:
                try:
                    return self.editions.newest()
                except IndexNotReady:
                    self.made.wait(WAIT_S)

    def edition(self) -> Edition:
        return read_edition(self.newest(), None)[0]

    def close(self) -> None:
        self.editions.stop()
        self.store.close()


@contextmanager
def origin_in(data_dir: Path, publish_dir: Path | None = None) -> Iterator[Origin]:
    origin = Origin(data_dir, publish_dir)
    try:
        yield origin
    finally:
        origin.close()


class Tells:
    """A source that tells what an origin does; `tamper` changes editions, and `spoil` pieces of files, on their way."""

    def __init__(
        self,
        origin: Origin,
        name: str = "origin",
        *,
        tamper: Callable[[bytes], bytes] = lambda edition: edition,
        spoil: Callable[[bytes, int, bytes], bytes] = lambda _sha256, _offset, content: content,
    ) -> None:
        self.name, self._origin, self._tamper, self._spoil = name, origin, tamper, spoil
        self.closed = False
        self.asked: list[tuple[bytes, int]] = []
        """Pieces that were asked for, by hash and offset."""

    def editions(self) -> Iterator[bytes]:
        told = b""
        while not self.closed:
            newest = self._origin.newest()
            if newest != told:
                told = newest
                yield self._tamper(newest)
            else:
                with self._origin.made:
                    self._origin.made.wait(0.01)
        raise SourceFailed("closed")

    def piece(self, sha256: bytes, offset: int) -> bytes:
        self.asked.append((sha256, offset))
        return self._spoil(sha256, offset, self._origin.editions.read(sha256, offset, PIECE_SIZE))

    def close(self) -> None:
        self.closed = True


class Follows:
    """What a follower has, without doors."""

    def __init__(self, directory: Path, *sources: Any, **settings: Any) -> None:
        self.published, self.denied = PublishedIndex(), []
        self.callers = FollowedCallers(lambda *denied: self.denied.append(denied))
        self.following = Following(
            sources,
            Shelf(directory),
            self.published,
            self.callers,
            Settings(data_dir=directory, **settings),
            lambda: None,
        )
        self.following.start()

    @property
    def version(self) -> int:
        """The version that is answered from; 0: none."""
        index = self.published.try_get()
        return index.index_version if index else 0

    def problem(self, place: int = 0) -> str:
        return self.following.states[place].problem


@contextmanager
def follows(directory: Path, *sources: Any, **settings: Any) -> Iterator[Follows]:
    follower = Follows(directory, *sources, **settings)
    try:
        yield follower
    finally:
        follower.following.stop()
