"""Brings the index to what the store holds: the one place that knows both."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from numcheck.active import AllottedRange
from numcheck.config import Settings
from numcheck.errors import IndexDamaged, IndexMissing, StoreMissing, StoreUnavailable
from numcheck.index import Index, IndexSource, RecordSource, build_index, open_index, update_index
from numcheck.index.format import DIRECTORY_NAME
from numcheck.moments import moment
from numcheck.plan import country_of
from numcheck.serving.replica import catches_up
from numcheck.store import Loss, Point, Store

LOST = "the index is of a history that the store has lost"

log = structlog.get_logger()


def point_of(index: Index) -> Point:
    """Return the point of the store's history that an index was built at."""
    return Point(index.index_version, index.mark)


def versions_of(index: Index) -> dict[int, int]:
    """Return the versions of operators' data that an index was built of."""
    return {one.operator_id: one.data_version for one in index.operators.values()}


def index_directory(data_dir: Path) -> Path:
    """Return where a data directory's index is."""
    return data_dir / DIRECTORY_NAME


def _index_source(store: Store, ranges: Sequence[AllottedRange]) -> IndexSource:
    """Return what the store holds at one moment, as the builder takes it."""
    countries = [country_of(calling_code) for calling_code in sorted({one.calling_code for one in store.series()})]
    return IndexSource(
        index_version=store.revision,
        spaces=[(country.first_number, country.last_number) for country in countries],
        ranges=ranges,
        operators=store.operators(),
        members=store.sets.members,
        installation_id=store.installation_id,
        mark=store.point.mark,
        lost=store.unused_revisions(),
        record=_record_source(store),
    )


def _record_source(store: Store) -> RecordSource:
    record = store.withdrawal_record()
    since = record.since
    return RecordSource(int(since.timestamp()) if since else 0, record.counts, record.chunks)


def rebuild_index(store: Store, data_dir: Path) -> None:
    """Build the index from the store and publish it, whatever was there before; StoreDamaged if the store is not whole.

    The store is to be held at one moment, unless nobody can write to it meanwhile.
    """
    store.checks().sets()
    build_index(index_directory(data_dir), _index_source(store, store.ranges()))


class IndexFollower:
    """Brings a published index to the store's revision, at the cost of what was pushed in between."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._ranges: Sequence[AllottedRange] | None = None

    def update(self, store: Store, base: Index | None) -> None:
        """Publish the index of the moment that the store is held at: all of it anew without a base, if the store does
        not know the base, or if the plan has changed."""
        known = base is not None and store.has(point_of(base))
        changed = store.changed_since(base.index_version) if base is not None and known else None
        if base is None or changed is None:
            self._ranges = None
            rebuild_index(store, self._data_dir)
            return
        if self._ranges is None:
            self._ranges = store.ranges()
        update_index(index_directory(self._data_dir), _index_source(store, self._ranges), base.files, changed)


def open_or_rebuild(
    store: Store, data_dir: Path, *, fresh_since: datetime | None = None, replica_url: str | None = None
) -> tuple[Index, str | None]:
    """Return the store's index, rebuilt if it is missing, damaged, of another revision or history; and why it was, or
    None. It is built of a standby that is at `replica_url`, if that has all that the store has.

    For a store that no other thread reads from yet; what others commit to it meanwhile is the follower's.
    """
    lost = record_loss_since(store, data_dir)
    store.begin_epoch()
    directory = index_directory(data_dir)
    with store.one_moment():
        try:
            index = open_index(directory, fresh_since=fresh_since, installation_id=store.installation_id)
            reason = None if point_of(index) == store.point else lost or "it is not the store's revision"
        except (IndexMissing, IndexDamaged) as error:
            reason = str(error)
    if reason is not None:
        if replica_url is None or not _try_rebuild_of_standby(store, data_dir, replica_url):
            with store.one_moment():
                rebuild_index(store, data_dir)
        index = open_index(directory, fresh_since=fresh_since)
    store.see(point_of(index), versions_of(index))
    return index, reason


def _try_rebuild_of_standby(store: Store, data_dir: Path, url: str) -> bool:
    """Rebuild the index of a standby's moment; False if it has not, soon, all that the store has now, is of another
    history, or goes away."""
    wanted, problem = store.point, "it lacks what the store has"
    try:
        with Store(data_dir, url=url, read_only=True) as standby:
            has_all = catches_up(lambda: standby.has(wanted))
            with standby.one_moment():
                if has_all and store.has(standby.point):
                    rebuild_index(standby, data_dir)
                    log.info("the index was built of the standby", index_version=standby.revision)
                    return True
    except StoreUnavailable as error:
        problem = str(error)
    log.warning("the index is not built of the standby, but of the store", problem=problem)
    return False


def record_loss_since(store: Store, data_dir: Path) -> str | None:
    """Compare the store with the index that was built of it last: if it lacks what that has, record it and say so.

    To be called before anything is changed in a store that was not open meanwhile.
    """
    try:
        index = open_index(index_directory(data_dir), installation_id=store.installation_id)
    except (IndexMissing, IndexDamaged):
        return None
    if not store.is_lost(point_of(index)):
        return None
    store.see(point_of(index), versions_of(index))
    return record_loss(store, point_of(index))


def check_history(settings: Settings, index: Index) -> None:
    """Raise IndexDamaged if the store says that an index is of a history that it has lost; where the store cannot be
    read, the index is taken for good."""
    with (
        suppress(StoreMissing, StoreUnavailable),
        Store(settings.data_dir, url=settings.database, read_only=True) as store,
    ):
        if store.is_lost(point_of(index)):
            raise IndexDamaged(LOST)


def record_loss(store: Store, lost: Point) -> str:
    """Record that a point is lost, and say so."""
    found = store.point
    store.record_loss(lost, now=datetime.now(UTC))
    return f"the store has lost revisions up to {lost.revision}; it was at revision {found.revision}"


def told_losses(losses: Iterable[Loss]) -> list[dict[str, Any]]:
    """Losses of history as the log and `numcheck status` tell them."""
    return [
        {
            "first_revision": one.first_revision,
            "last_revision": one.last_revision,
            "noticed_at": moment(one.noticed_at_us).isoformat(timespec="seconds"),
            "operators": [
                {"operator_id": operator_id, "version_before": before, "version_found": found}
                for operator_id, (before, found) in sorted(one.operators.items())
            ],
        }
        for one in losses
    ]
