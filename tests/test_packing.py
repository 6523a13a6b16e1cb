"""Values are packed so that they can be read again: no two rows have the same bytes."""

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numcheck._packing import packed
from numcheck.errors import StoreDamaged

VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=300) | st.text(max_size=300)
WITHOUT_CONTENT = {b"N": None, b"F": False, b"T": True}


def unpacked(content: bytes) -> list[Any]:
    """The values again, by what the module says of its bytes."""
    values: list[Any] = []
    while content:
        letter, content = content[:1], content[1:]
        if letter == b"I":
            values.append(struct.unpack(">q", content[:8])[0])
            content = content[8:]
        elif letter in WITHOUT_CONTENT:
            values.append(WITHOUT_CONTENT[letter])
        else:
            size = int.from_bytes(content[:4], "big")
            of_value, content = content[4 : 4 + size], content[4 + size :]
            values.append(of_value.decode() if letter == b"S" else of_value)
    return values


@given(st.lists(VALUES, max_size=25), st.binary(max_size=40))
@example([-(2**63), -1, 0, 255, 256, 2**63 - 1, "", b"", "я\0", None, True, 1, False, 0], b"head")
def test_values_can_be_read_again(values, head):
    made = packed(tuple(values), head)
    assert made.startswith(head)
    again = unpacked(made[len(head) :])
    assert again == values
    assert list(map(type, again)) == list(map(type, values))


@pytest.mark.parametrize("value", [1.0, [1], bytearray(b"a"), ("a",), 1j])
def test_value_of_a_type_that_no_column_has_is_damage(value):
    with pytest.raises(StoreDamaged):
        packed((1, value))
