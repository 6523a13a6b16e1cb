"""A small data directory once a session, a copy of it to change, and an installation over the copy."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registrations.world import World
from tests.serving.small import fill


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Where a store is: on each engine in its turn."""
    if request.param == "sqlite":
        return None
    new_database: str = request.getfixturevalue("server").new_database()
    return new_database


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("small") / "var")


@pytest.fixture
def data_dir(small_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_dir, tmp_path / "var")


@pytest.fixture
def world(data_dir: Path) -> Iterator[World]:
    one = World(data_dir)
    yield one
    one.close()


@pytest.fixture
def each_world(data_dir: Path, url: str | None) -> Iterator[World]:
    """An installation on each engine in its turn."""
    one = World(data_dir, url=url)
    yield one
    one.close()
