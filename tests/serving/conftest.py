"""The small data directory, once a session, and copies of it to change."""

import shutil

import pytest

from tests.serving.small import fill


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory):
    """The small data directory. Nobody may change it."""
    return fill(tmp_path_factory.mktemp("small") / "var")


@pytest.fixture
def data_dir(small_dir, tmp_path):
    """A copy of it."""
    return shutil.copytree(small_dir, tmp_path / "var")
