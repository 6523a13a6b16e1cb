"""Brings the index to what the store holds: the one place that knows both."""

from datetime import datetime
from pathlib import Path

from numcheck.errors import IndexDamaged, IndexMissing
from numcheck.index import Index, IndexedRange, IndexSource, build_index, open_index
from numcheck.plan import country_of
from numcheck.store import Store


def index_directory(data_dir: Path) -> Path:
    """Where a data directory's index is."""
    return data_dir / "index"


def index_source(store: Store) -> IndexSource:
    """What the store holds now, as the builder takes it. Nobody may write to the store until the build ends."""
    countries = [country_of(calling_code) for calling_code in sorted({one.calling_code for one in store.series()})]
    return IndexSource(
        index_version=store.revision,
        spaces=[(country.first_number, country.last_number) for country in countries],
        ranges=[IndexedRange(*held) for held in store.ranges()],
        operators=store.operators(),
        active_chunk=store.active_chunk,
    )


def rebuild_index(store: Store, data_dir: Path) -> None:
    """Build the index from the store and publish it, whatever was there before."""
    build_index(index_directory(data_dir), index_source(store))


def open_or_rebuild(store: Store, data_dir: Path, *, fresh_since: datetime | None = None) -> tuple[Index, str | None]:
    """The store's index, rebuilt if it is missing, damaged or of another revision; and why it was, or None."""
    directory = index_directory(data_dir)
    try:
        index = open_index(directory, fresh_since=fresh_since)
        reason = None if index.index_version == store.revision else "it is not the store's revision"
    except (IndexMissing, IndexDamaged) as error:
        reason = str(error)
    if reason is not None:
        rebuild_index(store, data_dir)
        index = open_index(directory, fresh_since=fresh_since)
    return index, reason
