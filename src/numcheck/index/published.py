"""The index that a node answers from now: one writer replaces it, and readers take it once a call."""

from collections.abc import Callable

from numcheck.errors import IndexNotReady
from numcheck.index.reader import Index


class PublishedIndex:
    """A place for the newest index. Reading and replacing an attribute are each one step in CPython: no lock."""

    def __init__(self) -> None:
        self._index: Index | None = None
        self._followers: list[Callable[[Index], None]] = []

    def follow(self, tell: Callable[[Index], None]) -> None:
        """Call `tell` with every index that is published from now on; for readers that cannot ask once a call."""
        self._followers.append(tell)

    def publish(self, index: Index) -> None:
        """Answer from this index from the next call on. Calls under way end on the one that they took."""
        self._index = index
        for tell in self._followers:
            tell(index)

    def get(self) -> Index:
        """The newest index; IndexNotReady if none was published yet."""
        if self._index is None:
            raise IndexNotReady("this node has no index yet")
        return self._index
