"""The numbering plan for the page: the map of all codes as columns of bytes, and one code's ranges.

The map's answer: the size of its head (4 bytes, little-endian), the head (JSON, filled up with spaces to whole 4
bytes), and two columns of 16-bit integers, little-endian, with a value for each block of 10,000 numbers of the chunks
in order: the class of most of its numbers, and how many of them are active.
"""

import gzip
import struct
import threading
from datetime import datetime
from typing import Any

import orjson

from numcheck._bits import CHUNK_NUMBERS
from numcheck.active import Operator
from numcheck.index import Index, PublishedIndex
from numcheck.index.classes import FIRST_CLASS, number_classes
from numcheck.index.overview import allotted_counts, overview_of, ranges_between

HEAD_SIZE = struct.Struct("<I")
ALIGNMENT = 4


class Map:
    """The map's answer, made once for each index that is asked for, and kept until a newer one is."""

    def __init__(self, published: PublishedIndex) -> None:
        self._published, self._turn = published, threading.Lock()
        self._index: Index | None = None
        self._packed = b""

    def get(self) -> tuple[str, bytes]:
        """Return a tag of the newest index and its map, compressed by gzip; IndexNotReady if there is no index."""
        index = self._published.get()
        with self._turn:
            if index is not self._index:
                self._packed, self._index = gzip.compress(map_of(index), compresslevel=1, mtime=0), index
            return tag_of(index), self._packed


def tag_of(index: Index) -> str:
    """Return what tells an index, and which data is too old, from others."""
    return f"{index.mark.hex()}-{index.index_version}-{_seconds(index.fresh_since) or 0:.0f}"


def map_of(index: Index) -> bytes:
    """Return the map of an index."""
    overview = overview_of(index)
    allotted = allotted_counts(index)
    head = orjson.dumps(
        {
            "index_version": index.index_version,
            "synthetic": index.synthetic,
            "chunks": overview.chunks,
            "chunk_numbers": CHUNK_NUMBERS,
            "first_class": FIRST_CLASS,
            "classes": [[*one] for one in number_classes(index.files.manifest["classes"])],
            "operators": [
                operator_facts(index, one) | {"allotted": allotted[one.operator_id]} for one in index.operators.values()
            ],
        }
    )
    head += b" " * (-len(head) % ALIGNMENT)
    return HEAD_SIZE.pack(len(head)) + head + overview.classes + overview.active_counts


def operator_facts(index: Index, operator: Operator) -> dict[str, Any]:
    """Return what the page shows of an operator. Moments are seconds since 1970."""
    fresh_since, data_time = index.fresh_since, operator.data_time
    return {
        "id": operator.operator_id,
        "name": operator.display_name,
        "tax_id": operator.tax_id or "",
        "data_version": operator.data_version,
        "data_time": _seconds(data_time),
        "supplied_since": _seconds(operator.supplied_since),
        "synthetic": operator.synthetic,
        "fresh": data_time is not None and (fresh_since is None or data_time >= fresh_since),
    }


def code_facts(index: Index, chunk: int) -> dict[str, Any]:
    """Return the ranges of a chunk: of a code of the plan."""
    first = chunk * CHUNK_NUMBERS
    return {
        "index_version": index.index_version,
        "ranges": [one._asdict() for one in ranges_between(index, first, first + CHUNK_NUMBERS - 1)],
    }


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
