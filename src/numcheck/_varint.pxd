# Varints as protobuf writes them, for every extension that writes messages.

from libc.stdint cimport uint8_t, uint64_t


cdef inline int varint_size(uint64_t value) noexcept nogil:
    cdef int size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


cdef inline uint8_t* write_varint(uint8_t* at, uint64_t value) noexcept nogil:
    """Write at most ten bytes, and return where they end."""
    while value >= 0x80:
        at[0] = <uint8_t>(value | 0x80)
        value >>= 7
        at += 1
    at[0] = <uint8_t>value
    return at + 1


cdef inline uint8_t* write_varint_field(uint8_t* at, uint8_t number, uint64_t value) noexcept nogil:
    """Write a field of a number below 16, or nothing for 0, as proto3 has it."""
    if value == 0:
        return at
    at[0] = <uint8_t>(number << 3)
    return write_varint(at + 1, value)
