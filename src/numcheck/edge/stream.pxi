# A Stream's birth and end: spare ones are kept, so that a call costs no allocation.

cdef Stream* make_stream(Connection* connection, int32_t id) noexcept nogil:
    cdef Loop* loop = connection.loop
    cdef Stream* stream = loop.spare
    cdef Bytes body, out
    if stream == NULL:
        stream = <Stream*>calloc(1, sizeof(Stream))
        if stream == NULL:
            return NULL
    else:
        loop.spare = stream.next
        loop.spare_count -= 1
        body, out = stream.body, stream.out
        memset(stream, 0, sizeof(Stream))
        stream.body, stream.out = body, out
    stream.id, stream.connection, stream.begun = id, connection, loop.now
    stream.next = connection.streams
    if stream.next != NULL:
        stream.next.previous = stream
    connection.streams = stream
    return stream


cdef void drop_stream(Stream* stream) noexcept nogil:
    cdef Loop* loop = stream.connection.loop
    if stream.previous == NULL:
        stream.connection.streams = stream.next
    else:
        stream.previous.next = stream.next
    if stream.next != NULL:
        stream.next.previous = stream.previous
    drop_body(stream)
    forget(&stream.out)
    discard(&stream.message)
    discard(&stream.details)
    discard(&stream.authorization)
    if loop.spare_count == SPARE_MAX:
        discard(&stream.body)
        discard(&stream.out)
        free(stream)
        return
    stream.next, loop.spare = loop.spare, stream
    loop.spare_count += 1


cdef void drop_body(Stream* stream) noexcept nogil:
    stream.connection.loop.bodies_size -= stream.body.size
    forget(&stream.body)
    stream.prefix_size = 0
