"""R1 for pushes: what was acknowledged survives SIGKILL, what was refused is absent, the unknown is whole or absent.

The ledger is outside of the node: an intent is noted before it is sent and its answer after. Planted bugs must be
caught, or the campaign proves nothing.
"""

import os
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from numcheck.v1 import numbering_pb2
from tests.numbering.conftest import data_dir
from tests.numbering.node import FIRST, Node, start
from tests.numbering.test_pushes import DELTA, digest_of, header, state

__all__ = ["data_dir"]  # the fixture

KILLS = int(os.environ.get("NUMCHECK_KILLS", "30"))
NUMBERS_PER_PUSH = 500

# Each replaces one step of the node by a wrong one, in the node's own process.
ACKNOWLEDGE_BEFORE_COMMIT = """
import dataclasses, threading
from numcheck.store import Store
right = Store.push
def wrong(self, header, content, **rest):
    head = self.head(header.operator_id)
    late = threading.Timer(0.2, lambda: right(self, header, content, **rest))
    late.daemon = True
    late.start()
    from numcheck.active import PushCounts
    from numcheck.store import Pushed
    return Pushed(head.version + 1, self.revision + 1, PushCounts(0, 0, 0, 0, 0), "")
Store.push = wrong
"""
HALF_OF_A_PUSH = """
import time
from numcheck.store import journal
right = journal._write_changes
def wrong(connection, operator_id, push_key, changes):
    for chunk, (added, removed) in changes.items():
        half = type(added)(list(added)[::2])
        right(connection, operator_id, push_key, {chunk: (half, removed)})
journal._write_changes = wrong
"""


@dataclass
class Ledger:
    """Every push that was sent: its numbers, and whether it was acknowledged."""

    acknowledged: set[int] = field(default_factory=set)
    unknown: list[set[int]] = field(default_factory=list)
    version: int = 0

    def compare(self, node: Node) -> None:
        """Settle what is unknown by what the node holds now; AssertionError if that is neither of what may be."""
        held = state(node)
        whole = [self.acknowledged, *(self.acknowledged | one for one in self.unknown)]
        digests = {digest_of(sorted(members)) if members else b"": members for members in whole}
        assert held.digest in digests, "what the node holds is not what was acknowledged, whole"
        self.acknowledged, self.unknown = digests[held.digest], []
        assert held.version >= self.version
        assert held.number_count == len(self.acknowledged)
        self.version = held.version


def start_with(data_dir: Path, bug: str, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Start a node, with sitecustomize planting the bug if there is one."""
    plant = data_dir.parent / "plant"
    plant.mkdir(exist_ok=True)
    (plant / "sitecustomize.py").write_text(bug, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(plant))
    return start(data_dir)


def push_until_killed(node: Node, ledger: Ledger, chance: random.Random) -> None:
    """Push delta after delta until the node is killed at a random moment."""
    timer = threading.Timer(chance.uniform(0.0, 0.25), node.process.kill)
    timer.start()
    try:
        while True:
            members = {FIRST + place for place in chance.sample(range(1_000_000), NUMBERS_PER_PUSH)}
            first = header(node, DELTA, base_version=ledger.version)
            ledger.unknown.append(members)
            piece = numbering_pb2.PushActiveNumbersRequest(header=first, add=sorted(members))
            made = node.numbering.PushActiveNumbers(iter([piece]), timeout=10)
            ledger.unknown.remove(members)
            ledger.acknowledged |= members
            ledger.version = made.version
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            raise AssertionError(f"a push failed with {error.code()}") from None
    finally:
        timer.join()
        node.kill()


def campaign(data_dir: Path, kills: int, bug: str, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger, chance = Ledger(), random.Random(20_260_819)
    for _ in range(kills):
        node = start_with(data_dir, bug, monkeypatch)
        try:
            ledger.compare(node)
            push_until_killed(node, ledger, chance)
        finally:
            node.kill()
    node = start_with(data_dir, "", monkeypatch)
    try:
        ledger.compare(node)
    finally:
        node.kill()
    return ledger


def test_what_was_acknowledged_survives_every_kill(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = campaign(data_dir, KILLS, "", monkeypatch)
    assert ledger.version > KILLS // 2, "the campaign acknowledged too little to prove anything"


@pytest.mark.parametrize("bug", [ACKNOWLEDGE_BEFORE_COMMIT, HALF_OF_A_PUSH], ids=["early-answer", "half-push"])
def test_a_planted_bug_is_caught(data_dir: Path, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=r"not what was acknowledged|STALE|FAILED_PRECONDITION"):
        campaign(data_dir, 10, bug, monkeypatch)
