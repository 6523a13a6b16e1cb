import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.population import REFERENCE_COUNT, Population, population

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def directory() -> Path:
    """Return the directory that keeps populations and the compiled peer from one run to the next."""
    directory = Path(os.environ.get("NUMCHECK_BENCH_DIR", HERE.parent / "build" / "bench"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def reference(directory) -> Population:
    """The reference population, or a small one where benchmarks are only tried (NUMCHECK_BENCH_NUMBERS)."""
    return population(directory, int(os.environ.get("NUMCHECK_BENCH_NUMBERS", REFERENCE_COUNT)))


@pytest.fixture(scope="session")
def dense_probe(directory):
    """The compiled peer of bench_kernel.py, built where no setup.py is in sight."""
    shutil.copy(HERE / "_dense.pyx", directory)
    subprocess.run(
        [sys.executable, "-m", "Cython.Build.Cythonize", "-q", "-i", "_dense.pyx"], cwd=directory, check=True
    )
    spec = importlib.util.spec_from_file_location("_dense", next(directory.glob("_dense.*.so")))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.probe
