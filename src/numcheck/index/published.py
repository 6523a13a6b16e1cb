"""The index that a node answers from now: one writer replaces it, and readers take it once a call."""

from numcheck.errors import IndexNotReady
from numcheck.index.reader import Index


class PublishedIndex:
    """A place for the newest index. Reading and replacing an attribute are each one step in CPython: no lock."""

    def __init__(self) -> None:
        self._index: Index | None = None

    def publish(self, index: Index) -> None:
        """Answer from this index from the next call on. Calls under way end on the one that they took."""
        self._index = index

    def get(self) -> Index:
        """The newest index; IndexNotReady if none was published yet."""
        if self._index is None:
            raise IndexNotReady("this node has no index yet")
        return self._index
