"""The small data directory that nodes of these tests serve."""

import shutil
from pathlib import Path

import pytest

from tests.serving import small


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.fill(tmp_path_factory.mktemp("small"))


@pytest.fixture
def data_dir(small_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_dir, tmp_path / "var")
