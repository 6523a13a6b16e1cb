"""Every benchmark runs small, so that none rots between two measurements."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_benchmark_runs_on_a_small_population(tmp_path):
    """Each benchmark prepares its peers, finds their answers alike, and makes one round."""
    environment = {
        **os.environ,
        "NUMCHECK_BENCH_NUMBERS": "300000",
        "NUMCHECK_BENCH_DIR": str(tmp_path),
        "NUMCHECK_BENCH_BATCHES": "2",
        "NUMCHECK_BENCH_ROUNDS": "3",
        "NUMCHECK_BENCH_STARTS": "1",
        "NUMCHECK_BENCH_REGISTRATIONS": "256",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--benchmark-disable"]
    run = subprocess.run(
        [*command, "benchmarks"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-5000:]
