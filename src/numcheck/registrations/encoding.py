"""JSON as records, evidence and events are kept in: the same bytes for the same content."""

from typing import Any

import orjson

decoded = orjson.loads


def encoded(content: Any) -> bytes:
    """Return a list, a tuple or a dictionary, or a dataclass as one, in UTF-8."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
