"""The index: derived from the store, disposable, immutable files mapped read-only. docs/format.md has the bytes."""

from numcheck.index.builder import IndexSource, build_index, update_index
from numcheck.index.published import AgreedIndex, PublishedIndex
from numcheck.index.reader import Index, NumberFacts, map_index, open_index
from numcheck.index.record import RecordSource

__all__ = [
    "AgreedIndex",
    "Index",
    "IndexSource",
    "NumberFacts",
    "PublishedIndex",
    "RecordSource",
    "build_index",
    "map_index",
    "open_index",
    "update_index",
]
