# A whole message is answered: by the kernel, or else by Python. gzip is opened before.

cdef void answer_message(Stream* stream) noexcept nogil:
    """Answer the message in `body` from one version of the index, and forget it."""
    cdef Loop* loop = stream.connection.loop
    if stream.deadline and loop.now >= stream.deadline:
        give_status(stream, DEADLINE_EXCEEDED, b"Deadline Exceeded")
        return
    if stream.prefix[0] and not inflate_body(stream) or not is_admitted(stream):
        return
    if load(&loop.published) != loop.adopted:
        adopt(loop)
    loop.call_count += 1
    if stream.method > STREAM_CHECK_NUMBERS or not answer_by_kernel(stream):
        ask_python(loop.owner, stream)
        loop.now = numcheck_now()    # it may have taken its time
    if stream.ended:
        return
    if not stream.watching:
        drop_body(stream)    # a watch is answered again
    start_sending(stream)


cdef bint answer_by_kernel(Stream* stream) noexcept nogil:
    """Answer a CheckNumbersRequest; False, and nothing is done, if it is to be refused."""
    cdef const View* view = stream.connection.loop.views[stream.connection.view]
    cdef Cursor cursor
    cdef Request request
    cdef uint8_t* start
    cdef uint8_t* end
    cdef bint streaming = stream.method == STREAM_CHECK_NUMBERS
    cursor.at, cursor.end = stream.body.data, stream.body.data + stream.body.size
    if view == NULL or admit(view, cursor, stream.connection.loop.numbers_per_call_max, &request) != ADMITTED:
        return False
    if not make_room(&stream.out, MESSAGE_PREFIX_SIZE + response_size_max(view, &request)):
        give_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
        return True
    start = stream.out.data + stream.out.size
    end = write_response(view, cursor, &request, request.request_id if streaming else 0, start + MESSAGE_PREFIX_SIZE)
    write_prefix(start, end - start - MESSAGE_PREFIX_SIZE)
    stream.out.size += end - start
    return True


cdef void write_prefix(uint8_t* at, size_t size) noexcept nogil:
    at[0], at[1], at[2], at[3], at[4] = 0, size >> 24 & 0xFF, size >> 16 & 0xFF, size >> 8 & 0xFF, size & 0xFF


cdef bint inflate_body(Stream* stream) noexcept nogil:
    """Replace a gzip body by what it holds; never more than a message may have is made of it."""
    cdef size_t size_max = stream.connection.loop.message_size_max
    cdef z_stream z
    cdef Bytes plain
    cdef int result = Z_OK
    memset(&z, 0, sizeof(z))
    memset(&plain, 0, sizeof(plain))
    if stream.encoding != GZIP or inflateInit2(&z, 15 + 16) != Z_OK:
        give_status(stream, INTERNAL, b"a message is compressed and grpc-encoding does not say how")
        return False
    z.next_in, z.avail_in = stream.body.data, <unsigned int>stream.body.size
    while result == Z_OK and plain.size <= size_max and make_room(&plain, KEPT_SIZE):
        z.next_out, z.avail_out = plain.data + plain.size, KEPT_SIZE
        result = inflate(&z, 0)
        plain.size += KEPT_SIZE - z.avail_out
    inflateEnd(&z)
    if plain.size > INFLATED_RATIO * stream.body.size:
        # A kilobyte that becomes a megabyte takes a millisecond of the others' time.
        stream.connection.control_credit -= <int64_t>(plain.size // INFLATED_PER_FRAME) * (SECOND // CONTROL_FRAMES_PER_S)
        spend_credit(stream.connection)
    if result == Z_STREAM_END and plain.size <= size_max and z.avail_in == 0:
        stream.connection.loop.bodies_size += plain.size - stream.body.size
        discard(&stream.body)
        stream.body = plain
        return True
    if plain.size > size_max or result == Z_OK:
        give_status(stream, RESOURCE_EXHAUSTED, b"the message is larger than this node takes")
    else:
        give_status(stream, INTERNAL, b"the message cannot be decompressed")
    discard(&plain)
    return False
