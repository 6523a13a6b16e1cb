# A request's DATA, cut into messages however its bytes were split.

cdef bint take_bytes(Stream* stream, const uint8_t* data, size_t size) noexcept nogil:
    """Cut DATA into messages, and answer those of a stream as they come; False if nothing more is wanted."""
    cdef size_t part
    while size and not stream.ended and not stream.complete:
        if stream.prefix_size < MESSAGE_PREFIX_SIZE:
            part = min(size, MESSAGE_PREFIX_SIZE - stream.prefix_size)
            memcpy(stream.prefix + stream.prefix_size, data, part)
            stream.prefix_size += part
            if stream.prefix_size == MESSAGE_PREFIX_SIZE and not take_prefix(stream):
                return False
        else:
            part = min(size, stream.wanted - stream.body.size)
            # Bought as bytes come: a peer that announces a large message and sends none costs nothing.
            if stream.connection.loop.bodies_size + part > BODIES_SIZE_MAX or not append(&stream.body, data, part):
                give_status(stream, RESOURCE_EXHAUSTED, b"this node holds as many requests as it can")
                return False
            stream.connection.loop.bodies_size += part
        data, size = data + part, size - part
        if stream.prefix_size == MESSAGE_PREFIX_SIZE and stream.body.size == stream.wanted:
            if stream.method == STREAM_CHECK_NUMBERS:
                answer_message(stream)
            else:
                stream.complete = True
    return not stream.ended


cdef bint take_prefix(Stream* stream) noexcept nogil:
    """Judge a message by its prefix, before anything is bought for it."""
    cdef uint8_t* at = stream.prefix
    stream.wanted = <size_t>at[1] << 24 | <size_t>at[2] << 16 | <size_t>at[3] << 8 | at[4]
    if at[0] > 1:
        give_status(stream, INTERNAL, b"a message's first byte says neither plain nor compressed")
    elif stream.wanted > stream.connection.loop.message_size_max:
        give_status(stream, RESOURCE_EXHAUSTED, b"the message is larger than this node takes")
    return not stream.ended


cdef void end_request(Stream* stream) noexcept nogil:
    """The peer has sent all of its side."""
    cdef char message[160]
    stream.half_closed = True
    if stream.ended:
        return
    if stream.complete:
        answer_message(stream)
        if not (stream.method == HEALTH_WATCH and stream.watching):
            give_status(stream, OK, b"")
    elif stream.prefix_size:
        give_status(stream, INTERNAL, b"the request ends within a message")
    elif stream.method == STREAM_CHECK_NUMBERS:
        give_status(stream, OK, b"")
    else:
        snprintf(message, 160, b"\"%s\" requires exactly one request message.", PATHS[<int>stream.method])
        give_status(stream, UNIMPLEMENTED, message)
