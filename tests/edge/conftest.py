"""Both doors over one small index."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from peer import Doors

from numcheck.config import Settings
from numcheck.door.native_door import LACKING, NativeDoor
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import Index, PublishedIndex, open_index
from numcheck.offline.demo import fill_demo
from numcheck.serving.publishing import index_directory
from numcheck.serving.services import check_service


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    if LACKING is not None:
        pytest.skip(LACKING)
    data_dir: Path = tmp_path_factory.mktemp("edge") / "var"
    fill_demo(data_dir, number_count=200_000, seed=1, now=datetime.now(UTC), progress=lambda _step, _share: None)
    return open_index(index_directory(data_dir))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, listen="127.0.0.1:0", threads=2, drain_timeout_s=2)


@pytest.fixture
def doors(index: Index, settings: Settings) -> Iterator[Doors]:
    published = PublishedIndex()
    api, native = (
        PlainDoor(settings, [check_service(published, settings)], Watches()),
        NativeDoor(settings, published),
    )
    published.publish(index)
    for listener in (api, native):
        listener.set_serving(serving=True)
    yield Doors(api, native, published, index)
    for listener in (api, native):
        listener.stop(settings.drain_timeout_s)
