from collections.abc import Callable

from numcheck._fast import Table

METHODS: tuple[str, ...]

class EdgeLoop:
    def __init__(
        self,
        answer: Callable[[int, bytes], tuple[bytes, int, bytes, bytes]],
        *,
        listen_fd: int,
        message_size_max: int,
        metadata_size_max: int,
        numbers_per_call_max: int,
        streams_per_connection_max: int,
        connection_age_max_s: float,
        drain_timeout_s: float,
    ) -> None: ...
    def run(self) -> None: ...
    def publish(self, table: Table | None) -> None: ...
    def stop(self) -> None: ...
    @property
    def call_count(self) -> int: ...
