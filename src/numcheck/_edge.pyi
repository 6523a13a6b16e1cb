from collections.abc import Callable, Hashable, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

from typing_extensions import Buffer

from numcheck._e164 import Reader
from numcheck._fast import Table

METHODS: tuple[str, ...]
BOUNDS_S: tuple[float, ...]

class Counters(NamedTuple):
    """What a loop has counted."""

    calls: dict[tuple[str, int], int]
    bounds_s: tuple[float, ...]
    durations: dict[str, tuple[list[int], float]]
    numbers: int
    connections: int
    accepted: int
    received: int
    sent: int
    held_size: int
    asked: dict[str, int]

class Credentials:
    def __init__(
        self,
        certificate_file: str | PathLike[str],
        key_file: str | PathLike[str],
        client_authority_file: str | PathLike[str] | None = None,
    ) -> None: ...

class Facts:
    def __init__(self, ranges: Buffer, regions: Sequence[str], operators: Mapping[int, bytes]) -> None: ...

class EdgeLoop:
    def __init__(
        self,
        answer: Callable[[int, bytes, Any], tuple[bytes, int, bytes, bytes]],
        admit: Callable[[bytes | None, int, bytes, int], tuple[Hashable, str, tuple[bytes, int, bytes, bytes] | None]],
        credentials: Credentials | None,
        *,
        listen_fd: int,
        message_size_max: int,
        metadata_size_max: int,
        numbers_per_call_max: int,
        streams_per_connection_max: int,
        connection_age_max_s: float,
        drain_timeout_s: float,
        admitted_for_s: float,
        connections_max: int,
        stalled_after_s: float,
        keepalive_s: float,
        strangers_for_s: float,
        stopping: tuple[bytes, int, bytes, bytes],
        reader: Reader,
    ) -> None: ...
    def run(self) -> None: ...
    def publish(self, tables: Callable[[Any], Table | None], facts: Facts | None) -> None: ...
    def set_serving(self, serving: bool) -> None: ...
    def publish_credentials(self, credentials: Credentials) -> None: ...
    def stop(self) -> None: ...
    @property
    def held_size(self) -> int: ...
    def counters(self) -> Counters: ...
    @property
    def call_count(self) -> int: ...
