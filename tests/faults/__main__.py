"""Runs the campaign of R1: `python -m tests.faults --kills 2000`; exit status 1 and why if a promise is broken."""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.faults.campaign import POWER_LOSS_SHARE, Campaign, Report
from tests.faults.ledger import Violation
from tests.faults.plants import PLANTS

PROGRESS_EVERY = 100


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="campaigns beside each other; they share the kills")
    parser.add_argument(
        "--database-url",
        help="an empty database, instead of SQLite in the data directory; only the nodes are killed then",
    )
    parser.add_argument("--plant", choices=sorted(filter(None, PLANTS)), default="", help="a bug that must be caught")
    parser.add_argument("--keep", type=Path, help="keep ledgers and data directories here; it must be empty")
    return parser.parse_args()


def run(directory: Path, seed: int, kills: int, plant: str, database_url: str | None) -> Report | str:
    """One campaign; its report, or what it found."""
    directory.mkdir(parents=True)
    env = {} if database_url is None else {"NUMCHECK_DATABASE_URL": database_url}
    share = POWER_LOSS_SHARE if database_url is None else 0.0

    def tell(report: Report) -> None:
        if report.kills % PROGRESS_EVERY == 0:
            print(f"seed {seed}: {report.kills} kills, {report.counts.get('applied', 0)} pushes applied", flush=True)

    try:
        return Campaign(directory, seed, plant=plant, power_loss_share=share, env=env).run(kills, tell)
    except Violation as violation:
        return str(violation)


def main() -> None:
    """Run as many as asked for beside each other."""
    asked, began = options(), time.monotonic()
    jobs = 1 if asked.database_url else asked.jobs
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(jobs) as pool:
        root = asked.keep or Path(scratch)
        running = [
            pool.submit(run, root / str(seed), seed, asked.kills // jobs, asked.plant, asked.database_url)
            for seed in range(asked.seed, asked.seed + jobs)
        ]
        results = [one.result() for one in running]
    for result in results:
        print(result)
    print(f"{asked.kills} kills in {time.monotonic() - began:.0f} s")
    sys.exit(any(isinstance(result, str) for result in results))


if __name__ == "__main__":
    main()
