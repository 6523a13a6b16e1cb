"""A node over a plan of two operators, to push to."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.numbering.node import Node, import_plan, start


@pytest.fixture(scope="session")
def planned_dir(tmp_path_factory) -> Path:
    """A data directory with the plan. Nobody may change it."""
    directory = tmp_path_factory.mktemp("planned")
    import_plan(directory / "var", directory / "plan.csv")
    return directory / "var"


@pytest.fixture
def data_dir(planned_dir: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(planned_dir, tmp_path / "var")


@pytest.fixture
def node(data_dir: Path) -> Iterator[Node]:
    node = start(data_dir)
    yield node
    node.kill()
