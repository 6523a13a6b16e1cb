"""Requests as values of their fields, for methods that are called by the thousand: see `_wire`."""

from collections.abc import Callable
from typing import Any

from numcheck._wire import Layout
from numcheck.api.calls import parsed


def reader_of(message_type: Any) -> Callable[[bytes], list[Any]]:
    """Return what gives the values of a request of a type, in the order of the numbers of its fields.

    It raises MalformedMessage for what is no such message. A request that is written in an unusual way is written anew
    by protobuf before it is read.
    """
    read = Layout(message_type.DESCRIPTOR).read

    def values(request: bytes) -> list[Any]:
        found = read(request)
        return read_anew(request) if found is None else found

    def read_anew(request: bytes) -> list[Any]:
        message = parsed(message_type, request)
        message.DiscardUnknownFields()
        found = read(message.SerializeToString())
        assert found is not None, "protobuf writes nothing in an unusual way"
        return found

    return values
