"""A listener in the tests' own process, for what only the inside shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from numcheck.config import Settings
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from numcheck.index import PublishedIndex
from numcheck.serving.services import check_service


@contextmanager
def listening(published: PublishedIndex | Any, **settings: Any) -> Iterator[tuple[PlainDoor, grpc.Channel]]:
    """A listener on a free port and a channel to it."""
    node_settings = Settings(listen="127.0.0.1:0", **settings)
    listener = PlainDoor(node_settings, [check_service(published, node_settings)], Watches())
    try:
        with grpc.insecure_channel(listener.address) as channel:
            yield listener, channel
    finally:
        listener.stop(0)
