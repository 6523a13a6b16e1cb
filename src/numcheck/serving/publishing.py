"""Brings the index to what the store holds: the one place that knows both."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from numcheck.active import AllottedRange
from numcheck.errors import IndexDamaged, IndexMissing
from numcheck.index import Index, IndexSource, build_index, open_index, update_index
from numcheck.plan import country_of
from numcheck.store import Store


def index_directory(data_dir: Path) -> Path:
    """Where a data directory's index is."""
    return data_dir / "index"


def _index_source(store: Store, ranges: Sequence[AllottedRange]) -> IndexSource:
    """What the store holds at one moment, as the builder takes it."""
    countries = [country_of(calling_code) for calling_code in sorted({one.calling_code for one in store.series()})]
    return IndexSource(
        index_version=store.revision,
        spaces=[(country.first_number, country.last_number) for country in countries],
        ranges=ranges,
        operators=store.operators(),
        members=store.members,
        installation_id=store.installation_id,
    )


def rebuild_index(store: Store, data_dir: Path) -> None:
    """Build the index from the store and publish it, whatever was there before; StoreDamaged if the store is not whole.

    The store is to be held at one moment, unless nobody can write to it meanwhile.
    """
    store.check_sets()
    build_index(index_directory(data_dir), _index_source(store, store.ranges()))


class IndexFollower:
    """Brings a published index to the store's revision, at the cost of what was pushed in between."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._ranges: Sequence[AllottedRange] | None = None

    def update(self, store: Store, base: Index) -> None:
        """Publish the index of the moment that the store is held at; all of it anew if the plan has changed."""
        changed = store.changed_since(base.index_version)
        if changed is None:
            self._ranges = None
            rebuild_index(store, self._data_dir)
            return
        if self._ranges is None:
            self._ranges = store.ranges()
        update_index(index_directory(self._data_dir), _index_source(store, self._ranges), base.files, changed)


def open_or_rebuild(store: Store, data_dir: Path, *, fresh_since: datetime | None = None) -> tuple[Index, str | None]:
    """The store's index, rebuilt if it is missing, damaged or of another revision; and why it was, or None.

    For a store that no other thread reads from yet; what others commit to it meanwhile is the follower's.
    """
    directory = index_directory(data_dir)
    with store.one_moment():
        try:
            index = open_index(directory, fresh_since=fresh_since, installation_id=store.installation_id)
            reason = None if index.index_version == store.revision else "it is not the store's revision"
        except (IndexMissing, IndexDamaged) as error:
            reason = str(error)
        if reason is not None:
            rebuild_index(store, data_dir)
            index = open_index(directory, fresh_since=fresh_since)
    return index, reason
