from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

class Run(NamedTuple):
    """The outcome of a run: histograms have how often, by the largest duration of a bucket in nanoseconds."""

    wall_s: float
    cpu_s: float
    begun: int
    in_time: int
    never_begun: int
    statuses: dict[int, int]
    closed: int
    reset: int
    lost: int
    unanswered: int
    connects: int
    connect_failures: int
    goaways: int
    sent: int
    received: int
    answered: dict[int, int]
    refused: dict[int, int]
    begun_late: dict[int, int]

_Path = str | PathLike[str] | None

class Generator:
    def __init__(
        self,
        host: str,
        port: int,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        connections: int,
        in_flight: int,
        tls: tuple[_Path, _Path, _Path] | None = None,
    ) -> None: ...
    def connect(self, patience_s: float = 10.0) -> int: ...
    def run(
        self, bodies: list[bytes], *, seconds: float, rate: float = 0.0, once: bool = False, patience_s: float = 10.0
    ) -> Run: ...
