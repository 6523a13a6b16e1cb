# Cuts a request's DATA into messages, however its bytes were split. Bytes that cannot be answered yet stay `unread`,
# and their window is not given back, so that the peer waits too.

cdef void take_data(Stream* stream, const uint8_t* data, size_t size) noexcept nogil:
    """Take all of a DATA frame."""
    cdef size_t taken = 0
    if not stream.waiting:
        taken = take_bytes(stream, data, size)
    if not stream.ended and taken < size:
        if not may_hold(stream, size) or not append(
                stream.connection.loop, &stream.unread, data + taken, size - taken):
            refuse_with(stream, &stream.connection.loop.full)
    give_window(stream, taken)


cdef size_t take_bytes(Stream* stream, const uint8_t* data, size_t size) noexcept nogil:
    """Cut messages, and answer those of a stream, until it ends or has to wait; return how many bytes were taken."""
    cdef size_t part, taken = 0
    while taken < size and not stream.ended and not stream.complete:
        part = size - taken
        if stream.prefix_size < MESSAGE_PREFIX_SIZE:
            take_prefix(stream, data + taken, &part)
        else:
            take_body(stream, data + taken, &part)
        taken += part
        if stream.prefix_size == MESSAGE_PREFIX_SIZE and stream.body.size == stream.wanted and not stream.ended:
            stream.complete = True
            if takes_many(stream):
                answer_message(stream)
    # A unary call has one message: bytes behind it, or after the status, are dropped.
    return taken if stream.waiting else size


cdef void take_prefix(Stream* stream, const uint8_t* data, size_t* size) noexcept nogil:
    """Judge a message by its prefix, before memory is spent on it; `size` becomes the number of bytes taken."""
    cdef uint8_t* at = stream.prefix
    size[0] = min(size[0], MESSAGE_PREFIX_SIZE - stream.prefix_size)
    memcpy(at + stream.prefix_size, data, size[0])
    stream.prefix_size += size[0]
    if stream.prefix_size < MESSAGE_PREFIX_SIZE:
        return
    stream.wanted = <size_t>at[1] << 24 | <size_t>at[2] << 16 | <size_t>at[3] << 8 | at[4]
    if at[0] > 1:
        give_status(stream, INTERNAL, b"a message's first byte says neither plain nor compressed")
    elif stream.wanted > stream.connection.loop.message_size_max:
        refuse_with(stream, &stream.connection.loop.large_message)
    elif is_large(stream):
        announce(stream)
    if not stream.ended:
        widen(stream)


cdef void take_body(Stream* stream, const uint8_t* data, size_t* size) noexcept nogil:
    """Take bytes of a message. Memory grows as bytes come: a message that is announced and not sent costs none."""
    cdef Loop* loop = stream.connection.loop
    size[0] = min(size[0], stream.wanted - stream.body.size)
    if not may_hold(stream, size[0]) or not append(loop, &stream.body, data, size[0]):
        refuse_with(stream, &loop.full)


cdef void give_window(Stream* stream, size_t size) noexcept nogil:
    """Give back the window of the bytes taken, once all answers to them have left."""
    stream.owed += size
    if stream.owed and not stream.ended and left(&stream.out) == 0:
        nghttp2_session_consume_stream(stream.connection.session, stream.id, stream.owed)
        stream.owed = 0


cdef void end_request(Stream* stream) noexcept nogil:
    """End the peer's side: every message before is answered or `complete`."""
    cdef Loop* loop = stream.connection.loop
    cdef Kind kind = loop.kinds[<int>stream.method]
    cdef char message[160]
    if stream.ended or stream.waiting:
        return
    if stream.complete:
        answer_message(stream)
    elif stream.prefix_size:
        give_status(stream, INTERNAL, b"the request ends within a message")
    elif kind == REQUESTS:
        if is_admitted(stream):
            end_requests(stream)
    elif kind == EACH and stream.lent:
        wait(stream)
    elif kind == EACH:
        give_status(stream, OK, b"")
    elif stream.ask == NULL:    # else Python has it already
        snprintf(message, 160, b"\"%s\" requires exactly one request message.", loop.paths[<int>stream.method])
        give_status(stream, UNIMPLEMENTED, message)
