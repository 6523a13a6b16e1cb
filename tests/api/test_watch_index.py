"""WatchIndex, in the tests' own process: versions are published faster than any node builds them."""

from types import SimpleNamespace
from typing import Any

import grpc

from numcheck.config import Settings
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import PublishedIndex
from numcheck.serving.services import numbering_service
from numcheck.store import Store
from numcheck.v1 import numbering_pb2, numbering_pb2_grpc
from tests.api.calls import DEADLINE_S

FIRST, LAST = 5, 900


def version(number: int) -> Any:
    """All of an index that a watch looks at."""
    return SimpleNamespace(index_version=number)


def test_every_published_version_is_told_once_and_in_order(tmp_path):
    """The first at once; then each, however soon the next is published; one that is published again is no news."""
    published, watches = PublishedIndex(), Watches()
    settings = Settings(data_dir=tmp_path, listen="127.0.0.1:0")
    with Store(tmp_path) as store:
        service = numbering_service(store, published, settings, watches, changed=())
        listener = PlainDoor(settings, [service], watches)
        published.publish(version(FIRST))
        try:
            with grpc.insecure_channel(listener.address) as channel:
                stub = numbering_pb2_grpc.NumberingServiceStub(channel)
                told = stub.WatchIndex(numbering_pb2.WatchIndexRequest(), timeout=DEADLINE_S)
                seen = [next(told).index_version]
                for number in range(FIRST, LAST + 1):
                    published.publish(version(number))
                while seen[-1] < LAST:
                    seen.append(next(told).index_version)
                told.cancel()
        finally:
            listener.stop(0)
    assert seen == list(range(FIRST, LAST + 1))
