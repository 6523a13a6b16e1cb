"""R1 at every step: the power fails after each single thing that a node does to its disk while it takes pushes.

Where the campaign draws moments, this takes them all: one node's log, cut after every record.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from numcheck.serving.publishing import open_or_rebuild
from numcheck.store import Store
from tests.faults.campaign import Campaign
from tests.faults.disk import Disk, Record, power_loss, read_log
from tests.faults.pushes import PushWorkload, Version, digest_of

PUSHES = 3
DRAWS = 2  # of what a power loss keeps, at every step


def pushed(tmp_path: Path) -> tuple[Disk, list[Record], list[Version], dict[int, int]]:
    """Let a node take pushes: the disk before, the steps, the versions, and after which step each was acknowledged."""
    tmp_path.mkdir()
    campaign = Campaign(tmp_path, 3, power_loss_share=1.0, kinds=[PushWorkload])
    if not campaign.power_loss_share:
        pytest.skip("this machine cannot preload the recorder")
    machine, (workload,) = campaign.machine, campaign.workloads
    assert isinstance(workload, PushWorkload)
    life, disk, chance = machine.start(), Disk(machine.data_dir), random.Random(3)
    try:
        life.connect()
        workload.check(life)
        client = workload._clients[-1]
        operator, acknowledged = client._operator, {}
        while len(operator.versions) <= PUSHES:
            client._step(life, chance)
            versions = operator.explain(operator.believed_head, lambda _last: True)
            operator.settle(versions)
            acknowledged.setdefault(versions[-1].version, sum(1 for _ in read_log(machine.log)))
        return disk, list(read_log(machine.log)), operator.versions, acknowledged
    finally:
        life.kill()
        campaign.close()


def crashes(disk: Disk, records: list[Record]) -> Iterator[tuple[int, Disk]]:
    """The disk after every step, and after a power loss there."""
    chance = random.Random(4)
    for count in range(len(records) + 1):
        for _ in range(DRAWS):
            left = disk.after(records[:count])
            left.keep(power_loss(chance))
            yield count, left


def test_the_power_may_fail_after_every_step_of_a_push(tmp_path):
    """What is left holds every push that was acknowledged by then, and no part of another; the index is no ruin."""
    disk, records, versions, acknowledged = pushed(tmp_path / "node")
    digests = [digest_of(_numbers(one)) if one.version else b"" for one in versions]
    assert len(records) > 10 * PUSHES
    for count, left in crashes(disk, records):
        data_dir = tmp_path / "left"
        left.write_to(data_dir)
        told = max((version for version, step in acknowledged.items() if step <= count), default=0)
        with Store(data_dir) as store:
            operator_id = next(one.operator_id for one in store.operators() if one.tax_id == "7713076301")
            head, digest = store.sets.digest(operator_id)
            assert told <= head.version <= told + 1, f"step {count}"
            assert digest == digests[head.version], f"step {count}"
            index, reason = open_or_rebuild(store, data_dir)
            assert reason in {None, "it is not the store's revision"}, f"step {count}"
            assert index.index_version == store.revision
        shutil.rmtree(data_dir)


def _numbers(version: Version) -> list[int]:
    return [79_360_000_000 + place for place, bit in enumerate(reversed(f"{version.members:b}")) if bit == "1"]
