"""Active sets: the numbers that an operator has in its billing database, as Roaring bitmaps. Rules only, no I/O."""

from numcheck.active.active_set import ActiveSet, chunk_digest
from numcheck.active.operator import Operator
from numcheck.active.push import PushContent, PushCounts, PushHeader, served_by

__all__ = ["ActiveSet", "Operator", "PushContent", "PushCounts", "PushHeader", "chunk_digest", "served_by"]
