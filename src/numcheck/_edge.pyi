from collections.abc import Callable, Hashable, Mapping, Sequence
from os import PathLike
from queue import SimpleQueue
from typing import Any, NamedTuple

from typing_extensions import Buffer

from numcheck._budget import Allowance
from numcheck._e164 import Reader
from numcheck._fast import Table

NATIVE_PATHS: tuple[str, ...]
KINDS: dict[str, int]
LANES: tuple[str, ...]
BOUNDS_S: tuple[float, ...]

class Counters(NamedTuple):
    """The counts of a loop."""

    calls: dict[tuple[str, int], int]
    bounds_s: tuple[float, ...]
    durations: dict[tuple[str, str], tuple[list[int], float]]
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

class CallQueue:
    def __init__(self, *, calls_max: int) -> None: ...
    @property
    def call_count(self) -> int: ...
    @property
    def waits(self) -> dict[str, tuple[list[int], float]]: ...
    def take(self) -> list[Call] | None: ...
    def take_ready(self) -> list[Call] | None: ...
    def close(self) -> None: ...

class Lines:
    def __init__(self, queue: CallQueue) -> None: ...
    def allows(self, lane: int, now: int) -> bool: ...
    def join(self, lane: int) -> int: ...
    def begin(self, lane: int, now: int, waited: int, before: int) -> None: ...

class LargeLines: ...

class Call:
    wake: Callable[[], object] | None
    @property
    def request(self) -> bytes: ...
    @property
    def requests(self) -> SimpleQueue[Any]: ...
    @property
    def path(self) -> str: ...
    @property
    def caller(self) -> Any: ...
    @property
    def trace_parent(self) -> str: ...
    @property
    def waited_s(self) -> float: ...
    @property
    def line(self) -> int: ...
    def begin(self) -> None: ...
    def is_active(self) -> bool: ...
    def time_remaining(self) -> float | None: ...
    def taken(self, request: bytes) -> None: ...
    def answer(self, response: bytes, *, last: bool) -> None: ...
    def has_room(self) -> bool: ...
    def end(self, code: int = 0, message: bytes = b"", details: bytes = b"") -> None: ...
    def send(self) -> None: ...

_Status = tuple[int, bytes, bytes]

class EdgeLoop:
    def __init__(
        self,
        queue: CallQueue,
        methods: Sequence[tuple[str, str, str]],
        admit: Callable[
            [bytes | None, int, bytes, int],
            tuple[Hashable, str, str, Hashable, Hashable, Allowance | None, _Status | None],
        ],
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
        waiting_max_s: float,
        unknown: _Status,
        crowded: _Status,
        full: _Status,
        large_message: _Status,
        large_metadata: _Status,
        health_requests: Sequence[bytes],
        reader: Reader,
        traces_per_second_max: int = 0,
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
