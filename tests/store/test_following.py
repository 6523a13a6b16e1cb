"""An index of a store that others write to: it is of one revision, whole, and never skips what commits late."""

import threading
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from numcheck.config import Settings
from numcheck.errors import StoreDamaged
from numcheck.index import PublishedIndex, open_index
from numcheck.serving import builder as building
from numcheck.serving.builder import Builder
from numcheck.serving.publishing import index_directory, open_or_rebuild
from numcheck.store import Store
from numcheck.store.history import raise_revision
from tests.active.sets import active_set_of
from tests.store.engines import URLS, open_store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FIRST = 79160000000
BEFORE, AFTER = row(916, 0, 99, "Альфа", "7740000076"), row(916, 0, 99, "Бета", "7701725181")


def test_index_is_of_one_revision_though_a_plan_is_committed_while_it_is_built(store, data_dir, monkeypatch):
    """Otherwise it has the ranges of one and the number of the other, and nothing ever makes it good."""
    store.import_plan(plan(BEFORE), source="a.csv", now=NOW)
    read = Store.series

    def read_and_commit(self: Store):
        monkeypatch.undo()
        found = read(self)
        with open_store(data_dir) as other:
            other.import_plan(plan(AFTER), source="b.csv", now=NOW, force=True)
        return found

    monkeypatch.setattr(Store, "series", read_and_commit)
    index, _ = open_or_rebuild(store, data_dir)
    assert (index.index_version, index.facts(FIRST).range_holder.display_name) == (1, "Альфа")
    index, reason = open_or_rebuild(store, data_dir)
    assert reason == "it is not the store's revision"
    assert (index.index_version, index.facts(FIRST).range_holder.display_name) == (2, "Бета")


def test_index_of_another_store_of_the_same_revision_is_built_anew(store, data_dir, tmp_path):
    store.import_plan(plan(BEFORE), source="a.csv", now=NOW)
    with Store(tmp_path / "other") as other:
        other.import_plan(plan(AFTER), source="b.csv", now=NOW, force=True)
        open_or_rebuild(other, data_dir)
    index, reason = open_or_rebuild(store, data_dir)
    assert reason == "the index is of another installation"
    assert index.facts(FIRST).range_holder.display_name == "Альфа"


class Following:
    """A builder over a store, and what it publishes."""

    def __init__(self, data_dir) -> None:
        settings = Settings(data_dir=data_dir, database_url=URLS.get(data_dir))
        self.store = open_store(data_dir)
        index, _ = open_or_rebuild(self.store, data_dir)
        self.published = PublishedIndex()
        self.published.publish(index)
        self.versions: list[int] = []
        self._news = threading.Condition()
        self.published.subscribe(self._note)
        self.builder = Builder(self.published, settings, self.store)

    def stop(self) -> None:
        self.builder.stop()
        self.store.close()

    def _note(self, index) -> None:
        with self._news:
            self.versions.append(index.index_version)
            self._news.notify_all()

    def wait_for(self, version: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self.published.get().index_version >= version, timeout=60)


def test_builder_outlives_whatever_fails_and_names_what_is_damaged(store, data_dir, monkeypatch):
    store.import_plan(plan(BEFORE), source="a.csv", now=NOW)
    monkeypatch.setattr(building, "RETRY_DELAY_S", 0.01)
    failures = iter([RuntimeError("no word of this: 79160000001"), StoreDamaged("block 7 is not what was stored")])
    with capture_logs() as logs:
        following, failed = Following(data_dir), threading.Event()
        read = Store.changed_since

        def fail_twice(self: Store, revision: int):
            error = next(failures, None)
            if error is None:
                failed.set()
                return read(self, revision)
            following.builder.worker.complained_of = None  # each is the first in a row
            raise error

        monkeypatch.setattr(Store, "changed_since", fail_twice)
        store.sets.replace_active_set(1, active_set_of([FIRST]), data_time=NOW, now=NOW)
        following.builder.start()
        try:
            assert failed.wait(60)
            following.wait_for(2)
        finally:
            following.stop()
    told = [line for line in logs if line["log_level"] == "error"]
    assert [line["error"] for line in told] == ["RuntimeError", "StoreDamaged"]
    assert told[1]["reason"] == "block 7 is not what was stored"
    assert "7916" not in repr(told)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_follower_never_skips_what_commits_late(store, data_dir, monkeypatch):
    """The one that raised the revision first holds its row: who comes second waits, so the revisions commit in order.

    While the first is open a follower polls and finds nothing; it then finds both, one after the other or at once.
    """
    store.import_plan(plan(BEFORE), source="a.csv", now=NOW)
    monkeypatch.setattr(building, "POLL_INTERVAL_S", 0.01)
    following, polled = Following(data_dir), threading.Semaphore(0)
    read = Store.one_moment

    def poll(self: Store):
        polled.release()
        return read(self)

    monkeypatch.setattr(Store, "one_moment", poll)
    second = threading.Thread(
        target=store.sets.replace_active_set,
        args=(1, active_set_of([FIRST])),
        kwargs={"data_time": NOW, "now": NOW},
    )
    following.builder.start()
    try:
        with open_store(data_dir) as late:
            with late._database.writing() as connection:
                assert raise_revision(connection) == 2
                second.start()
                for _ in range(10):
                    assert polled.acquire(timeout=60)
                assert second.is_alive()
                assert following.versions == []
            second.join()
        following.wait_for(3)
    finally:
        following.stop()
    assert following.versions in ([3], [2, 3])
    assert open_index(index_directory(data_dir)).table.check(FIRST)[0] == following.published.get().facts(FIRST).status
    assert following.published.get().facts(FIRST).status.name == "ACTIVE"
