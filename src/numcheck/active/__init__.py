"""Active sets and portings: the numbers that operators have in their billing databases and those that went to another
operator, as Roaring bitmaps. Rules only, no I/O."""

from numcheck.active.active_set import ActiveSet, chunk_digest, set_digest
from numcheck.active.members import AllottedRange, ChunkMembers, ServedNumbers
from numcheck.active.operator import Operator
from numcheck.active.portings import PortingsContent, PortingsHeader, PortingsSequence
from numcheck.active.push import Basis, PushContent, PushCounts, PushHeader, PushPolicy

__all__ = [
    "ActiveSet",
    "AllottedRange",
    "Basis",
    "ChunkMembers",
    "Operator",
    "PortingsContent",
    "PortingsHeader",
    "PortingsSequence",
    "PushContent",
    "PushCounts",
    "PushHeader",
    "PushPolicy",
    "ServedNumbers",
    "chunk_digest",
    "set_digest",
]
