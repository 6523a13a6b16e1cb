"""A store on each engine, and ways past it to what is on disk."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from numcheck.store.store import FILE_NAME
from tests.store import engines
from tests.store.engines import open_store


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request) -> str:
    """Each engine in its turn; a module about one of them says so by its pytestmark."""
    return request.param


@pytest.fixture
def data_dir(engine, tmp_path, request) -> Iterator[Path]:
    url = request.getfixturevalue("server").new_database() if engine == "postgresql" else None
    with engines.on(url, tmp_path / "data") as directory:
        yield directory


@pytest.fixture
def store(data_dir):
    with open_store(data_dir) as store:
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
