from array import array
from collections.abc import Callable

# What _e164.pxd offers to other extensions.
__pyx_capi__: dict[str, object]

class Reader:
    def __init__(
        self, form: tuple[str, str, str, int] | None, ask_region: Callable[[str], int] | None = None
    ) -> None: ...
    def read(self, text: str) -> int: ...
    def read_lines(self, lines: bytes) -> array[int]: ...
