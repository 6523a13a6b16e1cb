"""A damaged, missing or stale index is noticed, said why, and built anew from the store to the very same bytes."""

import gc
import os
import threading
import weakref
from datetime import UTC, datetime
from pathlib import Path

import pytest

from numcheck.active import AllottedRange
from numcheck.errors import IndexNotReady
from numcheck.index import PublishedIndex, build_index, open_index
from numcheck.serving.publishing import index_directory, open_or_rebuild, rebuild_index
from numcheck.store import Store
from numcheck.v1.check_pb2 import CheckNumbersRequest, CheckNumbersResponse
from tests.active.sets import active_set_of
from tests.index.world import ACTIVE, INACTIVE, World, operator
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
FIRST = 79160000000


@pytest.fixture
def data_dir(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data_dir):
    with Store(data_dir) as store:
        store.import_plan(plan(row(916, 0, 9_999, "А", "7740000076")), source="rows.csv", now=NOW)
        store.sets.replace_active_set(1, active_set_of([FIRST, FIRST + 5]), data_time=NOW, now=NOW)
        yield store


def contents(data_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(index_directory(data_dir).iterdir())}


def remove_everything(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


def damage(kind: str, end: int | None = None):
    """Change one byte of a file, or cut the file."""

    def change(directory: Path) -> None:
        (path,) = directory.glob(f"{kind}*")
        if end is None:
            content = path.read_bytes()
            path.write_bytes(content[:100] + bytes([content[100] ^ 4]) + content[101:])
        else:
            os.truncate(path, end)

    return change


def remove(kind: str):
    def change(directory: Path) -> None:
        (path,) = directory.glob(f"{kind}*")
        path.unlink()

    return change


CHANGES = {
    "everything is gone": (remove_everything, "there is no index"),
    "its manifest is gone": (remove("manifest"), "there is no index"),
    "its manifest is damaged": (damage("manifest"), "the manifest is not what was written"),
    "its manifest is empty": (damage("manifest", 0), "the manifest is not what was written"),
    "its pages are gone": (remove("pages"), "is missing"),
    "its pages are damaged": (damage("pages"), "block 0 of pages"),
    "its pages are cut": (damage("pages", 300), "has 300 bytes"),
    "its pages are empty": (damage("pages", 0), "is empty"),
    "its directory is damaged": (damage("directory"), "block 0 of directory"),
    "its ranges are damaged": (damage("ranges", 70), "has 70 bytes"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_index_is_rebuilt_to_the_same_bytes_when(store, data_dir, name):
    change, reason = CHANGES[name]
    rebuild_index(store, data_dir)
    before = contents(data_dir)
    change(index_directory(data_dir))
    index, said = open_or_rebuild(store, data_dir)
    assert reason in said
    assert [index.table.check(FIRST + step) for step in (0, 1, 5)] == [(ACTIVE, 1), (INACTIVE, 1), (ACTIVE, 1)]
    assert contents(data_dir) == before
    assert open_or_rebuild(store, data_dir)[1] is None


def test_index_is_built_when_there_is_none(store, data_dir):
    index, reason = open_or_rebuild(store, data_dir)
    assert "there is no index" in reason
    assert index.index_version == store.revision == 2


def test_index_is_opened_as_it_is_when_it_is_the_stores(store, data_dir):
    rebuild_index(store, data_dir)
    before = {path: path.stat().st_ino for path in index_directory(data_dir).iterdir()}
    assert open_or_rebuild(store, data_dir)[1] is None
    assert {path: path.stat().st_ino for path in index_directory(data_dir).iterdir()} == before


def test_index_is_rebuilt_when_the_store_has_changed(store, data_dir):
    rebuild_index(store, data_dir)
    store.sets.replace_active_set(1, active_set_of([FIRST + 1]), data_time=NOW, now=NOW)
    index, reason = open_or_rebuild(store, data_dir)
    assert reason == "it is not the store's revision"
    assert [index.table.check(FIRST + step)[0] for step in (0, 1)] == [INACTIVE, ACTIVE]


def test_index_is_rebuilt_when_it_is_newer_than_the_store(store, data_dir):
    """As after a store was put back from a copy."""
    source = World([AllottedRange(FIRST, FIRST, 1, True, "")], {1: operator(1)}, {}).source(store.revision + 1)
    build_index(index_directory(data_dir), source)
    assert open_or_rebuild(store, data_dir)[0].index_version == store.revision


def test_nothing_is_published_before_the_first_index():
    with pytest.raises(IndexNotReady):
        PublishedIndex().get()


# --- threads

THREADS = 4
NUMBERS = [FIRST + step for step in range(3_000)]


def version_of(index_version: int) -> World:
    """A world whose every answer tells its version: by the operator, and by what is active."""
    operator_id = 100 * index_version + 1
    ranges = [AllottedRange(FIRST, FIRST + 9_999, operator_id, True, "")]
    return World(ranges, {operator_id: operator(operator_id)}, {operator_id: set(NUMBERS[index_version::7])})


def response_of(index_version: int) -> bytes:
    answers = [version_of(index_version).answer(number) for number in NUMBERS]
    return CheckNumbersResponse(
        statuses=[status for status, _ in answers],
        operator_ids=[operator_id for _, operator_id in answers],
        index_version=index_version,
    ).SerializeToString()


def test_every_batch_is_of_one_version_when_others_are_published_meanwhile(tmp_path):
    """Of 3,000 numbers, which the kernel answers without the GIL; the files of old versions are removed under it."""
    expected = {index_version: response_of(index_version) for index_version in range(1, 7)}
    body, published = CheckNumbersRequest(numbers=NUMBERS).SerializeToString(), PublishedIndex()
    build_index(tmp_path, version_of(1).source(1))
    published.publish(open_index(tmp_path))
    done, seen, wrong = threading.Event(), set(), []

    def ask() -> None:
        while not done.is_set():
            answered = published.get().table.check_numbers(body, numbers_per_call_max=len(NUMBERS))
            versions = [one for one, response in expected.items() if response == answered]
            seen.update(versions)
            wrong.extend([] if versions else [answered])

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            for index_version in expected:
                build_index(tmp_path, version_of(index_version).source(index_version))
                published.publish(open_index(tmp_path))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(seen) > 1


def test_one_table_answers_alike_when_many_threads_ask_it(tmp_path):
    build_index(tmp_path, version_of(1).source(1))
    table, answers = open_index(tmp_path).table, []
    body = CheckNumbersRequest(numbers=NUMBERS).SerializeToString()
    start = threading.Barrier(THREADS)

    def ask() -> None:
        start.wait()
        answers.extend({table.check_numbers(body, numbers_per_call_max=len(NUMBERS)) for _ in range(200)})

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [response_of(1)] * THREADS


def test_index_that_was_replaced_is_given_back_at_once_whoever_saw_it(tmp_path):
    """Not when cycles are collected: until then all its files stay mapped."""
    held = AllottedRange(79160000000, 79160000099, 5, True, "Тверь")
    build_index(tmp_path, World([held], {5: operator(5), 300: operator(300)}, {}).source(1))
    gc.disable()
    try:
        index = open_index(tmp_path)
        index.for_agreements(frozenset({5})).for_agreements(frozenset({300}))
        gone = weakref.ref(index), weakref.ref(index.for_agreements(frozenset({5})))
        del index
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()
