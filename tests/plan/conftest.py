"""The regulator's real files, whole or cut down to some codes, as they were published."""

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from numcheck.plan import NumberingPlan, bundled_source, read_registry

DATA_DIR = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def published() -> Callable[[str], bytes]:
    """The content of a published file by name."""
    return lambda name: lzma.decompress((DATA_DIR / f"{name}.xz").read_bytes())


@pytest.fixture(scope="session")
def newest() -> NumberingPlan:
    """The plan of 2026-08-19."""
    return read_registry([bundled_source()]).plan
