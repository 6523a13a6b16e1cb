"""The index that a node answers from now: one writer replaces it, and readers take it once a call."""

import threading
from collections.abc import Callable

from numcheck.errors import IndexNotReady
from numcheck.index.reader import Index


class PublishedIndex:
    """A place for the newest index. It never goes back to an older version, nor to one that was withdrawn.

    Reading takes no lock: it is one step.
    """

    def __init__(self) -> None:
        self._index: Index | None = None
        self._version_min = 0
        self._subscribers: list[Callable[[Index | None], None]] = []
        self._turn = threading.Lock()

    def subscribe(self, call: Callable[[Index | None], None]) -> None:
        """Have `call` run with every index from now on, and with None when the newest is withdrawn.

        For readers that cannot take the index once a call.
        """
        self._subscribers.append(call)

    def publish(self, index: Index) -> None:
        """Answer from this index from the next call on, unless older. Calls under way end on the one they took."""
        with self._turn:
            if index.index_version >= self._version_min:
                self._version_min = index.index_version
                self._replace(index)

    def withdraw(self) -> None:
        """Answer from no index until one of a higher version is published."""
        with self._turn:
            if self._index is not None:
                self._version_min += 1
                self._replace(None)

    def pause(self) -> None:
        """Answer from no index until one is published again, be it the same."""
        with self._turn:
            if self._index is not None:
                self._replace(None)

    def skip(self, index_version: int) -> None:
        """Answer from no index of this version or an older one."""
        with self._turn:
            self._version_min = max(self._version_min, index_version + 1)
            if self._index is not None and self._index.index_version < self._version_min:
                self._replace(None)

    def _replace(self, index: Index | None) -> None:
        self._index = index
        for call in self._subscribers:
            call(index)

    def get(self) -> Index:
        """Return the newest index; IndexNotReady if none was published yet, or the newest was withdrawn."""
        if self._index is None:
            raise IndexNotReady("this node has no index, or is building it anew")
        return self._index

    def try_get(self) -> Index | None:
        """Return the same, or None."""
        return self._index


class AgreedIndex:
    """The published index as seen by a service that has agreements with these operators."""

    def __init__(self, published: PublishedIndex, operator_ids: frozenset[int] | None) -> None:
        self._published, self._operator_ids = published, operator_ids

    def get(self) -> Index:
        """Return the newest index; IndexNotReady if none was published yet."""
        return self._published.get().for_agreements(self._operator_ids)
