"""The small world behind a native door of the tests' own process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from numcheck.config import Settings
from numcheck.door.native_door import NativeDoor
from numcheck.index import Index, PublishedIndex, build_index, open_index
from tests.fuzz.judge import WORLD

INDEX_VERSION = 2**40


def index_of_the_world(directory: Path) -> Index:
    """Every kind of page, and numbers whose answers differ from their neighbours'."""
    build_index(directory, WORLD.source(INDEX_VERSION))
    return open_index(directory)


@contextmanager
def listening(index: Index, settings: Settings) -> Iterator[NativeDoor]:
    """A native door that answers from the index."""
    published = PublishedIndex()
    listener = NativeDoor(settings, published)
    published.publish(index)
    listener.set_serving(serving=True)
    try:
        yield listener
    finally:
        listener.stop(1)
