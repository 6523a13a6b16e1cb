# Bytes: a buffer that grows at its end and is consumed from its start. The holder of one owns its memory, until
# `forget` or `discard`; the loop counts the memory of all of them.

cdef size_t left(const Bytes* bytes) noexcept nogil:
    return bytes.size - bytes.start


cdef const uint8_t* first(const Bytes* bytes) noexcept nogil:
    return bytes.data + bytes.start


cdef bint has_room(Loop* loop, size_t room) noexcept nogil:
    """Return True if the loop may hold `room` more bytes of requests and answers."""
    return loop.held_size + load(&loop.lent_size) + room <= HELD_SIZE_MAX


cdef bint make_room(Loop* loop, Bytes* bytes, size_t room) noexcept nogil:
    """Make room for `room` more bytes; False if there is no memory."""
    cdef size_t capacity
    cdef void* data
    if bytes.capacity - bytes.size >= room:
        return True
    if bytes.start > 0 and bytes.start >= left(bytes):    # so moves cost no more than the bytes consumed
        memmove(bytes.data, first(bytes), left(bytes))
        bytes.size, bytes.start = left(bytes), 0
        if bytes.capacity - bytes.size >= room:
            return True
    capacity = max(bytes.size + room, 2 * bytes.capacity)
    data = realloc(bytes.data, capacity)
    if data == NULL:
        return False
    loop.held_size += capacity - bytes.capacity
    bytes.data, bytes.capacity = <uint8_t*>data, capacity
    return True


cdef bint append(Loop* loop, Bytes* bytes, const void* data, size_t size) noexcept nogil:
    if size == 0:
        return True
    if not make_room(loop, bytes, size):
        return False
    memcpy(bytes.data + bytes.size, data, size)
    bytes.size += size
    return True


cdef void forget(Loop* loop, Bytes* bytes) noexcept nogil:
    """Empty the buffer; the memory of a small one stays for the next use."""
    if bytes.capacity > KEPT_SIZE:
        discard(loop, bytes)
    bytes.size = bytes.start = 0


cdef void discard(Loop* loop, Bytes* bytes) noexcept nogil:
    loop.held_size -= bytes.capacity
    free(bytes.data)
    memset(bytes, 0, sizeof(Bytes))
