"""Kills the primary of a cluster amid registrations and pushes, lets its disk fail, cuts it off from all others,
and holds what is left to a ledger of what was acknowledged: `python -m tests.cluster.failovers --rounds 200`.

Three nodes share the database: one reaches it by several hosts, one by haproxy and one by PgBouncer, each over a
network of the campaign's own. Exit status 1, and why, if anything acknowledged is lost or anything was invented.
"""

import argparse
import errno
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc

from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.cluster import parts
from tests.cluster.__main__ import import_plan
from tests.cluster.cluster import LOOPBACK, Cluster, Member
from tests.cluster.crowd import Crowd
from tests.cluster.pusher import Pusher
from tests.cluster.wire import Wire
from tests.faults.ledger import Ledger, Violation
from tests.faults.registrations import ENVIRONMENT
from tests.faults.storage import GROW, SYNC, WRITE, Fault
from tests.serving.command import run as run_command
from tests.serving.command import serving

WORK_MIN, WORK_MAX = 50, 400  # registrations before something happens
AFTERWARDS = 50  # that have to be acknowledged before what happened is judged
CUT_S = 15.0  # longer than a COMMIT waits
HALF = 0.5
BOUND_S = 29.0  # of a call, at most: less than the deadline of the campaign's clients
SHARED = ("keys.json", "token.key")
FOR_EVER_MS = 2**31 - 1
# Of the primary's disk, which from some moment on cannot be synchronised (for good, or once, which is as bad), has no
# more room, or hangs: it is replaced. And one that takes so long for each synchronisation, which is not.
DISK_FAULTS = {
    "failing": Fault("failing", SYNC, errno.EIO),
    "full": Fault("full", GROW, errno.ENOSPC),
    "hanging": Fault("hanging", WRITE | SYNC, 0, delay_ms=FOR_EVER_MS),
}
SLOW = Fault("slow", SYNC, 0, delay_ms=200)
# Faults, by turns, of the primary, its machine, its disk and of the network: of nodes, of standbys and of etcd.
KINDS = (
    *("server", "failing", "network", "server", "full", "standbys", "isolated"),
    *("server", "slow", "network", "hanging", "server", "replication", "machine"),
)


@dataclass(slots=True)
class Report:
    """The counts and times of a campaign."""

    kinds: Counter[str] = field(default_factory=Counter)
    pauses_s: dict[str, list[float]] = field(default_factory=dict)
    registered: int = 0
    pushed: int = 0
    unanswered: int = 0
    longest_s: float = 0.0

    def __str__(self) -> str:
        lines = [f"{sum(self.kinds.values())} rounds: {self.registered} registrations and {self.pushed} pushes were"]
        lines[0] += " acknowledged, 0 are lost, 0 were invented"
        for kind, times in sorted(self.pauses_s.items()):
            told = f"{min(times):.1f} to {max(times):.1f} s, median {statistics.median(times):.1f} s"
            lines.append(f"  {kind}, {self.kinds[kind]} times: acknowledged nothing for {told}")
        lines.append(f"  {self.unanswered} calls ended unknown, the longest after {self.longest_s:.1f} s")
        return "\n".join(lines)


class Failovers:
    """Rounds over one cluster, each judged before the next begins."""

    def __init__(self, cluster: Cluster, directory: Path, seed: int, kinds: Sequence[str] = KINDS) -> None:
        """`kinds` of what happens come by turns."""
        self._kinds = kinds
        self._cluster, self._directory, self._chance = cluster, directory, random.Random(seed)
        self._ledger = Ledger(directory / "ledger.jsonl")
        self._members = [Wire(one.port) for one in cluster.members]
        self._fronts = [Wire(cluster.primary_port), Wire(cluster.pgbouncer_port)]
        self.wires = [*self._members, *self._fronts]
        hosts = ",".join(f"{LOOPBACK}:{one.port}" for one in self._members)
        by_hosts = cluster.url_at(0).replace(f"{LOOPBACK}:0", hosts)
        self._urls = [by_hosts, *(cluster.url_at(one.port) for one in self._fronts)]
        self._pusher, self._crowds = Pusher(self._ledger), []
        self.report = Report()

    def run(self, rounds: int, told: Callable[[str], None]) -> Report:
        """Let so many things happen; Violation says what was broken."""
        with ExitStack() as stack:
            stack.callback(self._ledger.close)
            for wire in self.wires:
                stack.callback(wire.close)
            addresses = self._start_nodes(stack)
            self._pusher.check(addresses[0])
            for number in range(rounds):
                self._round(number, addresses)
                told(f"round {number + 1}: {self.report}")
            for crowd in self._crowds:
                crowd.check(addresses[0])
            self._verify()
        return self.report

    def _env(self, url: str) -> dict[str, str]:
        return {**ENVIRONMENT, "NUMCHECK_DATABASE_URL": url, "NUMCHECK_CODE_DELIVERY": "console"}

    def _start_nodes(self, stack: ExitStack) -> list[str]:
        """Start a node for each way to the database; the first one's keys are all nodes' keys."""
        addresses: list[str] = []
        import_plan(self._directory, self._directory / "node0", self._env(self._cluster.url))
        for place, url in enumerate(self._urls):
            data_dir = self._directory / f"node{place}"
            data_dir.mkdir(exist_ok=True)
            if place:
                for name in SHARED:
                    shutil.copy(self._directory / "node0" / name, data_dir / name)
            addresses.append(stack.enter_context(serving(data_dir, env=self._env(url))).address)
        return addresses

    def _round(self, number: int, addresses: list[str]) -> None:
        kind = self._kinds[number % len(self._kinds)]
        crowds = [Crowd(address, f"round{number}-{place}", self._ledger, 2) for place, address in enumerate(addresses)]
        self._ledger.note(round=number, kind=kind)
        self._pusher.start(addresses[number % len(addresses)])
        for crowd in crowds:
            crowd.start()
        try:
            work = self._chance.randrange(WORK_MIN, WORK_MAX) // len(crowds)
            for crowd in crowds:
                self._wait(crowd, work, 0.0)
            began_s = {
                "server": self._kill_server,
                "machine": self._kill_machine,
                "standbys": lambda: self._cut_standbys(crowds, addresses),
                "network": self._break_network,
                "isolated": self._isolate,
                "replication": self._disturb_replication,
                "slow": self._slow_disk_down,
                **{name: partial(self._break_disk, fault) for name, fault in DISK_FAULTS.items()},
            }[kind]()
            over_s = time.monotonic()
            for crowd in crowds:
                self._wait(crowd, AFTERWARDS // len(crowds), over_s)
            pause_s = max(crowd.pause_s(began_s) for crowd in crowds)
        finally:
            self._cluster.heal()
            for one in (*crowds, self._pusher):
                one.stop()
        self._judge(crowds, addresses)
        self.report.kinds[kind] += 1
        self.report.pauses_s.setdefault(kind, []).append(pause_s)
        for one in self._cluster.members:
            if not one.runs:
                self._cluster.start_member(one)
        self._cluster.wait_until_whole()

    def _wait(self, crowd: Crowd, count: int, after_s: float) -> None:
        """Wait for the answers to registrations that were begun after a moment."""
        if crowd.wait_for(count, begun_after_s=after_s, patience_s=parts.PATIENCE_S) is None:
            raise crowd.failures[0] if crowd.failures else Violation("nothing is acknowledged any more")

    def _judge(self, crowds: list[Crowd], addresses: list[str]) -> None:
        for crowd, address in zip(crowds, reversed(addresses), strict=True):  # by another node than it asked
            crowd.check(address)
            self.report.registered += len(crowd.acknowledged)
            self.report.unanswered += crowd.unknown_count
            self.report.longest_s = max(self.report.longest_s, crowd.longest_s)
        if self.report.longest_s > BOUND_S:
            raise Violation(f"a call waited for {self.report.longest_s:.0f} s")
        for address in addresses:
            self._pusher.check(address)
        self.report.pushed = self._pusher.count
        self._crowds += crowds

    # --- what happens; each returns from when on pauses count

    def _kill_server(self) -> float:
        began_s = time.monotonic()
        self._cluster.kill_server(self._cluster.primary())
        return began_s

    def _kill_machine(self) -> float:
        began_s = time.monotonic()
        self._cluster.kill(self._cluster.primary())
        return began_s

    def _break_disk(self, fault: Fault) -> float:
        """Of the primary, until the round is over; another one takes over."""
        failed = self._cluster.primary()
        began_s = self._arm(failed, fault, for_good=fault.name != "failing" or self._chance.random() < HALF)
        self._wait_for_another(failed)
        return began_s

    def _isolate(self) -> float:
        """Cut the primary off from etcd and the standbys, until the round is over: nodes alone reach it."""
        cut_off, began_s = self._cluster.primary(), time.monotonic()
        self._cluster.isolate(cut_off)
        self._wait_for_another(cut_off)
        return began_s

    def _wait_for_another(self, before: Member) -> None:
        parts.wait_until("a standby takes over", lambda: self._cluster.try_primary() not in {None, before})

    def _disturb_replication(self) -> float:
        """Slow down what standbys are sent and say, or mix it up: registrations go on."""
        began_s = time.monotonic()
        wire = self._cluster.primary().wire
        self._chance.choice([lambda: wire.slow_down(0.2), lambda: wire.mix_up(0.3, self._chance)])()
        time.sleep(CUT_S / 3)
        return began_s

    def _slow_disk_down(self) -> float:
        """Of the primary, which goes on."""
        slow = self._cluster.primary()
        began_s = self._arm(slow, SLOW)
        time.sleep(CUT_S / 3)
        if self._cluster.try_primary() is not slow:
            raise Violation("a primary was replaced for a disk that is merely slow")
        return began_s

    def _arm(self, one: Member, fault: Fault, *, for_good: bool = True) -> float:
        began_s = time.monotonic()
        one.switch.arm(fault, at=1, for_good=for_good)
        parts.wait_until(f"a disk that is {fault.name}", lambda: one.switch.struck > 0)
        return began_s

    def _cut_standbys(self, crowds: list[Crowd], addresses: list[str]) -> float:
        """Nothing is acknowledged meanwhile, and checks are answered."""
        self._cluster.cut_standbys_off()
        cut_s = time.monotonic()
        while time.monotonic() < cut_s + CUT_S:
            for address in addresses:
                with grpc.insecure_channel(address) as channel:
                    checks = check_pb2_grpc.CheckServiceStub(channel)
                    checks.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[79_160_000_000]), timeout=BOUND_S)
            time.sleep(0.2)
        early = [one for crowd in crowds for one in crowd.acknowledged if one.began_s > cut_s]
        if early:
            raise Violation(f"{len(early)} registrations were acknowledged that no standby has")
        began_s = time.monotonic()
        self._cluster.heal()
        return began_s

    def _break_network(self) -> float:
        """Between the nodes and the database: cut, slowed down, out of order, or broken."""
        faults: list[Callable[[Wire], None]] = [
            Wire.cut,
            lambda wire: wire.cut(there=False),
            lambda wire: wire.slow_down(0.2),
            lambda wire: wire.mix_up(0.3, self._chance),
            Wire.reset,
        ]
        fault = self._chance.choice(faults)
        for wire in self.wires:
            fault(wire)
        time.sleep(CUT_S / 3)
        began_s = time.monotonic()
        for wire in self.wires:
            wire.heal()
        return began_s

    def _verify(self) -> None:
        """Have the whole chain of events verified."""
        env = self._env(self._cluster.url)
        told = run_command("events", "verify", "--data-dir", self._directory / "node0", env=env)
        if told.status:
            raise Violation(f"the chain of events does not hold: {told.err}")


def main() -> None:
    """Run as many rounds as asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.failovers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=sorted(set(KINDS)), help="of every round, instead of all by turns")
    asked, began_s = parser.parse_args(), time.monotonic()
    if lacking := parts.lacking():
        sys.exit(f"there can be no cluster here: {lacking}")
    with tempfile.TemporaryDirectory(prefix="numcheck-failovers-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        (directory / "servers").mkdir()
        with Cluster(directory / "servers") as cluster:
            campaign = Failovers(cluster, directory, asked.seed, (asked.kind,) if asked.kind else KINDS)
            try:
                report = campaign.run(asked.rounds, lambda text: print(text, flush=True))
            except (Violation, TimeoutError) as violation:
                sys.exit(f"seed {asked.seed}: {violation}; so far {campaign.report}")
    print(f"{report}\n  in {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
