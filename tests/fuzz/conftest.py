"""The tables that read the bodies."""

import pytest

from numcheck._fast import Table
from numcheck.index import build_index, open_index
from tests.fuzz.judge import WORLD


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> list[Table]:
    """One table that no request can be ahead of, and one that every request with a min_index_version is."""
    found = []
    for index_version in (2**64 - 1, 0):
        directory = tmp_path_factory.mktemp("index")
        build_index(directory, WORLD.source(index_version))
        found.append(open_index(directory).table)
    return found
