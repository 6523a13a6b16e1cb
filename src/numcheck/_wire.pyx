"""Protobuf messages as plain values: read and written by their type's descriptor, without an object for each message.

Invariants: a layout reads what the official protobuf runtime reads, or nothing where a message is written in an unusual
way; the runtime reads what a layout writes as the values that it was given. Tests hold it to the runtime.

A message is a sequence of its fields' values, in the order of the fields' numbers, which have no gap. A value is text,
bytes, an integer (of an enum as well), a dictionary of texts, a message, or a list of these where the field is
repeated. A Timestamp is an integer: microseconds since 1970. A message or Timestamp that is not there is None. Of a
repeated message the bytes are read, so that as many as there may be take little memory; each has a layout of its own.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.ref cimport PyObject
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MIN, UINT32_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from numcheck._varint cimport varint_size, write_varint

from google.protobuf.descriptor import FieldDescriptor

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    object PyUnicode_DecodeUTF8(const char* content, Py_ssize_t size, const char* errors)

cdef enum Kind:  # in the order of their wire types
    TRUTH
    UNSIGNED
    UNSIGNED_32
    SIGNED
    SIGNED_32  # of an enum as well
    FIXED_64
    TEXT
    CONTENT
    ENTRIES    # a map from texts to texts
    MESSAGE
    MOMENT     # a Timestamp

cdef enum:
    VARINT = 0    # wire types
    EIGHT_BYTES = 1
    SIZED = 2
    FIELDS_MAX = 15  # the tags of these have one byte
    KEY = 1       # the fields of an entry
    VALUE = 2
    SECONDS = 1   # the fields of a Timestamp
    NANOS = 2
    SECOND = 1_000_000  # microseconds

cdef int64_t SECONDS_MIN = -62_135_596_800, SECONDS_MAX = 253_402_300_799  # the years 1 to 9999
cdef int64_t NANOS_MAX = 999_999_999
NO_MOMENT = INT64_MIN
"""Stands for a Timestamp that is outside of the years 1 to 9999."""

_KINDS = {
    FieldDescriptor.TYPE_BOOL: TRUTH,
    FieldDescriptor.TYPE_UINT64: UNSIGNED,
    FieldDescriptor.TYPE_UINT32: UNSIGNED_32,
    FieldDescriptor.TYPE_INT64: SIGNED,
    FieldDescriptor.TYPE_INT32: SIGNED_32,
    FieldDescriptor.TYPE_ENUM: SIGNED_32,
    FieldDescriptor.TYPE_FIXED64: FIXED_64,
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_BYTES: CONTENT,
    FieldDescriptor.TYPE_MESSAGE: MESSAGE,
}
_EMPTY = {TRUTH: False, TEXT: "", CONTENT: b"", MESSAGE: None, MOMENT: None}


cdef Kind kind_of(field) except *:
    """Return the kind of a field; ValueError if it is of none."""
    if field.type not in _KINDS or field.containing_oneof is not None:
        raise ValueError(f"the field {field.full_name} is of no kind that is read and written as a value")
    cdef Kind kind = _KINDS[field.type]
    if kind == MESSAGE and field.message_type.full_name == "google.protobuf.Timestamp":
        return MOMENT
    if kind == MESSAGE and field.message_type.GetOptions().map_entry:
        if any(one.type != FieldDescriptor.TYPE_STRING for one in field.message_type.fields):
            raise ValueError(f"the field {field.full_name} is a map of other than texts")
        return ENTRIES
    if field.is_repeated and kind < TEXT:
        raise ValueError(f"the field {field.full_name} is packed")
    return kind


cdef class Layout:
    """How the messages of a type are written, by its descriptor; ValueError if it has fields of other kinds."""

    cdef int count
    cdef Kind kinds[FIELDS_MAX + 1]  # by the fields' numbers, as the next two
    cdef bint repeated[FIELDS_MAX + 1]
    cdef list layouts   # of messages
    cdef list unset     # values of a message without content, but for:
    cdef list lists     # places of lists
    cdef list entries   # places of dictionaries

    def __init__(self, descriptor):
        fields = sorted(descriptor.fields, key=lambda field: field.number)
        self.count = len(fields)
        if self.count > FIELDS_MAX or [field.number for field in fields] != list(range(1, self.count + 1)):
            raise ValueError(f"the fields of {descriptor.full_name} have gaps between their numbers, or are too many")
        for field in fields:
            self.kinds[field.number] = kind_of(field)
            self.repeated[field.number] = field.is_repeated and kind_of(field) != ENTRIES
        kinds = [kind_of(field) for field in fields]
        self.layouts = [Layout(field.message_type) if kind == MESSAGE else None
                        for field, kind in zip(fields, kinds, strict=True)]
        self.unset = [_EMPTY.get(kind, 0) for kind in kinds]
        self.lists = [place for place in range(self.count) if self.repeated[place + 1]]
        self.entries = [place for place, kind in enumerate(kinds) if kind == ENTRIES]

    def read(self, bytes message not None):
        """Return the values of a message; None if it is none, or one that is written in an unusual way.

        Unusual is what the runtime never writes: an unknown field, a number with more bytes or bits than it needs, a
        message in two parts.
        """
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(message)
        try:
            return read_message(self, at, at + PyBytes_GET_SIZE(message))
        except UnicodeDecodeError:
            return None

    def write(self, values):
        """Return the message of these values. A message within may be given as the bytes that it is."""
        made = PyBytes_FromStringAndSize(NULL, size_of(self, values))
        put_message(self, <uint8_t*>PyBytes_AS_STRING(made), values)
        return made


# --- reading

cdef list read_message(Layout layout, const uint8_t* at, const uint8_t* end):
    """Return the values of a message; None where `Layout.read` does."""
    cdef list values = layout.unset[:]
    cdef Py_ssize_t place
    cdef int number
    for place in layout.lists:
        values[place] = []
    for place in layout.entries:
        values[place] = {}
    while at < end:
        number = at[0] >> 3
        if not 0 < number <= layout.count or (at[0] & 7) != wire_type_of(layout.kinds[number]):
            return None
        at = read_field(layout, number, at + 1, end, values)
        if at == NULL:
            return None
    return values


cdef inline int wire_type_of(Kind kind) noexcept nogil:
    return VARINT if kind < FIXED_64 else EIGHT_BYTES if kind == FIXED_64 else SIZED


cdef const uint8_t* read_field(
    Layout layout, int number, const uint8_t* at, const uint8_t* end, list values
) except? NULL:
    """Read a field behind its tag into the values, and return where it ends; NULL if it is unusual."""
    cdef Kind kind = layout.kinds[number]
    cdef uint64_t read
    if kind == FIXED_64:
        if end - at < 8:
            return NULL
        memcpy(&read, at, 8)
        values[number - 1] = read
        return at + 8
    at = read_varint(at, end, &read)
    if at == NULL or kind > FIXED_64 and read > <uint64_t>(end - at):
        return NULL
    value = integer_of(kind, read) if kind < FIXED_64 else sized_value(layout, number, at, <Py_ssize_t>read)
    if value is None or not keep(layout, number, value, values):
        return NULL
    if kind > FIXED_64:
        at += read
    return at


cdef bint keep(Layout layout, int number, object value, list values) except -1:
    """Keep a field's value among the others; False for a message that has come already: the runtime merges both."""
    cdef Kind kind = layout.kinds[number]
    if kind == ENTRIES:
        (<dict>values[number - 1])[value[0]] = value[1]
    elif layout.repeated[number]:
        (<list>values[number - 1]).append(value)
    elif kind >= MESSAGE and values[number - 1] is not None:
        return False
    else:
        values[number - 1] = value
    return True


cdef object sized_value(Layout layout, int number, const uint8_t* at, Py_ssize_t size):
    """Return what so many bytes are as the value of a field; None if that is unusual."""
    cdef Kind kind = layout.kinds[number]
    if kind == TEXT:
        return PyUnicode_DecodeUTF8(<const char*>at, size, NULL)
    if kind == CONTENT or kind == MESSAGE and layout.repeated[number]:
        return PyBytes_FromStringAndSize(<const char*>at, size)
    if kind == ENTRIES:
        return read_entry(at, at + size)
    if kind == MOMENT:
        return read_moment(at, at + size)
    return read_message(<Layout>layout.layouts[number - 1], at, at + size)


cdef object integer_of(Kind kind, uint64_t read):
    """Return the integer of a varint; None if it has more bits than its kind."""
    if kind == TRUTH:
        return read == 1 if read <= 1 else None
    if kind == UNSIGNED:
        return read
    if kind == UNSIGNED_32:
        return read if read <= UINT32_MAX else None
    if kind == SIGNED_32 and not INT32_MIN <= <int64_t>read <= INT32_MAX:
        return None
    return <int64_t>read


cdef const uint8_t* read_varint(const uint8_t* at, const uint8_t* end, uint64_t* value) noexcept nogil:
    """Read a varint, and return where it ends; NULL if it does not, or not in as few bytes as it could."""
    cdef uint8_t byte = 0x80
    cdef int shift = 0
    value[0] = 0
    while byte & 0x80:
        if at == end or shift == 70:
            return NULL
        byte = at[0]
        value[0] |= <uint64_t>(byte & 0x7F) << shift
        at += 1
        shift += 7
    if byte == 0 and shift > 7 or byte > 1 and shift == 70:
        return NULL
    return at


cdef object read_entry(const uint8_t* at, const uint8_t* end):
    """Return the key and the value of an entry of a map; None if there is other than these, in this order."""
    key = read_text(&at, end, KEY)
    value = None if key is None else read_text(&at, end, VALUE)
    return None if value is None or at != end else (key, value)


cdef object read_text(const uint8_t** at, const uint8_t* end, int number):
    """Return the text that is the next field, of this number, and go behind it; None if there is another."""
    cdef const uint8_t* begin
    cdef uint64_t size
    if at[0] == end or at[0][0] != (number << 3 | SIZED):
        return None
    begin = read_varint(at[0] + 1, end, &size)
    if begin == NULL or size > <uint64_t>(end - begin):
        return None
    at[0] = begin + size
    return PyUnicode_DecodeUTF8(<const char*>begin, <Py_ssize_t>size, NULL)


cdef object read_moment(const uint8_t* at, const uint8_t* end):
    """Return a Timestamp in microseconds; NO_MOMENT if it is none, None if it is written in an unusual way."""
    cdef uint64_t seconds = 0, nanos = 0
    cdef int64_t second, nano
    if at < end and at[0] == (SECONDS << 3 | VARINT):
        at = read_varint(at + 1, end, &seconds)
    if at != NULL and at < end and at[0] == (NANOS << 3 | VARINT):
        at = read_varint(at + 1, end, &nanos)
    second, nano = <int64_t>seconds, <int64_t>nanos
    if at != end or not INT32_MIN <= nano <= INT32_MAX:
        return None
    if not SECONDS_MIN <= second <= SECONDS_MAX or not 0 <= nano <= NANOS_MAX:
        return NO_MOMENT
    return second * SECOND + nano // 1_000


# --- writing: how many bytes, then the bytes

cdef Py_ssize_t size_of(Layout layout, object values) except -1:
    """Return how many bytes a message has."""
    cdef Py_ssize_t size = 0
    cdef int number
    if not isinstance(values, tuple) or len(<tuple>values) != layout.count:
        raise TypeError("a message is given as a tuple with a value for each of its fields")
    for number in range(1, layout.count + 1):
        value = (<tuple>values)[number - 1]
        if layout.repeated[number]:
            for one in <list?>value:
                size += 1 + size_of_value(layout, number, one)
        elif layout.kinds[number] == ENTRIES:
            size += size_of_entries(value)
        elif value:
            size += 1 + size_of_value(layout, number, value)
    return size


cdef Py_ssize_t size_of_value(Layout layout, int number, object value) except -1:
    """Return how many bytes a value has behind its tag, its size among them."""
    cdef Kind kind = layout.kinds[number]
    if kind < FIXED_64:
        return varint_size(as_varint(kind, value))
    return 8 if kind == FIXED_64 else with_size(size_of_content(layout, number, value))


cdef Py_ssize_t size_of_content(Layout layout, int number, object value) except -1:
    """Return how many bytes a value has behind its size."""
    cdef Kind kind = layout.kinds[number]
    cdef Py_ssize_t size
    if kind == TEXT:
        PyUnicode_AsUTF8AndSize(value, &size)
        return size
    if kind == MOMENT:
        return size_of_moment(value)
    if type(value) is bytes:
        return PyBytes_GET_SIZE(value)
    if kind == CONTENT:
        raise TypeError("bytes are given as bytes")
    return size_of(<Layout>layout.layouts[number - 1], value)


cdef Py_ssize_t size_of_entries(dict entries) except -1:
    cdef Py_ssize_t place = 0, size = 0
    cdef PyObject *key
    cdef PyObject *value
    while PyDict_Next(entries, &place, &key, &value):
        size += 1 + with_size(size_of_entry(<object>key, <object>value))
    return size


cdef Py_ssize_t size_of_entry(object key, object value) except -1:
    cdef Py_ssize_t key_size, value_size
    PyUnicode_AsUTF8AndSize(key, &key_size)
    PyUnicode_AsUTF8AndSize(value, &value_size)
    return 2 + with_size(key_size) + with_size(value_size)


cdef Py_ssize_t size_of_moment(int64_t moment_us) noexcept:
    cdef int64_t second = floor_second(moment_us), rest_us = moment_us - second * SECOND
    return (1 + varint_size(<uint64_t>second) if second else 0) + (1 + varint_size(1_000 * rest_us) if rest_us else 0)


cdef inline int64_t floor_second(int64_t moment_us) noexcept nogil:
    return moment_us // SECOND - (moment_us < 0 and moment_us % SECOND != 0)


cdef inline Py_ssize_t with_size(Py_ssize_t size) noexcept nogil:
    return varint_size(<uint64_t>size) + size


cdef inline uint64_t as_varint(Kind kind, object value) except? 0:
    return <uint64_t><int64_t>value if kind >= SIGNED else <uint64_t>value


cdef uint8_t* put_message(Layout layout, uint8_t* at, object values) except NULL:
    """Write a message that `size_of` has checked, and return where it ends."""
    cdef int number
    for number in range(1, layout.count + 1):
        value = (<tuple>values)[number - 1]
        if layout.repeated[number]:
            for one in <list>value:
                at = put_field(layout, number, at, one)
        elif layout.kinds[number] == ENTRIES:
            at = put_entries(at, number, value)
        elif value:
            at = put_field(layout, number, at, value)
    return at


cdef uint8_t* put_field(Layout layout, int number, uint8_t* at, object value) except NULL:
    cdef Kind kind = layout.kinds[number]
    cdef uint64_t fixed
    at[0] = <uint8_t>(number << 3 | wire_type_of(kind))
    if kind < FIXED_64:
        return write_varint(at + 1, as_varint(kind, value))
    if kind == FIXED_64:
        fixed = value
        memcpy(at + 1, &fixed, 8)
        return at + 9
    at = write_varint(at + 1, <uint64_t>size_of_content(layout, number, value))
    if kind == TEXT:
        return put_text(at, value)
    if kind == MOMENT:
        return put_moment(at, value)
    if type(value) is bytes:
        return put_content(at, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    return put_message(<Layout>layout.layouts[number - 1], at, value)


cdef uint8_t* put_entries(uint8_t* at, int number, dict entries) except NULL:
    cdef Py_ssize_t place = 0
    cdef PyObject *key
    cdef PyObject *value
    while PyDict_Next(entries, &place, &key, &value):
        at[0] = <uint8_t>(number << 3 | SIZED)
        at = write_varint(at + 1, <uint64_t>size_of_entry(<object>key, <object>value))
        at = put_sized_text(at, KEY, <object>key)
        at = put_sized_text(at, VALUE, <object>value)
    return at


cdef uint8_t* put_sized_text(uint8_t* at, int number, object text) except NULL:
    cdef Py_ssize_t size
    cdef const char* content = PyUnicode_AsUTF8AndSize(text, &size)
    at[0] = <uint8_t>(number << 3 | SIZED)
    return put_content(write_varint(at + 1, <uint64_t>size), content, size)


cdef uint8_t* put_text(uint8_t* at, object text) except NULL:
    cdef Py_ssize_t size
    cdef const char* content = PyUnicode_AsUTF8AndSize(text, &size)
    return put_content(at, content, size)


cdef uint8_t* put_moment(uint8_t* at, int64_t moment_us) noexcept:
    cdef int64_t second = floor_second(moment_us), rest_us = moment_us - second * SECOND
    if second:
        at[0] = SECONDS << 3 | VARINT
        at = write_varint(at + 1, <uint64_t>second)
    if rest_us:
        at[0] = NANOS << 3 | VARINT
        at = write_varint(at + 1, <uint64_t>(1_000 * rest_us))
    return at


cdef inline uint8_t* put_content(uint8_t* at, const char* content, Py_ssize_t size) noexcept nogil:
    memcpy(at, content, size)
    return at + size
