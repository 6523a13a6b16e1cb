from array import array
from collections.abc import Sequence

from typing_extensions import Buffer

from numcheck._fast import Table

NARROW_CODES_MAX: int
WIDE_CODES_MAX: int
WIDE_CODE_SIZE: int
NEVER: int

class ChunkWriter:
    def add(self, places: Buffer, code: int) -> None: ...
    def overlay(self, layer: Layer, chunk: int, translation: Buffer) -> None: ...
    def lay_out(self, code_size: int) -> tuple[bytes, int]: ...

def foot_of(moments: Sequence[int], blocks: Sequence[tuple[int, int]], code_size: int, number_count: int) -> bytes: ...

class Layer:
    number_count: int
    def __init__(self, payload: Buffer) -> None: ...
    @property
    def moments(self) -> list[int]: ...
    @property
    def chunks(self) -> list[int]: ...
    def moment(self, number: int) -> int | None: ...

class Record:
    since: int
    def __init__(self, *, layers: Sequence[Layer], ranges: Buffer, of_range: Buffer, since: int) -> None: ...
    def check(
        self, request: bytes, table: Table, of_class: Buffer, hidden: Buffer, *, numbers_per_call_max: int
    ) -> bytes: ...
