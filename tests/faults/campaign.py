"""The campaign of R1: a node is killed at random moments, or loses its power or its database, and what is left of it
is held to the ledger.

`python -m tests.faults --help` runs it; a workload brings its own clients and its own judge.
"""

import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.faults.disk import ORDERLY_LOSSES, Keep, power_loss
from tests.faults.ledger import Ledger, Violation
from tests.faults.nodes import PATIENCE_S, Life, Machine, build_recorder
from tests.faults.plants import PLANTS, RIGHT
from tests.faults.pushes import PLAN, PushWorkload
from tests.faults.registrations import RegistrationWorkload
from tests.serving.command import ROOT, environment
from tests.store.engines import Server

# A node that is ready is killed after so many intents of its clients, and a moment: work, not time, so that a busy
# machine kills no fewer of them amid it.
LIFE_INTENTS_MAX = 60
MOMENT_S_MAX = 0.02
LIFE_S_MAX = 30.0
KILLED_EARLY_SHARE = 0.1  # of the nodes are killed before they are ready
EARLY_S_MAX = 0.4
POWER_LOSS_SHARE = 0.5
DATABASE_STOP_SHARE = 0.3
KILLS_UNTIL_FACTOR = 10  # of the kills that were asked for: chance may take so many to bring about every event


class Moments(Protocol):
    """When nodes are killed, and what goes with them."""

    def early_s(self) -> float | None:
        """How long after its launch to kill a node that need not be ready; None: let it work."""

    def begin(self, life: Life) -> None:
        """Called before clients turn to a node."""

    def wait(self, life: Life) -> None:
        """Return when it is to be killed."""

    def stops_database(self) -> bool:
        """Whether the database is stopped too."""

    def loses(self) -> Keep | None:
        """What a power loss keeps; None: there is none."""


class AtRandom:
    """Kills amid anything, as far as chance takes it: most of what may happen at a kill is met, not everything."""

    def __init__(self, ledger: Ledger, chance: random.Random, power_loss_share: float) -> None:
        self._ledger, self._chance, self._power_loss_share = ledger, chance, power_loss_share

    def early_s(self) -> float | None:
        return self._chance.uniform(0, EARLY_S_MAX) if self._chance.random() < KILLED_EARLY_SHARE else None

    def begin(self, life: Life) -> None:
        pass

    def wait(self, life: Life) -> None:
        self._ledger.wait_for_intents(self._chance.randrange(LIFE_INTENTS_MAX), life.failed, LIFE_S_MAX)
        life.failed.wait(self._chance.uniform(0, MOMENT_S_MAX))

    def stops_database(self) -> bool:
        return self._chance.random() < DATABASE_STOP_SHARE

    def loses(self) -> Keep | None:
        return power_loss(self._chance) if self._chance.random() < self._power_loss_share else None


class AtFaultPoints:
    """Kills where a planted bug has done its harm: each node at one moment later than the one before it."""

    def __init__(self, ledger: Ledger, plant: str, *, power: bool) -> None:
        self._ledger, self._plant, self._power = ledger, PLANTS.get(plant, RIGHT), power
        self._lives, self._done_before = 0, 0

    def early_s(self) -> float | None:
        return None

    def begin(self, life: Life) -> None:
        self._lives += 1
        life.arm(self._lives)
        self._done_before = self._ledger.done_count

    def wait(self, life: Life) -> None:
        if self._plant.stops:
            life.wait_until_reached()
        if self._plant.answered:
            self._ledger.wait_for_done(self._done_before + self._lives, life.failed, PATIENCE_S)

    def stops_database(self) -> bool:
        return True

    def loses(self) -> Keep | None:
        return ORDERLY_LOSSES[self._lives % len(ORDERLY_LOSSES) - 1] if self._power else None


class Workload(Protocol):
    """What clients do to a node, and who judges what is left of it."""

    counts: dict[str, int]

    def __init__(self, ledger: Ledger) -> None:
        """All that is done and answered goes into the ledger."""

    def environment(self, directory: Path) -> Mapping[str, str]:
        """The settings that nodes need for it; what they name may lie in the directory."""

    def close(self) -> None:
        """End what it has begun."""

    def runners(self) -> list[Callable[[Life, random.Random], None]]:
        """What runs beside each other while a node lives: each returns once the node has ended."""

    def check(self, life: Life) -> None:
        """Compare a node that has just started with what is known; raise Violation."""


WORKLOADS: Sequence[type[Workload]] = (PushWorkload, RegistrationWorkload)


@dataclass(slots=True)
class Report:
    """What a campaign saw."""

    seed: int
    engine: str
    kills: int = 0
    power_losses: int = 0
    database_stops: int = 0
    early: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        events = ", ".join(f"{count} {event}" for event, count in sorted(self.counts.items()))
        kinds = f"{self.power_losses} with the power" if self.engine == "sqlite" else f"{self.database_stops} databases"
        return (
            f"{self.engine}, seed {self.seed}: {self.kills} kills, {kinds}, {self.early} before the node was ready, "
            f"{60 * self.kills / (time.monotonic() - self.began):.0f} a minute; {events}; no violation"
        )


class Campaign:
    """Kills nodes over one data directory, or over one database."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        plant: str = "",
        orderly: bool = False,
        power_loss_share: float = POWER_LOSS_SHARE,
        server: Server | None = None,
        kinds: Sequence[type[Workload]] = WORKLOADS,
    ) -> None:
        """All is kept in `directory`, which has to be empty, but for the store if there is a server of databases: that
        is stopped now and then, and the power stays. `orderly`: kill at the plant's fault points, not at random."""
        recorder = build_recorder(directory) if power_loss_share and server is None else None
        self.power_loss_share = power_loss_share if recorder else 0.0
        self._server, self._database_url = server, server.new_database() if server else ""
        self._ledger = Ledger(directory / "ledger.jsonl")
        self.workloads = [kind(self._ledger) for kind in kinds]
        env = {"NUMCHECK_DATABASE_URL": self._database_url} if server else {}
        for workload in self.workloads:
            env |= workload.environment(directory)
        self.machine = Machine(directory, recorder, plant=plant, env=env)
        self._import_plan()
        self._chance = random.Random(seed)
        self._moments: Moments = (
            AtFaultPoints(self._ledger, plant, power=recorder is not None)
            if orderly
            else AtRandom(self._ledger, self._chance, self.power_loss_share)
        )
        self.report = Report(seed, "postgresql" if server else "sqlite")

    def _import_plan(self) -> None:
        self.machine.data_dir.mkdir(parents=True)
        plan = self.machine.data_dir.parent / "plan.csv"
        plan.write_text(PLAN, encoding="utf-8")
        command = [sys.executable, "-m", "numcheck", "plan", "import", str(plan)]
        subprocess.run(
            [*command, "--data-dir", str(self.machine.data_dir)],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env=environment(self.machine.env),
        )

    def run(
        self, kills: int, told: Callable[[Report], None] = lambda _report: None, *, until: Collection[str] = ()
    ) -> Report:
        """Kill so many nodes, and more until each event of `until` was counted, and judge each that follows.

        Violation says what was broken, after how many kills.
        """
        try:
            while self.report.kills < kills or (
                not set(until) <= self.report.counts.keys() and self.report.kills < KILLS_UNTIL_FACTOR * kills
            ):
                self._live(last=False)
                self.report.counts = self.counts()
                told(self.report)
            self._live(last=True)
        except Violation as violation:
            name = f"{self.report.engine}, seed {self.report.seed}"
            raise Violation(f"{name}, after {self.report.kills} kills: {violation}") from None
        finally:
            self.close()
        return self.report

    def counts(self) -> dict[str, int]:
        """What the workloads have counted."""
        total: Counter[str] = Counter()
        for workload in self.workloads:
            total.update(workload.counts)
        return dict(total)

    def close(self) -> None:
        """End the node that is kept ready, the workloads and the ledger."""
        self.machine.close()
        for workload in self.workloads:
            workload.close()
        self._ledger.close()

    def _live(self, *, last: bool) -> None:
        life = self.machine.start()
        self._ledger.note(start=self.report.kills)
        try:
            early_s = None if last else self._moments.early_s()
            if early_s is not None:
                life.ending.wait(early_s)
                self.report.early += 1
            else:
                life.connect()
                for workload in self.workloads:
                    workload.check(life)
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
        self._moments.begin(life)
        threads = [
            threading.Thread(target=self._run_client, args=(one, life, random.Random(self._chance.random()), failures))
            for workload in self.workloads
            for one in workload.runners()
        ]
        for thread in threads:
            thread.start()
        self._moments.wait(life)
        life.ending.set()
        if self._server is not None and self._moments.stops_database():
            self._stop_database(self._server)
        life.process.kill()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _stop_database(self, server: Server) -> None:
        """Stop it as a crash of its machine's processes would, and let it recover; the node may see it come back."""
        server.crash()
        self.report.database_stops += 1
        self._ledger.note(database_stop=self.report.kills)
        server.start()

    def _run_client(
        self,
        run: Callable[[Life, random.Random], None],
        life: Life,
        chance: random.Random,
        failures: list[BaseException],
    ) -> None:
        try:
            run(life, chance)
        except BaseException as failure:
            failures.append(failure)
            self._ledger.give_up(life.failed)

    def _end(self, life: Life) -> None:
        life.ending.set()
        before = self.machine.data_dir
        keep = self._moments.loses()
        if keep is not None:
            self.machine.lose_power(life, keep)
            self.report.power_losses += 1
            self._ledger.note(power_loss=self.report.kills)
        else:
            self.machine.kill(life)
            if self._server is not None:
                self._server.wait_until_quiet(self._database_url)
            self._ledger.note(kill=self.report.kills)
        self.report.kills += 1
        if self.machine.data_dir != before:
            shutil.rmtree(before.parent)
