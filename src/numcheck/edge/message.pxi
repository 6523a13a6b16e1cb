# Answers a whole message: by the kernel, or else by Python. gzip is inflated first.

cdef void answer_message(Stream* stream) noexcept nogil:
    """Answer the message in `body` from one version of the index, or let it wait for another turn."""
    cdef Loop* loop = stream.connection.loop
    if stream.deadline and loop.now >= stream.deadline:
        give_status(stream, DEADLINE_EXCEEDED, b"Deadline Exceeded")
        return
    if stream.line != NULL and not begins_at_once(stream):
        return
    if not may_work(stream):
        wait(stream)
        return
    if stream.prefix[0] and not inflate_body(stream) or not is_admitted(stream):
        return
    stream.connection.work_left -= stream.body.size
    count(&loop.metrics.messages, 1)
    if not answer_natively(stream):
        ask_python(stream)
        return
    end_message(stream)


cdef void end_message(Stream* stream) noexcept nogil:
    """Send the answer, and the status too if the call is unary."""
    if stream.ended:
        return
    drop_body(stream)
    if takes_many(stream):
        start_sending(stream)
    else:
        give_status(stream, OK, b"")


cdef bint answer_natively(Stream* stream) noexcept nogil:
    """Answer without Python; False, and do nothing, if Python has to answer."""
    if is_to_trace(stream):
        return False
    if stream.method == CHECK_NUMBERS or stream.method == STREAM_CHECK_NUMBERS:
        return find_view(stream.connection) and answer_by_kernel(stream)
    if stream.method == CHECK_NUMBER:
        return find_view(stream.connection) and answer_number(stream)
    return stream.method == HEALTH_CHECK and answer_health(stream)


cdef bint is_to_trace(Stream* stream) noexcept nogil:
    """Return True if Python has to answer, to trace it, a call whose trace its caller has sampled: so many a second."""
    cdef Loop* loop = stream.connection.loop
    if loop.traces_max == 0 or stream.trace[0] == 0 or stream.method == HEALTH_CHECK or takes_many(stream):
        return False
    if loop.now - loop.traces_since >= SECOND:
        loop.traces_since, loop.traces = loop.now, 0
    if not is_sampled(stream) or loop.traces >= loop.traces_max:
        return False
    loop.traces += 1
    return True


cdef bint answer_health(Stream* stream) noexcept nogil:
    """Answer a health check; False, for Python, if its request is not one of those made in advance."""
    cdef Loop* loop = stream.connection.loop
    cdef uint8_t answer[2]
    cdef int i
    for i in range(loop.health_request_count):
        if loop.health_requests[i].size == stream.body.size and (
                stream.body.size == 0 or memcmp(loop.health_requests[i].data, stream.body.data, stream.body.size) == 0):
            answer[0], answer[1] = 1 << 3, SERVING if load(&loop.serving) else NOT_SERVING    # a HealthCheckResponse
            give_answer(stream, answer, 2)
            return True
    return False


cdef bint answer_by_kernel(Stream* stream) noexcept nogil:
    """Answer a CheckNumbersRequest; False, and do nothing, if Python has to refuse it."""
    cdef Loop* loop = stream.connection.loop
    cdef const View* view = loop.views[stream.connection.view]
    cdef Cursor cursor
    cdef Request request
    cdef uint8_t* end
    cdef bint streaming = stream.method == STREAM_CHECK_NUMBERS
    cursor.at, cursor.end = stream.body.data, stream.body.data + stream.body.size
    if admit(view, cursor, loop.numbers_per_call_max, &request) != ADMITTED:
        return False
    if stream.connection.ledger != NULL and not take_request(stream.connection.ledger, cursor):
        return False
    if not make_answer_room(stream, response_size_max(view, &request)):
        return True
    end = write_response(view, cursor, &request, request.request_id if streaming else 0, answer_start(stream))
    end_answer(stream, end)
    count_numbers(stream, request.number_count)
    return True


cdef bint make_answer_room(Stream* stream, size_t size) noexcept nogil:
    """Make room for an answer; False, and end the call, if there is none."""
    cdef Loop* loop = stream.connection.loop
    if left(&stream.out) == 0:
        begin_moving(stream)
    if may_hold(stream, MESSAGE_PREFIX_SIZE + size) and make_room(loop, &stream.out, MESSAGE_PREFIX_SIZE + size):
        return True
    refuse_with(stream, &loop.full)
    return False


cdef uint8_t* answer_start(Stream* stream) noexcept nogil:
    """Return where to write an answer, once `make_answer_room` has made room."""
    return stream.out.data + stream.out.size + MESSAGE_PREFIX_SIZE


cdef void end_answer(Stream* stream, const uint8_t* end) noexcept nogil:
    """Write the length prefix of the answer that lies from `answer_start` to `end`."""
    cdef uint8_t* at = stream.out.data + stream.out.size
    cdef size_t size = end - answer_start(stream)
    at[0], at[1], at[2], at[3], at[4] = 0, size >> 24 & 0xFF, size >> 16 & 0xFF, size >> 8 & 0xFF, size & 0xFF
    stream.out.size += MESSAGE_PREFIX_SIZE + size


cdef void give_answer(Stream* stream, const void* answer, size_t size) noexcept nogil:
    """Copy an answer into the stream's output."""
    if make_answer_room(stream, size):
        memcpy(answer_start(stream), answer, size)
        end_answer(stream, answer_start(stream) + size)


cdef bint inflate_body(Stream* stream) noexcept nogil:
    """Inflate a gzip body in its place; never to more than a message may have."""
    cdef Loop* loop = stream.connection.loop
    cdef size_t size_max = loop.message_size_max
    cdef z_stream z
    cdef Bytes plain
    cdef int result = Z_OK
    if stream.encoding == GZIP and stream.body.size == 0:
        stream.prefix[0] = 0    # no gzip, but grpc-core, and so its servers, take it for an empty message
        return True
    memset(&z, 0, sizeof(z))
    memset(&plain, 0, sizeof(plain))
    if stream.encoding != GZIP or inflateInit2(&z, 15 + 16) != Z_OK:
        give_status(stream, INTERNAL, b"a message is compressed and grpc-encoding does not say how")
        return False
    z.next_in, z.avail_in = stream.body.data, <unsigned int>stream.body.size
    while (result == Z_OK and plain.size <= size_max and may_hold(stream, plain.capacity + KEPT_SIZE)
           and make_room(loop, &plain, KEPT_SIZE)):
        z.next_out, z.avail_out = plain.data + plain.size, KEPT_SIZE
        result = inflate(&z, 0)
        plain.size += KEPT_SIZE - z.avail_out
    inflateEnd(&z)
    stream.connection.work_left -= plain.size
    if result == Z_STREAM_END and plain.size <= size_max and z.avail_in == 0:
        discard(loop, &stream.body)
        stream.body, stream.prefix[0] = plain, 0
        return True
    if plain.size > size_max:
        refuse_with(stream, &loop.large_message)
    elif result == Z_OK:
        refuse_with(stream, &loop.full)
    else:
        give_status(stream, INTERNAL, b"the message cannot be decompressed")
    discard(loop, &plain)
    return False
