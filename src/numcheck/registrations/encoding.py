"""JSON as records, evidence and events are kept in: the same bytes for the same content."""

from typing import Any

import orjson

decoded = orjson.loads


def encoded(content: Any) -> bytes:
    """Return a list, a tuple, named or not, or a dictionary, or a dataclass as one, in UTF-8."""
    return orjson.dumps(content, default=_plain, option=orjson.OPT_SORT_KEYS)


def _plain(content: Any) -> tuple[Any, ...]:
    """Return a named tuple as one without names."""
    if not isinstance(content, tuple):
        raise TypeError("a value is of a type that is never written")
    return tuple(content)
