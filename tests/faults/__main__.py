"""Runs the campaign of R1: `python -m tests.faults --kills 2000`; exit status 1 and why if a promise is broken."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.faults.campaign import Campaign, Report
from tests.faults.ledger import Violation
from tests.faults.plants import PLANTS
from tests.faults.storage import FAULTS, Fault, Storage
from tests.store.engines import Server

ENGINES = ("sqlite", "postgresql")
PROGRESS_EVERY = 100
POSTGRESQL_SHARE = 0.3  # of as many kills more: a database that recovers takes its time


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="on SQLite; on PostgreSQL it is three tenths of that")
    parser.add_argument("--engine", choices=ENGINES, help="all kills on this one alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--jobs", type=int, default=2, help="campaigns beside each other; those on SQLite share the kills"
    )
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="a bug that must be caught")
    parser.add_argument("--storage", action="store_true", help="instead: let every storage call of a node fail (R2)")
    parser.add_argument("--keep", type=Path, help="keep ledgers and data directories here; it must be empty")
    return parser.parse_args()


@contextmanager
def server_of(engine: str, directory: Path) -> Iterator[Server | None]:
    """A PostgreSQL of the campaign's own, which keeps what it has committed; None for SQLite."""
    if engine == "sqlite":
        yield None
        return
    server = Server(directory, fsync=True)
    try:
        yield server
    finally:
        server.close()


def run(directory: Path, engine: str, seed: int, kills: int, plant: str) -> Report | str:
    """One campaign; its report, or what it found."""
    directory.mkdir(parents=True)

    def tell(report: Report) -> None:
        if report.kills % PROGRESS_EVERY == 0:
            applied, registered = (report.counts.get(event, 0) for event in ("applied", "registered"))
            told = f"{report.kills} kills, {applied} pushes applied, {registered} users registered"
            print(f"{engine}, seed {seed}: {told}", flush=True)

    with server_of(engine, directory / "postgresql") as server:
        try:
            return Campaign(directory, seed, plant=plant, server=server).run(kills, tell)
        except Violation as violation:
            return str(violation)


def shares(asked: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """The campaigns: engine, seed and kills of each. The longest come first, so that jobs end together."""
    if asked.engine != "sqlite":
        yield "postgresql", asked.seed, asked.kills if asked.engine else round(POSTGRESQL_SHARE * asked.kills)
    if asked.engine != "postgresql":
        for job in range(asked.jobs):
            yield "sqlite", asked.seed + job, asked.kills // asked.jobs + (job < asked.kills % asked.jobs)


def sweep(directory: Path, fault: Fault, *, for_good: bool) -> str | None:
    """Let each storage call of the workload fail in its turn, up to the first that there is not; a violation, or None.

    What it has seen is printed.
    """
    directory.mkdir(parents=True)
    storage, place, kind = Storage(directory), 1, "for good" if for_good else "once"
    try:
        while storage.run(fault, at=place, for_good=for_good):
            place += 1
    except Violation as violation:
        return f"{fault.name}, {kind}, at call {place}: {violation}"
    finally:
        storage.close()
    if place == 1:
        return f"{fault.name}, {kind}: nothing has failed"
    print(f"{fault.name}, {kind}: each of {place - 1} calls, {storage.restarts} restarts; no violation", flush=True)
    return None


def sweep_all(root: Path, jobs: int) -> list[str]:
    """Every fault at every call, once and for good; the violations."""
    with ProcessPoolExecutor(jobs) as pool:
        running = [
            pool.submit(sweep, root / f"{number}-{for_good}", fault, for_good=for_good)  # no space: LD_PRELOAD has it
            for number, fault in enumerate(reversed(FAULTS))
            for for_good in (False, True)
        ]
        return [violation for one in running if (violation := one.result()) is not None]


def main() -> None:
    """Run as many as asked for beside each other."""
    asked, began = options(), time.monotonic()
    if asked.storage:
        with tempfile.TemporaryDirectory() as scratch:
            violations = sweep_all(asked.keep or Path(scratch), asked.jobs)
        print(*violations, f"{len(violations)} violations in {time.monotonic() - began:.0f} s", sep="\n")
        sys.exit(bool(violations))
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(asked.jobs) as pool:
        root = asked.keep or Path(scratch)
        running = [
            pool.submit(run, root / f"{engine}-{seed}", engine, seed, kills, asked.plant)
            for engine, seed, kills in shares(asked)
        ]
        results = [one.result() for one in running]
    for result in results:
        print(result)
    violations = [result for result in results if isinstance(result, str)]
    print(f"{len(violations)} violations in {time.monotonic() - began:.0f} s")
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
