"""A small data directory with the node that serves it, and copies to change."""

import shutil

import pytest

from tests.serving.command import serving
from tests.serving.small import fill


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory):
    """The small data directory. Nobody may change it."""
    return fill(tmp_path_factory.mktemp("small") / "var")


@pytest.fixture(scope="session")
def node(small_dir):
    """A node that serves it."""
    with serving(small_dir) as one:
        yield one


@pytest.fixture
def data_dir(small_dir, tmp_path):
    """A copy of it."""
    return shutil.copytree(small_dir, tmp_path / "var")
