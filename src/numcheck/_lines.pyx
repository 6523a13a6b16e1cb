"""Lines of a table taken apart and put together, a million at once, without an object for each line or cell.

Lines are bytes that end with a line feed each, the last one too. A delimiter is one ASCII character, and nothing else
ends a cell: who has quotes in their lines reads them with `csv`. Every function works with no GIL.
"""

from cpython.array cimport array, clone
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcpy, memset

cdef array UINT64S = array("Q")


cdef struct Lines:
    const char* at
    const char* end


cdef inline bint next_line(Lines* lines, const char** line, size_t* size) noexcept nogil:
    """Give the next line, without its end, and whether there is one."""
    cdef const char* line_end
    if lines.at >= lines.end:
        return False
    line_end = <const char*>memchr(lines.at, c"\n", lines.end - lines.at)
    line[0], size[0] = lines.at, line_end - lines.at
    lines.at = line_end + 1
    return True


cdef Lines lines_of(bytes text) except *:
    cdef Lines lines
    lines.at = PyBytes_AS_STRING(text)
    lines.end = lines.at + PyBytes_GET_SIZE(text)
    if lines.at < lines.end and (lines.end - 1)[0] != c"\n":
        raise ValueError("the last line has no end")
    return lines


cdef char delimiter_of(bytes delimiter) except 0:
    if len(delimiter) != 1 or not 0 < delimiter[0] < 128 or delimiter == b"\n":
        raise ValueError("a delimiter is one ASCII character")
    return <char>delimiter[0]


cdef inline size_t count_in(const char* text, size_t size, char wanted) noexcept nogil:
    cdef size_t i, count = 0
    for i in range(size):
        count += text[i] == wanted
    return count


def cut(bytes text not None, size_t line_count):
    """Return the lines in parts of `line_count`, the last of which may have fewer."""
    cdef Lines lines = lines_of(text)
    cdef const char* line
    cdef const char* start
    cdef size_t size, count
    if not line_count:
        raise ValueError("a part has lines")
    parts = []
    while lines.at < lines.end:
        start, count = lines.at, 0
        with nogil:
            while count < line_count and next_line(&lines, &line, &size):
                count += 1
        parts.append(PyBytes_FromStringAndSize(start, lines.at - start))
    return parts


def cells(bytes text not None, bytes delimiter not None, size_t place):
    """Return the cell at a place, from 0, of each line: as lines again, empty where there is no such cell."""
    cdef Lines lines = lines_of(text)
    cdef char mark = delimiter_of(delimiter)
    cdef bytes found = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(text))
    cdef char* begin = PyBytes_AS_STRING(found)
    cdef char* to = begin
    cdef const char* line
    cdef size_t size
    with nogil:
        while next_line(&lines, &line, &size):
            to = add_cell(to, line, size, mark, place)
    return found[:to - begin]


cdef inline char* add_cell(char* to, const char* line, size_t size, char mark, size_t place) noexcept nogil:
    """Write a cell of a line, and a line feed; return where that ends."""
    cdef const char* end = line + size
    cdef const char* cell_end
    while True:
        cell_end = <const char*>memchr(line, mark, end - line)
        if place == 0 or cell_end == NULL:
            break
        line, place = cell_end + 1, place - 1
    if place == 0:
        if cell_end == NULL:
            cell_end = end
        memcpy(to, line, cell_end - line)
        to += cell_end - line
    to[0] = c"\n"
    return to + 1


def has_width(bytes text not None, bytes delimiter not None, size_t cell_count):
    """Return whether every line has so many cells."""
    cdef Lines lines = lines_of(text)
    cdef char mark = delimiter_of(delimiter)
    cdef const char* line
    cdef size_t size
    cdef bint same = True
    with nogil:
        while same and next_line(&lines, &line, &size):
            same = count_in(line, size, mark) + 1 == cell_count
    return same


def widened(bytes text not None, bytes delimiter not None, size_t cell_count):
    """Return the lines with delimiters behind them: those that a line of fewer cells lacks, and one more."""
    cdef Lines lines = lines_of(text)
    cdef char mark = delimiter_of(delimiter)
    cdef Lines measured = lines
    cdef const char* line
    cdef size_t size, more = 0
    with nogil:
        while next_line(&measured, &line, &size):
            more += lacking(line, size, mark, cell_count)
    cdef bytes wide = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(text) + more)
    cdef char* to = PyBytes_AS_STRING(wide)
    with nogil:
        while next_line(&lines, &line, &size):
            more = lacking(line, size, mark, cell_count)
            memcpy(to, line, size)
            memset(to + size, mark, more)
            to[size + more] = c"\n"
            to += size + more + 1
    return wide


cdef inline size_t lacking(const char* line, size_t size, char mark, size_t cell_count) noexcept nogil:
    cdef size_t count = count_in(line, size, mark) + 1
    return cell_count - count + 1 if count < cell_count else 1


def joined(bytes text not None, list tails not None):
    """Return each line with its tail, bytes, behind it."""
    cdef Lines lines = lines_of(text)
    cdef const char* line
    cdef size_t size, tail_size, total = PyBytes_GET_SIZE(text)
    cdef Py_ssize_t place = 0
    cdef bytes tail
    for tail in tails:
        total += PyBytes_GET_SIZE(tail)
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, total)
    cdef char* to = PyBytes_AS_STRING(whole)
    while next_line(&lines, &line, &size):
        if place == len(tails):
            raise ValueError("fewer tails than lines")
        tail = <bytes>tails[place]
        place += 1
        tail_size = PyBytes_GET_SIZE(tail)
        memcpy(to, line, size)
        memcpy(to + size, PyBytes_AS_STRING(tail), tail_size)
        to[size + tail_size] = c"\n"
        to += size + tail_size + 1
    if place != len(tails):
        raise ValueError("more tails than lines")
    return whole


def unsigned(bytes text not None, bytes sign not None):
    """Return the lines without the sign that some begin with, and a byte for each line: 1 where it had one, else 0."""
    cdef Lines lines = lines_of(text)
    cdef Lines counted = lines
    cdef char mark = delimiter_of(sign)
    cdef const char* line
    cdef size_t size, count = 0
    with nogil:
        while next_line(&counted, &line, &size):
            count += 1
    cdef bytes signs = PyBytes_FromStringAndSize(NULL, count)
    cdef bytes rest = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(text))
    cdef char* signed = PyBytes_AS_STRING(signs)
    cdef char* begin = PyBytes_AS_STRING(rest)
    cdef char* to = begin
    with nogil:
        while next_line(&lines, &line, &size):
            signed[0] = size > 0 and line[0] == mark
            size = size + 1 - signed[0]
            memcpy(to, line + signed[0], size)
            to += size
            signed += 1
    return rest[:to - begin], signs


def divided(array numbers not None, bytes signs not None):
    """Return the numbers, an array of type Q, whose sign is 0, and those whose sign is another, as two arrays."""
    cdef const uint64_t[::1] view = numbers
    cdef size_t i, count = view.shape[0], signed_count = 0, plain_at = 0, signed_at = 0
    cdef const char* sign = PyBytes_AS_STRING(signs)
    if <size_t>PyBytes_GET_SIZE(signs) != count:
        raise ValueError("as many signs as numbers")
    for i in range(count):
        signed_count += sign[i] != 0
    cdef array plain = clone(UINT64S, count - signed_count, False)
    cdef array signed = clone(UINT64S, signed_count, False)
    cdef uint64_t* to_plain = <uint64_t*>plain.data.as_voidptr
    cdef uint64_t* to_signed = <uint64_t*>signed.data.as_voidptr
    with nogil:
        for i in range(count):
            if sign[i]:
                to_signed[signed_at] = view[i]
                signed_at += 1
            else:
                to_plain[plain_at] = view[i]
                plain_at += 1
    return plain, signed
