"""The campaign of R1: a node is killed at random moments, or loses its power, and what is left is held to the ledger.

`python -m tests.faults --help` runs it; a workload brings its own clients and its own judge.
"""

import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.faults.ledger import Ledger, Violation
from tests.faults.nodes import Life, Machine, build_recorder
from tests.faults.pushes import PLAN, PushWorkload
from tests.serving.command import ROOT, environment

LIFE_S_MAX = 0.3  # of a node that is ready, until it is killed
KILLED_EARLY_SHARE = 0.1  # of the nodes are killed before they are ready
EARLY_S_MAX = 0.4
POWER_LOSS_SHARE = 0.5


class Workload(Protocol):
    """What clients do to a node, and who judges what is left of it."""

    counts: dict[str, int]

    def runners(self) -> list[Callable[[Life, random.Random], None]]:
        """What runs beside each other while a node lives: each returns once the node has ended."""

    def check(self, life: Life) -> None:
        """Compare a node that has just started with what is known; raise Violation."""


@dataclass(slots=True)
class Report:
    """What a campaign saw."""

    seed: int
    kills: int = 0
    power_losses: int = 0
    early: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        events = ", ".join(f"{count} {event}" for event, count in sorted(self.counts.items()))
        return (
            f"seed {self.seed}: {self.kills} kills, {self.power_losses} of them power losses, {self.early} before "
            f"the node was ready; {events}; no violation"
        )


class Campaign:
    """Kills nodes over one data directory."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        plant: str = "",
        power_loss_share: float = POWER_LOSS_SHARE,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """All is kept in `directory`, which has to be empty; `env` is the nodes', such as another store's address."""
        recorder = build_recorder(directory) if power_loss_share else None
        self.power_loss_share = power_loss_share if recorder else 0.0
        self.machine = Machine(directory, recorder, plant=plant, env=env)
        self._import_plan(env or {})
        self._ledger = Ledger(directory / "ledger.jsonl")
        self.workload: Workload = PushWorkload(self._ledger)
        self._chance = random.Random(seed)
        self.report = Report(seed, counts=self.workload.counts)

    def _import_plan(self, env: Mapping[str, str]) -> None:
        self.machine.data_dir.mkdir(parents=True)
        plan = self.machine.data_dir.parent / "plan.csv"
        plan.write_text(PLAN, encoding="utf-8")
        command = [sys.executable, "-m", "numcheck", "plan", "import", str(plan)]
        subprocess.run(
            [*command, "--data-dir", str(self.machine.data_dir)],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env=environment(env),
        )

    def run(self, kills: int, told: Callable[[Report], None] = lambda _report: None) -> Report:
        """Kill so many nodes, and judge each that follows; Violation says what was broken, after how many kills."""
        try:
            for _ in range(kills):
                self._live(last=False)
                told(self.report)
            self._live(last=True)
        except Violation as violation:
            raise Violation(f"seed {self.report.seed}, after {self.report.kills} kills: {violation}") from None
        finally:
            self.close()
        return self.report

    def close(self) -> None:
        """End the node that is kept ready, and close the ledger."""
        self.machine.close()
        self._ledger.close()

    def _live(self, *, last: bool) -> None:
        life = self.machine.start()
        self._ledger.note(start=self.report.kills)
        try:
            if not last and self._chance.random() < KILLED_EARLY_SHARE:
                life.ending.wait(self._chance.uniform(0, EARLY_S_MAX))
                self.report.early += 1
            else:
                life.connect()
                self.workload.check(life)
                if not last:
                    self._run_clients(life)
        except BaseException:
            life.kill()  # and its data directory stays as it is, to be looked at
            raise
        if last:
            life.kill()
        else:
            self._end(life)

    def _run_clients(self, life: Life) -> None:
        failures: list[BaseException] = []
        threads = [
            threading.Thread(target=self._run_client, args=(one, life, random.Random(self._chance.random()), failures))
            for one in self.workload.runners()
        ]
        for thread in threads:
            thread.start()
        life.failed.wait(self._chance.uniform(0, LIFE_S_MAX))
        life.ending.set()
        life.process.kill()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    @staticmethod
    def _run_client(
        run: Callable[[Life, random.Random], None], life: Life, chance: random.Random, failures: list[BaseException]
    ) -> None:
        try:
            run(life, chance)
        except BaseException as failure:
            failures.append(failure)
            life.failed.set()

    def _end(self, life: Life) -> None:
        life.ending.set()
        before = self.machine.data_dir
        if self._chance.random() < self.power_loss_share:
            self.machine.lose_power(life, self._chance)
            self.report.power_losses += 1
            self._ledger.note(power_loss=self.report.kills)
        else:
            self.machine.kill(life)
            self._ledger.note(kill=self.report.kills)
        self.report.kills += 1
        if self.machine.data_dir != before:
            shutil.rmtree(before.parent)
