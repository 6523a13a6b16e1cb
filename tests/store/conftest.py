"""A store in a directory of its own, and ways past it to what is on disk."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from numcheck.store import Store
from numcheck.store.store import FILE_NAME


@pytest.fixture
def data_dir(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data_dir):
    with Store(data_dir) as store:
        yield store


@pytest.fixture
def sql(data_dir) -> Callable[..., list[tuple]]:
    """Runs a statement on the store's file behind the store's back."""

    def run(statement: str, *parameters: object) -> list[tuple]:
        connection = sqlite3.connect(data_dir / FILE_NAME)
        try:
            with connection:
                return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    return run
