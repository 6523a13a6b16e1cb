"""The builder's promises: the same bytes from the same source, one version or the next, nothing pulled from under."""

from pathlib import Path

import pytest

from numcheck.index import build_index, builder, open_index
from numcheck.index import format as files
from tests.index.world import ACTIVE, CHUNK, AllottedRange, World, operator, small_world

FIRST = 79160000000


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def world_of(operator_id: int) -> World:
    return World(
        [AllottedRange(FIRST, FIRST + 9_999, operator_id, True, "")],
        {operator_id: operator(operator_id)},
        {operator_id: {FIRST}},
    )


def test_same_source_gives_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        build_index(tmp_path / name, small_world().source(3))
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_only_the_published_version_is_left_when_a_newer_one_is_built(tmp_path):
    (tmp_path / "left behind by somebody").write_text("x")
    for index_version in (1, 2):
        build_index(tmp_path, small_world().source(index_version))
    versions = {path.name: path.name.split("-")[1] for path in tmp_path.iterdir() if path.name != files.MANIFEST_NAME}
    assert len(versions) == 3
    assert set(versions.values()) == {"0000000000000002.idx"}


def test_open_index_keeps_answering_when_its_files_are_removed(tmp_path):
    build_index(tmp_path, world_of(1).source(1))
    index = open_index(tmp_path)
    build_index(tmp_path, world_of(2).source(2))
    for path in tmp_path.iterdir():
        path.unlink()
    assert index.table.check(FIRST) == (ACTIVE, 1)
    assert index.facts(FIRST).range_holder.operator_id == 1
    assert index.with_freshness(None).table.check(FIRST) == (ACTIVE, 1)


class Crash(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", ["write_manifest", "sync_directory", "remove_unnamed"])
def test_one_version_or_the_next_is_read_when_the_builder_dies(tmp_path, monkeypatch, step):
    """Before the manifest's rename it is the old one, after it the new one; the next build clears up."""
    build_index(tmp_path, world_of(1).source(1))

    def die(*_arguments):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(files if step == "sync_directory" else builder, step, die)
        with pytest.raises(Crash):
            build_index(tmp_path, world_of(2).source(2))
    assert open_index(tmp_path).table.check(FIRST) == (ACTIVE, 2 if step == "remove_unnamed" else 1)
    build_index(tmp_path, world_of(3).source(3))
    assert open_index(tmp_path).table.check(FIRST) == (ACTIVE, 3)
    assert len(list(tmp_path.iterdir())) == 4


def test_old_version_is_read_when_the_builder_dies_within_a_file(tmp_path):
    build_index(tmp_path, world_of(1).source(1))
    source = world_of(2).source(2)

    def die(_operator_id, _chunk):
        raise Crash

    with pytest.raises(Crash):
        build_index(tmp_path, type(source)(2, source.spaces, source.ranges, source.operators, die))
    assert open_index(tmp_path).table.check(FIRST) == (ACTIVE, 1)


def test_next_version_is_opened_when_it_is_published_between_two_reads(tmp_path, monkeypatch):
    """The reader has read the old manifest, and its files are gone when it comes to them."""
    build_index(tmp_path, world_of(1).source(1))
    read_manifest = files.read_manifest
    manifests = iter([read_manifest(tmp_path.joinpath)])
    build_index(tmp_path, world_of(2).source(2))
    monkeypatch.setattr(
        "numcheck.index.format.read_manifest", lambda path_of: next(manifests, None) or read_manifest(path_of)
    )
    assert open_index(tmp_path).table.check(FIRST) == (ACTIVE, 2)


def ranges_in(*chunks: int, mobile: bool = True) -> list[AllottedRange]:
    return [AllottedRange(chunk * CHUNK, chunk * CHUNK + chunk, 1, mobile, "") for chunk in chunks]


@pytest.mark.parametrize(
    ("chunks", "spans"),
    [
        ([], []),
        ([7900], [(7900, 7900)]),
        ([7900, 7901, 7903], [(7900, 7903)]),
        ([7900, 7916], [(7900, 7916)]),
        ([7900, 7917], [(7917, 7917), (7900, 7900)]),
        ([*range(7000, 7429), 7429], [(7000, 7428), (7429, 7429)]),
    ],
)
def test_chunks_share_a_span_when_they_are_near(chunks, spans):
    assert builder.spans_of(ranges_in(*chunks)) == spans


def test_span_with_the_most_mobile_numbers_comes_first():
    fixed = [AllottedRange(7301 * CHUNK, 7302 * CHUNK - 1, 1, False, "")]
    assert builder.spans_of([*fixed, *ranges_in(7900)]) == [(7900, 7900), (7301, 7301)]
