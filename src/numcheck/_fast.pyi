from collections.abc import Sequence

from typing_extensions import Buffer

# What _fast.pxd offers to other extensions.
__pyx_capi__: dict[str, object]

class Table:
    index_version: int
    def __init__(
        self,
        *,
        directory: Buffer,
        classes: Buffer,
        extents: Sequence[Buffer],
        spans: Sequence[tuple[int, int, int]],
        spaces: Sequence[tuple[int, int, int]],
        index_version: int,
        lost: Sequence[tuple[int, int]] = (),
    ) -> None: ...
    def with_classes(self, classes: Buffer) -> Table: ...
    def check(self, number: int) -> tuple[int, int]: ...
    def check_numbers(self, request: bytes, *, numbers_per_call_max: int, echo_request_id: bool = False) -> bytes: ...
