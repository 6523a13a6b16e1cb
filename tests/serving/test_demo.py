"""`numcheck demo`: fills an empty directory whole or not at all, the same from the same seed, labelled as made up."""

import json
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from numcheck.index import open_index
from numcheck.offline.demo import EXAMPLE_ACTIVE, EXAMPLE_INACTIVE, fill_demo
from numcheck.serving.publishing import index_directory
from numcheck.store import Store
from tests.serving.command import FREE_PORT, NUMCHECK, Result, run, running, serving
from tests.serving.small import DATA_TIME, REGISTRY

COUNT = 20_000
MANY = 200_000_000
PLAN_NUMBERS = 10_182_100  # mobile ones of the small plan


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A directory that a demo filled, and what it printed."""
    directory = tmp_path_factory.mktemp("demo") / "var"
    return directory, demo(directory, "--seed", 7, "--json")


def demo(directory, *options, numbers=COUNT) -> Result:
    return run("demo", "--data-dir", directory, "--numbers", numbers, *options)


def digests(directory):
    """The digest of each operator's active set, and the label that it wears."""
    with Store(directory, read_only=True) as store:
        return {
            one.operator_id: (store.sets.active_set(one.operator_id).digest(), one.synthetic)
            for one in store.operators()
        }


def test_demo_tells_what_it_filled(filled):
    """The bundled registry's figures, as many active numbers as asked for, and that they are synthetic."""
    directory, ended = filled
    assert ended.status == 0
    told = json.loads(ended.out)
    assert (told["range_count"], told["operator_count"], told["number_count"]) == (17_059, 73, 706_567_081)
    assert (told["active_count"], told["synthetic"], told["data_dir"]) == (COUNT, True, str(directory))
    with Store(directory, read_only=True) as store:
        assert sum(store.sets.active_counts().values()) == COUNT
        assert told["index_version"] == store.revision


def test_every_active_set_is_labelled_synthetic(filled):
    assert all(synthetic for _, synthetic in digests(filled[0]).values())


def test_demo_is_the_same_when_the_seed_is(filled, tmp_path):
    """Run again, the command makes every operator's set anew, number by number."""
    demo(tmp_path / "again", "--seed", 7)
    assert digests(tmp_path / "again") == digests(filled[0])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("count", [2, 20_000, 9_000_000])
def test_examples_of_the_pages_are_what_they_say_whatever_the_size(fill_small, tmp_path, count, seed):
    """One number in service and one that is not, among as many as were asked for."""
    filled = fill_small(tmp_path / "var", seed=seed, number_count=count)
    with Store(tmp_path / "var", read_only=True) as store:
        assert sum(store.sets.active_counts().values()) == filled.active_count == count
        sets = [store.sets.active_set(one.operator_id) for one in store.operators()]
    assert sum(EXAMPLE_ACTIVE in one for one in sets) == 1
    assert not any(EXAMPLE_INACTIVE in one for one in sets)


@pytest.mark.parametrize("count", [0, PLAN_NUMBERS])
def test_demo_is_filled_when_there_is_no_room_for_the_examples(fill_small, tmp_path, count):
    """With no number in service, or with all of them."""
    assert fill_small(tmp_path / "var", seed=1, number_count=count).active_count == count


def test_demo_is_another_when_the_seed_is(fill_small, tmp_path):
    """As many numbers, but others."""
    one, other = (fill_small(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert one == other
    assert digests(tmp_path / "1") != digests(tmp_path / "2")


def test_demo_serves_at_once(filled, tmp_path):
    """The index is there: nothing is built anew, and the label shows."""
    directory = shutil.copytree(filled[0], tmp_path / "var")
    with serving(directory) as node:
        node.process.line_with("SYNTHETIC")
        assert not any("built anew" in line for line in node.process.lines)


def test_demo_is_refused_when_the_directory_holds_anything(tmp_path):
    """One line, exit status 1, and what was there is as it was."""
    (tmp_path / "note.txt").write_text("mine")
    ended = demo(tmp_path)
    assert ended.status == 1
    assert ended.err == f"numcheck: {tmp_path} holds something already; the demo fills an empty directory only\n"
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_demo_is_refused_when_the_plan_has_no_room_for_the_numbers(tmp_path):
    """In a line with both figures, and with nothing left behind."""
    ended = demo(tmp_path / "var", numbers=10**12)
    assert ended.status == 1
    assert ended.err.splitlines()[-1] == (
        "numcheck: 1,000,000,000,000 active numbers do not fit into a plan of 706,567,081"
    )
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def fill_small(monkeypatch):
    """The demo, with the small plan for the bundled one."""
    monkeypatch.setattr("numcheck.offline.demo.bundled_source", lambda: ("small.csv", REGISTRY.encode()))
    return partial(fill_demo, number_count=100, now=DATA_TIME, progress=lambda *_: None)


@pytest.mark.parametrize("name", [".", "empty", "link", "new", "new/nested", "a b%20?#é"])
def test_demo_fills_a_directory_whatever_its_name(fill_small, tmp_path, monkeypatch, name):
    """The directory where one is, an empty one, a link to one, and one that is to be made."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    work = tmp_path / "empty" if name == "." else tmp_path
    monkeypatch.chdir(work)
    filled = fill_small(Path(name), seed=1)
    with Store(work / name, read_only=True) as store:
        assert sum(store.sets.active_counts().values()) == filled.active_count == 100
    assert open_index(index_directory(work / name)).index_version == filled.index_version
    assert not list(tmp_path.rglob("*filling*"))


@pytest.mark.parametrize("existing", [True, False])
def test_directory_does_not_look_filled_when_the_demo_was_killed(tmp_path, existing):
    """SIGKILL in the middle: nothing can be served from it; a second demo fills it and leaves no trace of the first."""
    directory = tmp_path / "var"
    if existing:
        directory.mkdir()
    with running("demo", "--data-dir", directory, "--numbers", MANY, command=NUMCHECK) as process:
        process.line_with("synthetic population")
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not Store.exists(directory)
    assert run("serve", "--data-dir", directory, *FREE_PORT).status == 1
    assert demo(directory, numbers=100).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["var"]
    assert sorted(path.name for path in directory.iterdir()) == ["index", "lock", "numcheck.db"]
    assert all(synthetic for _, synthetic in digests(directory).values())


def test_second_demo_is_refused_when_one_is_under_way(tmp_path):
    """Into the same directory: one fills it, the other is told who does."""
    directory = tmp_path / "var"
    with running("demo", "--data-dir", directory, "--numbers", MANY, command=NUMCHECK) as process:
        process.line_with("synthetic population")
        ended = demo(directory)
        process.signal(signal.SIGKILL)
        process.wait()
    assert ended.status == 1
    assert "in use by another numcheck process" in ended.err
