# distutils: language = c++
"""numcheck's own kernel behind a gRPC C++ server: the same machine code, the same index, another transport."""

from libc.stdint cimport uint8_t
from libcpp.string cimport string

from numcheck._fast cimport ADMITTED, Cursor, Request, Table, View, admit, response_size_max, write_response

cdef extern from "grpc_server.h" nogil:
    cdef cppclass Kernel:
        const void* view
        size_t (*answer_size_max)(const void*, const uint8_t*, size_t) noexcept nogil
        size_t (*write_answer)(const void*, const uint8_t*, size_t, uint8_t*) noexcept nogil
    bint Serve(const string& address, const Kernel& kernel, const string& certificate, const string& key,
               const string& authority)
    const char* GRPC_CPP_VERSION_STRING

cdef enum:
    NUMBERS_MAX = 65_536


cdef Cursor cursor_of(const uint8_t* request, size_t size) noexcept nogil:
    cdef Cursor cursor
    cursor.at, cursor.end = request, request + size
    return cursor


cdef size_t answer_size_max(const void* view, const uint8_t* request, size_t size) noexcept nogil:
    cdef Request parsed
    if admit(<const View*>view, cursor_of(request, size), NUMBERS_MAX, &parsed) != ADMITTED:
        return 0
    return response_size_max(<const View*>view, &parsed)


cdef size_t write_answer(const void* view, const uint8_t* request, size_t size, uint8_t* at) noexcept nogil:
    cdef Request parsed
    admit(<const View*>view, cursor_of(request, size), NUMBERS_MAX, &parsed)
    return write_response(<const View*>view, cursor_of(request, size), &parsed, 0, at) - at


def serve(str address, Table table=None, tls=()):
    """Serve until SIGTERM, from the table or, without one, with empty answers. Says whether it could.

    `tls` is a certificate, its key and the clients' authority, as PEM; nothing is plaintext."""
    cdef Kernel kernel
    cdef string where = address.encode()
    cdef string certificate, key, authority
    cdef bint served
    if tls:
        certificate, key, authority = tls
    if table is not None:
        kernel.view = &table.view
        kernel.answer_size_max, kernel.write_answer = answer_size_max, write_answer
    with nogil:
        served = Serve(where, kernel, certificate, key, authority)
    return served


def version():
    """Of gRPC C++."""
    return GRPC_CPP_VERSION_STRING.decode()
