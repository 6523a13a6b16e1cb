"""Active sets: the numbers that an operator has in its billing database, as Roaring bitmaps. Rules only, no I/O."""

from numcheck.active.active_set import ActiveSet, chunk_digest
from numcheck.active.operator import Operator

__all__ = ["ActiveSet", "Operator", "chunk_digest"]
