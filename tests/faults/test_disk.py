"""The model of a power loss: what was synchronised stays, what was not may go, and the recorder misses nothing."""

import random
import shutil
import subprocess
import sys

import pytest

from tests.faults.campaign import Campaign
from tests.faults.disk import IGNORED_SUFFIX, Disk, power_loss
from tests.faults.nodes import PATIENCE_S, build_recorder
from tests.faults.pushes import PushWorkload
from tests.serving.command import ROOT, environment

EVERYTHING = lambda _place, _count: True  # noqa: E731 - a table of two
NOTHING = lambda _place, _count: False  # noqa: E731
PROGRAM = """
import os, sys
from pathlib import Path
from tests.faults.launch import record
root = Path(sys.argv[1])
record(str(root), sys.argv[2])
def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
{steps}
"""


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    built = build_recorder(tmp_path_factory.mktemp("recorder"))
    if built is None:
        pytest.skip("this machine cannot preload the recorder")
    return built


def run(recorder, tmp_path, steps: str) -> Disk:
    """Let a program take steps in a directory with one file, `old`; the disk as it is after them."""
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    (root / "old").write_bytes(b"before")
    disk = Disk(root)
    command = [sys.executable, "-c", PROGRAM.format(steps=steps), str(root), str(log)]
    env = environment({"LD_PRELOAD": str(recorder)})
    subprocess.run(command, check=True, cwd=ROOT, env=env)  # one that hangs is ended with its test
    disk.replay(log)
    return disk


def files(directory) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.endswith(IGNORED_SUFFIX)
    }


def left(disk: Disk, tmp_path, keep=NOTHING) -> dict[str, bytes]:
    disk.keep(keep)
    disk.write_to(tmp_path / "left")
    return files(tmp_path / "left")


@pytest.mark.parametrize(
    ("steps", "after"),
    [
        ("(root / 'new').write_bytes(b'x')", {"old": b"before"}),
        ("(root / 'new').write_bytes(b'x'); sync(root / 'new')", {"old": b"before"}),
        ("(root / 'new').write_bytes(b'x'); sync(root)", {"old": b"before", "new": b""}),
        ("(root / 'new').write_bytes(b'x'); sync(root / 'new'); sync(root)", {"old": b"before", "new": b"x"}),
        ("(root / 'old').write_bytes(b'y')", {"old": b"before"}),
        ("(root / 'old').write_bytes(b'y'); sync(root / 'old')", {"old": b"y"}),
        ("(root / 'old').unlink()", {"old": b"before"}),
        ("(root / 'old').unlink(); sync(root)", {}),
        ("(root / 'old').rename(root / 'new')", {"old": b"before"}),
        ("(root / 'old').rename(root / 'new'); sync(root)", {"new": b"before"}),
        ("(root / 'a').mkdir(); (root / 'a' / 'b').write_bytes(b'x'); sync(root / 'a' / 'b')", {"old": b"before"}),
        (
            "(root / 'a').mkdir(); (root / 'a' / 'b').write_bytes(b'x'); sync(root / 'a' / 'b'); sync(root / 'a')",
            {"old": b"before", "a/b": b"x"},
        ),
    ],
)
def test_only_what_was_synchronised_is_promised(recorder, tmp_path, steps, after):
    """A file's bytes by the file's own sync, its name by its directory's."""
    assert left(run(recorder, tmp_path, steps), tmp_path) == after


def test_what_was_not_synchronised_may_have_reached_the_disk_all_the_same(recorder, tmp_path):
    disk = run(recorder, tmp_path, "(root / 'new').write_bytes(b'x'); (root / 'old').unlink()")
    assert left(disk, tmp_path, EVERYTHING) == {"new": b"x"}


def test_a_write_is_torn_at_the_end_of_a_sector(recorder, tmp_path):
    disk = run(recorder, tmp_path, "f = open(root / 'old', 'r+b', buffering=0); f.seek(500); f.write(b'z' * 1000)")
    torn = left(disk, tmp_path, lambda place, _count: place == 1)["old"]
    assert torn == b"before" + bytes(506) + b"z" * 512


def test_a_power_loss_is_drawn_from_all_that_may_be(recorder, tmp_path):
    """Nothing kept, a beginning kept, any part kept: each is drawn, and the same seed draws the same."""
    draws = []
    for seed in range(60):
        keep = power_loss(random.Random(seed))
        again = power_loss(random.Random(seed))
        kept = tuple(keep(place, 6) for place in range(6))
        assert kept == tuple(again(place, 6) for place in range(6))
        draws.append(kept)
    assert (False,) * 6 in draws
    assert any(draw[0] and not draw[5] and sorted(draw, reverse=True) == list(draw) for draw in draws)
    assert any(not draw[0] and any(draw) for draw in draws)


def test_the_recorder_sees_everything_that_a_node_does_to_its_disk(recorder, tmp_path):
    """The whole log, replayed, gives the very files that the node has left: an operation that the recorder did not
    know would show here, and not in a campaign that is blind to it."""
    campaign = Campaign(tmp_path, 5, power_loss_share=1.0, kinds=[PushWorkload])
    machine = campaign.machine
    life = machine.start()
    try:
        disk = Disk(machine.data_dir)  # nothing has changed yet that the plan's import has not made
        life.connect()
        (workload,) = campaign.workloads
        workload.check(life)
        stop = random.Random(5)
        for client in workload._clients:
            for _ in range(12):
                client._step(life, stop)
        life.process.terminate()
        life.process.wait(PATIENCE_S)
        disk.replay(machine.log)
        expected = files(machine.data_dir)
        assert left(disk, tmp_path, EVERYTHING) == expected
        assert any(name.startswith("index/") for name in expected)
    finally:
        life.kill()
        campaign.close()
    shutil.rmtree(machine.data_dir)
