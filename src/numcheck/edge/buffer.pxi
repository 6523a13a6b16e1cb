# Bytes: a buffer that grows. Whoever holds one owns its memory, until `forget` or `discard`.

cdef bint make_room(Bytes* bytes, size_t room) noexcept nogil:
    """Make room for so much more; False if there is no memory."""
    cdef size_t capacity = bytes.capacity
    cdef void* data
    if capacity - bytes.size >= room:
        return True
    capacity = bytes.size + room if bytes.size + room > 2 * capacity else 2 * capacity
    data = realloc(bytes.data, capacity)
    if data == NULL:
        return False
    bytes.data, bytes.capacity = <uint8_t*>data, capacity
    return True


cdef bint append(Bytes* bytes, const void* data, size_t size) noexcept nogil:
    if size == 0:
        return True
    if not make_room(bytes, size):
        return False
    memcpy(bytes.data + bytes.size, data, size)
    bytes.size += size
    return True


cdef void forget(Bytes* bytes) noexcept nogil:
    """Empty it; a small buffer stays for the next user."""
    if bytes.capacity > KEPT_SIZE:
        discard(bytes)
    bytes.size = 0


cdef void discard(Bytes* bytes) noexcept nogil:
    free(bytes.data)
    memset(bytes, 0, sizeof(Bytes))
