"""Values of a row as bytes that a digest is made of: other bytes for other values, whatever stands beside them.

Each value is a letter and what follows it: `N` null, `F` false, `T` true; `I` and a signed integer of 8 bytes; `B` and
bytes, `S` and text in UTF-8, both behind their size in 4 bytes. Integers are big-endian.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from numcheck.errors import StoreDamaged

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef Py_ssize_t INTEGER_SIZE = 9
cdef Py_ssize_t HEAD_SIZE = 5  # of bytes and of text
cdef Py_ssize_t SIZE_MAX = 2**31 - 1


cdef inline void put_integer(uint8_t* at, uint64_t value, int size) noexcept nogil:
    cdef int i
    for i in range(size):
        at[i] = <uint8_t>(value >> 8 * (size - 1 - i))


cdef Py_ssize_t content_of(object value, const char** content) except -1:
    """Give where a value's bytes are, and their count; StoreDamaged for a value of another type, or too large."""
    cdef Py_ssize_t size
    if type(value) is bytes:
        content[0], size = PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
    elif type(value) is str:
        content[0] = PyUnicode_AsUTF8AndSize(value, &size)
    else:
        raise StoreDamaged("a row has a value of a type that was never written")
    if size > SIZE_MAX:
        raise StoreDamaged("a row has a value that is larger than any that was written")
    return size


cdef inline bint has_content(object value) noexcept:
    return value is not None and type(value) is not int and type(value) is not bool


def packed(tuple values not None, bytes head not None=b""):
    """Return the bytes of the values behind `head`; StoreDamaged if one is of a type that no column has."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(head), length
    cdef const char* content
    cdef object value
    for value in values:
        if has_content(value):
            size += HEAD_SIZE + content_of(value, &content)
        else:
            size += INTEGER_SIZE if type(value) is int else 1
    made = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t* at = <uint8_t*>PyBytes_AS_STRING(made)
    memcpy(at, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
    at += PyBytes_GET_SIZE(head)
    for value in values:
        if has_content(value):
            length = content_of(value, &content)
            at[0] = c"B" if type(value) is bytes else c"S"
            put_integer(at + 1, <uint64_t>length, 4)
            memcpy(at + HEAD_SIZE, content, length)
            at += HEAD_SIZE + length
        elif type(value) is int:
            at[0] = c"I"
            put_integer(at + 1, <uint64_t><int64_t>value, 8)
            at += INTEGER_SIZE
        else:
            at[0] = c"N" if value is None else c"T" if value else c"F"
            at += 1
    return made
