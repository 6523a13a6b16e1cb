# Makes and frees Streams. Spare ones are kept, so that a call costs no allocation.

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
    stream.id, stream.connection, stream.begun, stream.since = id, connection, loop.now, loop.now
    stream.next = connection.streams
    if stream.next != NULL:
        stream.next.previous = stream
    connection.streams = stream
    return stream


cdef void drop_stream(Stream* stream) noexcept nogil:
    cdef Loop* loop = stream.connection.loop
    if not stream.ended:
        count_call(stream, CANCELLED)
    let_go(stream)
    if stream.previous == NULL:
        stream.connection.streams = stream.next
    else:
        stream.previous.next = stream.next
    if stream.next != NULL:
        stream.next.previous = stream.previous
    drop_request(stream)
    forget(loop, &stream.out)
    count_no_more(&stream.counted)
    discard(loop, &stream.message)
    discard(loop, &stream.details)
    discard(loop, &stream.authorization)
    if loop.spare_count == SPARE_MAX:
        free_stream(loop, stream)
        return
    stream.next, loop.spare = loop.spare, stream
    loop.spare_count += 1


cdef void free_stream(Loop* loop, Stream* stream) noexcept nogil:
    discard(loop, &stream.body)
    discard(loop, &stream.out)
    free(stream)


cdef void drop_request(Stream* stream) noexcept nogil:
    """Drop the rest of the request: it will not be answered."""
    leave_large_line(stream)
    drop_body(stream)
    discard(stream.connection.loop, &stream.unread)
    wait_no_more(stream)


cdef void drop_body(Stream* stream) noexcept nogil:
    """Drop the message that was answered: the next may come."""
    forget(stream.connection.loop, &stream.body)
    stream.prefix_size, stream.complete = 0, False


cdef void begin_moving(Stream* stream) noexcept nogil:
    """Begin the time in which the peer has to take answers."""
    stream.moved, stream.moved_size = stream.connection.loop.now, 0


cdef bint is_stuck(const Stream* stream) noexcept nogil:
    """Return True if answers wait and the peer has long taken next to nothing."""
    return left(&stream.out) > 0 and stream.connection.loop.now - stream.moved > stream.connection.loop.stalled_after
