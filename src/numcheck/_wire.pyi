from typing import Any

from google.protobuf.descriptor import Descriptor

NO_MOMENT: int

class Layout:
    def __init__(self, descriptor: Descriptor) -> None: ...
    def read(self, message: bytes) -> list[Any] | None: ...
    def write(self, values: tuple[Any, ...]) -> bytes: ...
